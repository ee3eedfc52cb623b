"""The suite's arithmetic and its tasks: what its table says must follow from what was measured."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import pytest
import torch

# `benchmarks` lies beside the package and is installed with nothing.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.alternative import alternative
from benchmarks.suite.foretelling import WAYS, foretelling
from benchmarks.suite.optuna_control import by_optuna
from benchmarks.suite.run import NEAR, VARIANTS, Job, of_equal_cost, searcher
from benchmarks.suite.table import beside, markdown, row, specialist
from benchmarks.suite.tasks import TASKS, missed_cost_five, off_by_a_tenth, suite_task
from benchmarks.suite.testing import tested as on_test_data
from benchmarks.suite.testing import trained
from benchmarks.suite.virtual import Virtual

from evomal import EvoMAL
from evomal.losses import HandcraftedLoss
from evomal.search.prices import steps_of_trainings, steps_taken, tuning_steps
from evomal.tasks import named_task


def _found(draw, habit, best, own, learned):
    places = [{"name": "focal", "kind": "handcrafted"}, {"name": "cross_entropy", "kind": "task"}]
    values = {"cross_entropy": habit, "focal": best, "evomal": own, "learned": learned}
    verdict = {"kind": "learned", "places": places, "rank_correlation": 0.6}
    test = {name: {"lr": 0.1, "values": [value - 0.01, value + 0.01]} for name, value in values.items()}
    return {"task": "t", "draw": draw, "variant": "evomal", "seconds": 60.0, "verdict": verdict, "test": test}


def test_a_row_follows_from_its_draws():
    found = [_found(0, 0.30, 0.25, 0.20, 0.20), _found(1, 0.32, 0.24, 0.40, 0.21)]
    one = row("t", found)
    assert one["habit"] == pytest.approx([0.30, 0.32])
    assert one["chosen"] == one["hindsight"] == pytest.approx([0.25, 0.24])
    assert one["best specialist"] == specialist(found[0]) == "focal"
    assert one["right"] == 1  # the second answer lost to all others by more than its networks' spread
    text = markdown(found)
    assert "| t | 2 | 0.3100 ± 0.0141 |" in text
    assert "1/2" in text


def test_the_specialist_has_the_hyper_parameters_that_finals_chose(tmp_path):
    places = [
        SimpleNamespace(name="tukey(c=2)", kind="handcrafted", lr=0.1, retest=0.5),
        SimpleNamespace(name="mse", kind="task", lr=0.1, retest=0.5),
        SimpleNamespace(name="tukey", kind="handcrafted", lr=0.4, retest=None),
        SimpleNamespace(name="mae", kind="handcrafted", lr=None, retest=None),
    ]
    task, learned = suite_task("noisy_targets", tmp_path, 0), HandcraftedLoss("mse")
    result = SimpleNamespace(
        loss=task.handcrafted("tukey(c=2)"),
        learned=learned,
        verdict=SimpleNamespace(lr=0.1, places=places),
        settings=_small(tmp_path),
    )
    found = on_test_data(task, result, "noisy_targets", 0, specialists=True)
    assert {name: each.get("loss") for name, each in found.items()} == {
        "evomal": None,
        "tukey": "tukey(c=2)",
        "mse": "mse",
    }
    assert found["tukey"]["values"] == pytest.approx(found["evomal"]["values"], rel=1e-5)
    assert found["tukey"]["values"] != pytest.approx(found["mse"]["values"], rel=1e-5)
    each = {"test": found, "verdict": {"places": [vars(place) for place in places]}}
    assert specialist(each) == "tukey"


def test_a_training_that_failed_is_the_worst():
    found = _found(0, 0.3, 0.25, 0.2, 0.2)
    found["test"]["focal"]["values"][0] = None
    assert row("t", [found])["chosen"] == [float("inf")]


def test_metrics_of_the_suite():
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    targets = torch.tensor([1, 1, 0, 0])
    assert missed_cost_five(logits, targets) == (5 + 1) / 4
    assert off_by_a_tenth(torch.tensor([[0.0], [0.25]]), torch.zeros(2), 100.0, 50.0) == 0.5


def test_a_task_is_drawn_anew_and_the_same_again(tmp_path):
    first, again, other = (suite_task("noisy_targets", tmp_path, draw) for draw in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.train) + len(first.valid) + len(first.test) == 442
    assert len(TASKS) == 8


def test_variants_stand_beside_one_another_where_draws_are_the_same():
    ours = [_found(draw, 0.3, 0.3, 0.20 + 0.01 * draw, 0.3) for draw in range(3)]
    theirs = [_found(draw, 0.3, 0.3, 0.30 + 0.02 * draw, 0.3) | {"variant": "random"} for draw in range(1, 3)]
    control = [{"task": "t", "draw": 0, "variant": "optuna", "test": {"optuna": {"lr": 0.1, "values": [0.5, 0.7]}}}]
    first, second = beside([*ours, *theirs, *control])
    assert "| t | 2 | 0.2150 ± 0.0071 | 0.3300 ± 0.0141 | +0.1150 |" in first
    assert "| t | 1 | 0.2000 | 0.6000 |" in second
    assert "## evomal" in markdown([*ours, *control])


def test_every_variant_is_a_search_that_differs_from_the_preset(tmp_path):
    settings = {
        name: searcher(Job("noisy_targets", 0, name, tmp_path, tmp_path, 1.0)).settings
        for name in VARIANTS
        if name != "prior"  # a matter of classes
    }
    others = [each for name, each in settings.items() if name != "evomal"]
    assert all(each != settings["evomal"] for each in others)
    steps = {
        name: settings[name].evaluations * (steps_of_trainings(1, settings[name]) + tuning_steps(settings[name]))
        for name in ("evomal", "half-search", "double-search")
    }
    whole = {name: searched * (1 + settings[name].finals.finals_effort) for name, searched in steps.items()}
    assert whole["half-search"] == pytest.approx(whole["evomal"], rel=0.1)
    assert whole["double-search"] == pytest.approx(whole["evomal"], rel=0.1)
    assert steps["double-search"] == pytest.approx(4 * steps["half-search"], rel=0.1)


def test_random_formulas_take_as_many_steps_as_the_search_beside_them(tmp_path, monkeypatch):
    short = {"partial_steps": 4, "rejection_steps": 4, "fitness_lrs": (1.0,), "fitness_trial": None}
    monkeypatch.setattr("benchmarks.suite.run.VARIANTS", {"random": {**VARIANTS["random"], **short}})
    task, job = suite_task("noisy_targets", tmp_path, 0), Job("noisy_targets", 0, "random", tmp_path, tmp_path, 0.1)
    with pytest.raises(SystemExit, match="its budget is that of noisy_targets-0-evomal, which is not there yet"):
        of_equal_cost(job, task)
    replace(job, variant="evomal").file.write_text(json.dumps({"steps": 180, "verdict": {"spent": 100}}))
    method = of_equal_cost(job, task)
    assert method.settings.finals.finals_budget == 100
    without = method.settings.finals.model_copy(update={"finals": False, "finals_budget": None})
    result = EvoMAL(method.settings.model_copy(update={"finals": without})).learn(task)
    assert steps_taken(result.members, result.settings) == pytest.approx(80, rel=NEAR)


def _small(tmp_path, **finals):
    settings = searcher(Job("noisy_targets", 0, "evomal", tmp_path, tmp_path, 0.1)).settings
    short = settings.finals.model_copy(update={"steps": 5, "folds": 2} | finals)
    return settings.model_copy(update={"finals": short})


def test_optuna_keeps_its_budget_and_begins_with_the_habit(tmp_path):
    pytest.importorskip("optuna")
    task, settings = suite_task("noisy_targets", tmp_path, 0), _small(tmp_path)
    found = by_optuna(task, settings, 120)
    assert (found[0].steps, found[0].name, found[0].lr) == (10, "mse", settings.base.lr)
    assert [each.value for each in found] == sorted((each.value for each in found), reverse=True)
    assert found[-1].steps <= 120
    assert found == by_optuna(task, settings, 120)
    names = {each.name for each in found[1:]}
    assert all(task.handcrafted(name) is not None for name in names - {"mse"})


def test_foretelling_measures_every_fitness(tmp_path, monkeypatch):
    from benchmarks.suite import foretelling as module

    monkeypatch.setattr(module, "WAYS", tuple(replace(way, steps=3, trial=min(way.trial, 1)) for way in WAYS[:2]))
    monkeypatch.setattr(module, "FULL", 4)
    small = _small(tmp_path)
    method = searcher(Job("noisy_targets", 0, "evomal", tmp_path, tmp_path, 0.05))
    method.settings = method.settings.model_copy(
        update={
            "finals": small.finals.model_copy(update={"finals": False}),
            "partial_steps": 5,
            "local_search": small.local_search.model_copy(update={"meta_steps": 1}),
        }
    )
    monkeypatch.setattr(module, "searcher", lambda job: method)
    rows = foretelling(tmp_path, tmp_path / "out", tmp_path / "runs", "noisy_targets", "0", members=4)
    assert [each["steps"] for each in rows] == [6, 3, 20]
    assert all(-1 <= rho <= 1 for each in rows for rho in each["rho"].values())


def test_many_workers_are_played_by_one():
    order = []

    def work(shared, name, seconds):
        order.append(name)
        until = process_time() + seconds
        while process_time() < until:
            pass
        return name

    with Virtual(2).stream(None) as stream:
        for name, seconds in [("long", 0.2), ("short", 0.01), ("third", 0.01)]:
            stream.submit(work, (name, seconds))
        assert [stream.next_finished()[1] for _ in range(3)] == ["short", "third", "long"]
    assert order == ["long", "short", "third"]


def test_what_people_have_beside_a_search_as_curves(tmp_path):
    pytest.importorskip("matplotlib")
    for draw in (0, 1):
        for scale, steps, value in ((0.1, 100, 0.3), (0.5, 400, 0.2)):
            for kind, worse in (("evomal", 0.0), ("random", 0.05)):
                job = Job("ranking", draw, kind, tmp_path, tmp_path / f"{scale:g}", scale)
                job.out.mkdir(exist_ok=True)
                values = [value + worse + 0.02 * draw] * 2
                test = {"evomal": {"values": values}}
                job.file.write_text(json.dumps({"variant": kind, "steps": steps + draw, "test": test}))
        tests = [{"values": [0.4, 0.5]}, {"values": [0.35, 0.35]}, {"values": [0.1, None]}]
        found = [{"steps": steps} for steps in (50, 300, 401 - draw)]
        job = Job("ranking", draw, "optuna", tmp_path, tmp_path / "0.5", 0.5)
        job.file.write_text(json.dumps({"variant": "optuna", "found": found, "tests": tests, "test": {}}))
    alternative(tmp_path, tmp_path, "ranking", "0 1", "0.5 0.1")
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| ranking | 100 | 0.3100 ± 0.0141 | 0.3600 ± 0.0141 | 0.4500 ± 0.0000 |",
        # The third incumbent of the first draw came a step too late; that of the second one failed once.
        "| ranking | 400 | 0.2100 ± 0.0141 | 0.2600 ± 0.0141 | 0.3500 (1 of 2 failed) |",
    ]
    assert "base steps spent" in (tmp_path / "alternative.svg").read_text()


def test_fresh_networks_in_lanes_are_what_they_are_one_by_one():
    task, settings = named_task("iris", "linear"), EvoMAL(preset="practice", steps=30, batch_size=20).settings
    losses = [(task.handcrafted("cross_entropy"), 0.3), (task.handcrafted("focal"), 0.1)]
    losses.append((lambda outputs, targets: outputs.sum() * float("nan"), 0.2))
    many, alone = (trained(task, losses, settings, name, draw=1) for name in ("wrong_labels", "few_images"))
    assert [each["lr"] for each in many] == [0.3, 0.1, 0.2]
    assert [len(each["values"]) for each in (*many, *alone)] == [5, 5, 5, 2, 2, 2]
    assert [each["values"][:2] for each in many[:2]] == [pytest.approx(each["values"]) for each in alone[:2]]
    assert many[2]["values"] == [None] * 5
    assert alone[2]["values"] == [None] * 2
    assert len({*many[0]["values"]}) > 1
