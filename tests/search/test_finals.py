"""Finals as a part of a search: what is handed out, written down, gone on with."""

import json
import math
import random
import shutil
import signal
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

import evomal
from evomal.config import fitting, learn_settings
from evomal.engines.genome import Formula
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.finals import hold_finals
from evomal.evaluation.finals.shapes import ALIKE, shape_of, unlike
from evomal.evaluation.finals.splits import _LAST, _folds, final_split, fold_of, forget, overlap_of, require_enough
from evomal.evaluation.finals.training import train_final, train_finals
from evomal.evaluation.probing import probed
from evomal.evaluation.watching import Watcher
from evomal.expressions import parse
from evomal.foundation.errors import DataError, RunFolderError, SettingError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, SymbolicLoss
from evomal.losses.handcrafted_entries import HandcraftedTable
from evomal.report.tables import result_pairs
from evomal.search import EvoMAL, SearchInterrupted, make_method
from evomal.search.finalists import finalists, points_of
from evomal.search.finals import plan_of, too_short_for_finals
from evomal.search.prices import steps_taken
from evomal.search.verdict import Verdict
from evomal.store import comparable, read_records
from evomal.tasks import TaskSet, named_task
from helpers.chance import Chance

SMALL = {
    "population_size": 6, "generations": 2, "meta_steps": 2, "neural_steps": 2, "partial_steps": 10,
    "rejection_steps": 4, "rejection_lr": 0.1, "rejection_threshold": 0.05, "lr": 0.1, "batch_size": 16, "steps": 12,
    "folds": 3,
    "retests": 1, "finals_budget": 900, "known_start": 0.5, "finalists": 3,
}  # fmt: skip


FEW = HandcraftedTable(
    {name: HANDCRAFTED[name] for name in ("focal", "generalised_cross_entropy", "ldam", "huber", "mae")}
)


@pytest.fixture(scope="module", autouse=True)
def _few_handcrafted():
    """Five handcrafted losses instead of thirty: finals are the same, and take a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evomal.search.finalists.HANDCRAFTED", FEW)
        yield


FINALS = ("steps", "folds", "retests", "finals_budget", "finals_effort", "finalists", "varied")


def settings(method="evomal", **flat):
    values = fitting(method, SMALL) | flat
    if values.get("finals") is False:
        values = {name: value for name, value in values.items() if name not in FINALS}
    return learn_settings(**values)


def clouds(count=90, name="clouds", **options):
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 3
    x = 1.5 * torch.randn(3, 4, generator=draw)[y] + torch.randn(count, 4, generator=draw)
    return evomal.Task(lambda: nn.Linear(4, 3), (x, y), name=name, model_name="linear", **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finals") / "a"
    return make_method(settings()).learn(clouds(), out=out), out


def lines(out):
    return [json.loads(line) for line in (out / "finals.jsonl").read_text().splitlines()]


def timeless(out):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines(out)]


def test_a_search_ends_with_a_verdict_and_hands_out_what_it_names(finished):
    result, out = finished
    verdict = result.verdict
    assert verdict.kind in ("learned", "handcrafted", "tie")
    assert result.message == verdict.message
    assert result.as_dict()["verdict"]["name"] == verdict.name
    loaded, learned = evomal.load_loss(out / "loss.json"), evomal.load_loss(out / "learned.json")
    assert loaded.all_entries() == result.loss.all_entries()
    assert learned.all_entries() == result.learned.all_entries()
    assert isinstance(learned, SymbolicLoss)
    for loss in (loaded, learned):
        assert Verdict.of(loss.info["verdict"]) == verdict
    assert loaded.info["tuned_for"]["lr"] == verdict.lr
    if isinstance(loaded, HandcraftedLoss):
        assert loaded.name == verdict.name
    assert {place.kind for place in verdict.places} >= {"task", "handcrafted", "learned"}
    outputs, targets = torch.randn(8, 3), torch.arange(8) % 3
    assert torch.equal(loaded(outputs, targets), result.loss(outputs, targets))


def test_the_budget_is_kept_and_every_training_is_in_the_journal(finished):
    result, out = finished
    assert sum(line["steps"] for line in lines(out)) == result.verdict.spent <= SMALL["finals_budget"]
    again = [line for line in lines(out) if line["split"] >= 6 and line["steps"]]  # two races of three folds come first
    best = [line["value"] for line in again if line["loss"].split(" ")[0] == result.verdict.name.split(" ")[0]]
    assert best


def test_what_is_reported_is_what_was_measured(finished):
    """The metric of the first line of the journal, trained once more by hand."""
    result, out = finished
    line, name = next(
        (line, name)
        for line in lines(out)
        if line["split"] == 1 and (name := line["loss"].split(" ")[0]) in HANDCRAFTED
    )
    loss = clouds().handcrafted(name)
    again = train_final(TaskSet((clouds(),)), result.settings, loss, line["lr"], line["split"], line["steps"])
    assert again.value == line["value"]


def test_a_finished_run_gives_its_verdict_at_once(finished):
    result, out = finished
    again = make_method(settings()).learn(clouds(), out=out, resume=True)
    assert again.verdict == result.verdict
    assert again.as_dict() == result.as_dict()


class Stop(Watcher):
    """Ctrl-C after so many trainings of the finals."""

    def __init__(self, after):
        self.left = after

    def final(self, entrant, trial, value):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 20, 60])
def test_finals_go_on_to_the_bit_where_they_were_stopped(finished, tmp_path, after):
    result, out = finished
    place = tmp_path / "b"
    stopped = make_method(settings()).learn(clouds(), out=place, watcher=Stop(after))
    assert stopped.interrupted
    assert stopped.verdict is None
    assert stopped.message.endswith("; its finals are still to be held")
    assert len(lines(place)) == after
    again = make_method(settings()).learn(clouds(), out=place, resume=True)
    assert timeless(place) == timeless(out)
    assert again.verdict == result.verdict
    for name in ("loss.json", "learned.json"):
        assert (place / name).read_bytes() == (out / name).read_bytes()


def test_workers_change_nothing(finished, tmp_path):
    result, out = finished
    again = make_method(settings(workers=2)).learn(clouds(), out=tmp_path / "b")
    assert timeless(tmp_path / "b") == timeless(out)
    assert again.verdict == result.verdict


@pytest.mark.parametrize("seed", range(2))
def test_whoever_finishes_first_changes_nothing(finished, tmp_path, seed):
    """Three at a time, the last of them finished first or any; trainings that are sure to follow begin early."""
    result, out = finished
    draw = random.Random(seed)
    executor = Chance(3, lambda running: draw.randrange(len(running)) if seed else len(running) - 1)
    again = make_method(settings()).learn(clouds(), out=tmp_path / "b", executor=executor)
    assert timeless(tmp_path / "b") == timeless(out)
    assert again.verdict == result.verdict
    journals = [comparable(read_records(folder / "journal.jsonl")) for folder in (tmp_path / "b", out)]
    assert journals[0] == journals[1]


def test_finals_in_lanes_are_those_of_one_at_a_time_and_go_on_to_the_bit(finished, tmp_path):
    lanes = settings(lanes=4)
    whole = make_method(lanes).learn(clouds(), out=tmp_path / "a")
    stopped = make_method(lanes).learn(clouds(), out=tmp_path / "b", watcher=Stop(21))
    assert stopped.interrupted
    again = make_method(lanes).learn(clouds(), out=tmp_path / "b", resume=True)
    assert timeless(tmp_path / "b") == timeless(tmp_path / "a")
    assert again.verdict == whole.verdict
    # What handcrafted losses come to does not hang on the search; an instance more or less is a matter of last bits.
    alone = {(row["loss"], row["lr"], row["split"], row["steps"]): row["value"] for row in timeless(finished[1])}
    pairs = [
        (row["value"], alone[key])
        for row in timeless(tmp_path / "a")
        if (key := (row["loss"], row["lr"], row["split"], row["steps"])) in alone
    ]
    assert len(pairs) > 20
    assert sum(one == pytest.approx(other, abs=1e-6) for one, other in pairs) > 0.9 * len(pairs)


def test_a_training_that_fails_in_lanes_does_not_touch_the_others():
    bad, found = (SymbolicLoss(text, task_type="classification") for text in ("mul(y, log(f))", "square(sub(y, f))"))
    with torch.no_grad():
        bad.weights.fill_(math.nan)
    group = [(None, 0.1), (bad, 0.1), (HandcraftedLoss("focal"), 0.2), (found, 0.1)]
    tasks, how = TaskSet.of(clouds()), settings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evomal.evaluation.finals.training._trained", None)  # nobody is trained alone
        found = train_finals(tasks, how, group, 1, 12)
    for ours, (loss, lr) in zip(found, group, strict=True):
        theirs = train_final(tasks, how, loss, lr, 1, 12)
        assert (ours.reason, pytest.approx(ours.value, abs=1e-6)) == (theirs.reason, theirs.value)
    assert [training.reason for training in found] == [None, "the loss is not finite at step 0", None, None]


def test_a_torn_or_odd_journal_of_finals(finished, tmp_path):
    result, out = finished
    place = tmp_path / "b"
    shutil.copytree(out, place)
    (place / "loss.json").unlink()
    with (place / "finals.jsonl").open("a") as file:
        file.write('{"loss": "cross')
    again = make_method(settings()).learn(clouds(), out=place, resume=True)
    assert again.verdict == result.verdict
    text = (place / "finals.jsonl").read_text().splitlines()
    (place / "finals.jsonl").write_text("\n".join([text[0], '{"loss": 3}', *text[1:]]) + "\n")
    (place / "loss.json").unlink()
    with pytest.raises(RunFolderError, match=r"is damaged in line 2; delete that line to have it trained anew$"):
        make_method(settings()).learn(clouds(), out=place, resume=True)


def test_the_search_itself_is_as_it_was_without_finals(finished):
    result = make_method(settings(finals=False)).learn(clouds())
    assert result.verdict is None
    assert [m.fitness for m in result.members] == [m.fitness for m in finished[0].members]
    assert [m.weights for m in result.members] == [m.weights for m in finished[0].members]
    assert result.learned is result.loss


@pytest.mark.parametrize("method", ["gplfl", "taylorglo", "ml3", "glo"])
def test_every_method_has_finals(method):
    result = make_method(settings(method, cma_generations=1) if method == "glo" else settings(method)).learn(clouds())
    assert result.verdict.kind != "not tested"
    assert any(place.kind == "learned" for place in result.verdict.places)


def test_regression_and_a_task_loss_of_the_users_own(tmp_path):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(80, 3, generator=draw)
    y = x @ torch.tensor([1.0, -1.0, 0.5]) + 0.1 * torch.randn(80, generator=draw)

    def own(outputs, targets):
        return (outputs.reshape(-1) - targets.reshape(-1)).abs().pow(1.5).mean()

    task = evomal.Task(lambda: nn.Linear(3, 1), (x, y), task_loss=own, metric="mae", name="line")
    result = make_method(settings(rejection=False)).learn(task, out=tmp_path / "a")
    assert "own" in {place.name for place in result.verdict.places}
    assert callable(result.loss)
    evomal.load_loss(tmp_path / "a")
    assert result.formula


def test_too_small_a_budget_of_its_own_is_no_verdict_and_an_explicit_one_is_refused():
    result = make_method(
        settings().model_copy(
            update={"finals": settings(steps=5_000).finals.model_copy(update={"finals_budget": None})}
        )
    ).learn(clouds())
    assert result.verdict.kind == "not tested"
    assert "; not tested: a budget of " in result.message
    assert result.loss is result.learned


def test_a_budget_is_so_many_times_what_the_search_takes():
    given = settings()
    once, thrice = (
        given.model_copy(
            update={"finals": given.finals.model_copy(update={"finals_budget": None, "finals_effort": times})}
        )
        for times in (1.0, 2.5)
    )
    result = make_method(thrice).learn(clouds())
    taken = steps_taken(result.members, thrice)
    assert result.verdict.budget == round(2.5 * taken)
    assert plan_of(TaskSet.of(clouds()), once, result.members).budget == taken
    line = too_short_for_finals(
        TaskSet.of(clouds()), thrice.model_copy(update={"finals": thrice.finals.model_copy(update={"steps": 9_999})})
    )
    assert line is not None
    assert "2.5 times what the search takes" in line


def test_an_explicit_budget_that_is_too_small_is_refused():
    with pytest.raises(SettingError, match=r"^setting 'finals_budget': 100 base steps are too few for a verdict"):
        make_method(settings(finals_budget=100)).learn(clouds())


def test_fewer_instances_of_a_class_than_folds_are_refused_before_anything_starts(tmp_path):
    x, y = torch.randn(60, 4), torch.tensor([0] * 29 + [1] * 29 + [2] * 2)
    task = evomal.Task(lambda: nn.Linear(4, 3), (x, y), name="rare")
    with pytest.raises(DataError, match=r"^class 2 of task 'rare' has 2 labelled instances, fewer than the 3 folds"):
        make_method(settings()).learn(task, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    require_enough([task], 2)


def test_folds_are_stratified_disjoint_and_cover_every_instance_once():
    labels = torch.tensor([0] * 40 + [1] * 9 + [2] * 5)
    for again in range(2):
        tested = []
        for fold in range(5):
            train, test = fold_of(labels, 54, 5, 5 * again + fold, "seed")
            assert not set(train.tolist()) & set(test.tolist())
            assert len(train) + len(test) == 54
            assert labels[test].bincount(minlength=3).min() >= 1
            tested += test.tolist()
        assert sorted(tested) == list(range(54))
    first, other = (fold_of(labels, 54, 5, number, "seed")[1].tolist() for number in (0, 5))
    assert first != other


def test_validation_data_of_the_users_own_is_never_mixed_in():
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    task = evomal.Task(lambda: nn.Linear(4, 3), (x, y), (x[:30] + 100, y[:30]))
    for number in range(3):
        train, test = final_split(task, 3, number, 0)
        assert train is task.train
        assert test is task.valid
    assert overlap_of([task], 3) == 0.0
    alike = evomal.Task(lambda: nn.Linear(4, 3), (x, y), (x[:30] + 100, y[:30]), valid_alike=True)
    assert len(final_split(alike, 3, 0, 0)[0]) == 60
    assert overlap_of([alike], 3) == 0.5


def test_one_split_of_a_task_is_kept_until_another_is_asked_for():
    task = clouds()
    train, test = final_split(task, 3, 0, 0)
    again = final_split(task, 3, 0, 0)
    assert (again[0] is train, again[1] is test) == (True, True)
    kept = weakref.ref(train)
    del train, again
    other, _ = final_split(task, 3, 1, 0)
    assert kept() is None
    forget([task])
    assert final_split(task, 3, 1, 0)[0] is not other
    assert torch.equal(final_split(task, 3, 1, 0)[0].x, other.x)


def test_a_verdict_that_names_a_function_says_what_is_saved(tmp_path, monkeypatch):
    def pin(outputs, targets):
        return torch.nn.functional.cross_entropy(outputs, targets)

    task = evomal.Task(lambda: nn.Linear(4, 3), clouds().train, name="own", task_loss=pin)
    # Everybody is equal then, and of equal ones the task loss is handed out.
    monkeypatch.setattr("evomal.evaluation.finals.holding.fmean", lambda values: 0.0)
    result = EvoMAL(settings()).learn(task, out=tmp_path / "a")
    assert result.loss is task.task_loss
    note = "pin is a function of your own, which no file holds: what is saved is the best learned loss"
    assert note in result.verdict.notes
    saved = [evomal.load_loss(tmp_path / "a" / name).all_entries() for name in ("loss.json", "learned.json")]
    assert saved == [result.learned.all_entries()] * 2
    assert note in Verdict.of(evomal.load_loss(tmp_path / "a").info["verdict"]).notes
    assert "(the best learned loss; what the verdict names is a function" in result_pairs(result, tmp_path)["loss file"]


def test_the_result_of_any_search_can_be_tuned_further(finished):
    result, _ = finished
    handed = replace(result, loss=HandcraftedLoss("focal"), best_learned=result.learned)
    tuned = evomal.tune(clouds(), handed, meta_steps=1)
    assert tuned.loss.expression == result.learned.expression


def test_a_search_keeps_no_split():
    task = clouds()
    EvoMAL(settings()).learn(task)
    assert task not in _LAST
    assert _folds.cache_info().currsize == 0


def test_what_is_told_of_several_tasks_is_what_all_of_them_take():
    told = []

    class Told(Watcher):
        def finals(self, entrants, plan):
            told.append(plan.whole_budget)

    out = EvoMAL(settings(finals_budget=2000)).learn([clouds(), clouds(name="others")], watcher=Told())
    assert told == [2000]
    assert 1000 < out.verdict.spent <= out.verdict.budget == 2000


@pytest.mark.parametrize("place", ["finals.finalists", "search_log.best_of", "finals.judged"])
def test_ctrl_c_between_a_search_and_its_end_loses_nothing(monkeypatch, place):
    module, name = f"evomal.search.{place}".rsplit(".", 1)
    real = getattr(sys.modules[module], name)

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(f"{module}.{name}", pressed)
    with pytest.raises(SearchInterrupted) as caught:
        EvoMAL(settings()).learn(clouds())
    found = caught.value.result
    assert (found.ended, len(found.members)) == ("interrupt", 12)
    assert found.fitness is not None


def test_time_is_counted_from_the_call_on(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("evomal.evaluation.limits.perf_counter", lambda: now[0])

    def slow(*arguments):
        now[0] += 60
        return probed(*arguments)

    monkeypatch.setattr("evomal.search.method.probed", slow)
    with pytest.raises(SettingError, match=r"^the search stopped at its time limit before its first candidate"):
        EvoMAL(settings(max_time=30)).learn(clouds())
    assert len(EvoMAL(settings(max_time=90)).learn(clouds()).members) == 12


def test_where_every_training_of_the_finals_fails_the_verdict_says_why(tmp_path, monkeypatch):
    broken = []

    def delicate(outputs, targets):
        if broken:
            raise ValueError("no luck")
        return (outputs.argmax(1) != targets).float().mean()

    monkeypatch.setattr("evomal.search.finals.hold_finals", lambda *given: broken.append(1) or hold_finals(*given))
    result = EvoMAL(settings()).learn(clouds(metric=delicate), out=tmp_path / "a")
    assert result.verdict.kind == "nothing learns"
    (note,) = [note for note in result.verdict.notes if note.startswith("every training of the finals failed")]
    assert note.endswith("targets [30] fails: ValueError: no luck")
    assert note in result_pairs(result, tmp_path / "a")["note"]


def test_where_the_search_found_nothing_the_verdict_says_so():
    """All that it trained is what it began with."""
    given = {"population_size": 2, "generations": 1, "start_from": ("cross_entropy", "square(sub(y, f))")}
    result = make_method(settings("gplfl", **given)).learn(clouds())
    assert not any(place.kind == "learned" for place in result.verdict.places)
    assert result.verdict.notes[-1] == (
        "no learned loss took part, as the search trained none that differs from the known ones"
    )


def test_candidates_that_are_a_known_loss_again_or_one_another_take_part_once():
    task = TaskSet((clouds(),))
    chosen = settings(scale_control=True)
    result = EvoMAL(chosen.model_copy(update={"finals": chosen.finals.model_copy(update={"finals": False})})).learn(
        task
    )
    those = finalists(task, result.settings, probed(task, result.settings), result.members)
    probes = points_of(probed(task, result.settings))
    shapes = [shape_of(f.loss or task[0].task_loss, probes) for f in those]
    assert all(float((one - other).norm()) > ALIKE for place, one in enumerate(shapes) for other in shapes[:place])
    names = [f.entrant.name for f in those]
    assert names[0] == "cross_entropy"
    assert "focal" in names
    # Other hyper-parameters stand at the end, each with what it is a variant of; none where none are wanted.
    variants = [f for f in those if f.entrant.variant_of]
    assert those[-len(variants) :] == variants
    assert {"focal(gamma=3)", "generalised_cross_entropy(q=0.4)"} <= {f.loss.name for f in variants}
    assert {(f.entrant.name, f.entrant.variant_of) for f in variants} == {
        (f.loss.name, f.loss.name.partition("(")[0]) for f in variants
    }
    plain = result.settings.finals.model_copy(update={"varied": 0})
    without = result.settings.model_copy(update={"finals": plain})
    assert len(finalists(task, without, probed(task, without), result.members)) == len(those) - len(variants)
    assert all(f.entrant.fitness is not None for f in those if f.entrant.learned)
    ranked = [f.entrant.fitness for f in those if f.entrant.learned]
    assert ranked == sorted(ranked)
    # Cross-entropy among the known formulas is the task loss again.
    assert "mul(-1, mul(y, log(f)))" not in names


@pytest.mark.parametrize(
    ("task_loss", "count", "parent"),
    [
        ("focal", 1, "focal"),
        (HandcraftedLoss("focal"), 1, "HandcraftedLoss"),
        (HandcraftedLoss("focal"), 2, "HandcraftedLoss"),
        ("ldam", 1, "ldam"),
        ("ldam", 2, None),
    ],
    ids=["a name", "an object", "of two tasks", "class counts", "class counts of two tasks"],
)
def test_a_task_loss_has_variants_where_one_of_them_serves_all_tasks(task_loss, count, parent):
    names = ("one", "two")[:count]
    tasks = TaskSet(tuple(clouds(name=name, task_loss=task_loss) for name in names))
    chosen = settings()
    those = finalists(tasks, chosen, probed(tasks, chosen), ())
    assert (those[0].entrant.kind, those[0].entrant.name) == ("task", parent or task_loss)
    own = task_loss if isinstance(task_loss, str) else task_loss.name
    variants = [f for f in those if f.entrant.variant_of and f.entrant.name.startswith(f"{own}(")]
    assert {f.entrant.variant_of for f in variants} == ({parent} if parent else set())
    if own == "focal":
        assert {f.entrant.name for f in variants} == {f"focal(gamma={gamma})" for gamma in (0.5, 1, 3, 5)}


def test_shapes_see_what_a_loss_does_not_how_long_its_gradient_is():
    task = clouds()
    probes = [(torch.randn(20, 3), torch.arange(20) % 3)]
    one = SymbolicLoss("square(sub(y, f))", task_type="classification")
    scaled = SymbolicLoss("square(sub(y, f))", task_type="classification", scale=7.0)
    other = SymbolicLoss("abs(sub(y, f))", task_type="classification")
    assert list(unlike((loss, shape_of(loss, probes)) for loss in (one, scaled, other))) == [one, other]
    flat = SymbolicLoss("sign(sub(y, f))", task_type="classification")
    assert shape_of(flat, probes) is None
    smoothed = task.handcrafted("label_smoothed_cross_entropy")
    assert list(unlike((x, shape_of(x, probes)) for x in (task.task_loss, smoothed))) == [task.task_loss, smoothed]


def test_steps_taken_by_a_race():
    racing = learn_settings(racing=True, partial_steps=500)

    def taken(outcome, trainings, heat=None):
        one = Candidate(0, 0, Formula(parse("mul(y, f)")), "initial", outcome=outcome, trainings=trainings, heat=heat)
        return steps_taken([one], racing)

    assert [taken("failed", 1), taken("dropped", 1, 0.3), taken("rejected", 1, 0.3)] == [50, 50, 50]
    assert taken("trained", 2, 0.3) == 550


def test_a_meta_step_on_several_tasks_takes_steps_on_each():
    free = settings()
    free = free.model_copy(
        update={"finals": free.finals.model_copy(update={"finals_budget": None, "finals_effort": 1.0})}
    )
    one = Candidate(0, 0, Formula(parse("mul(y, f)")), "initial", outcome="trained", trainings=2, tuned_steps=9)
    tasks = TaskSet.of([clouds(), clouds(name="others")])
    assert plan_of(tasks, free, [one]).whole_budget == 2 * free.partial_steps + 2 * 9 * 2


def test_steps_taken_by_a_search(finished):
    result, _ = finished
    own = [m for m in result.members if m.outcome not in ("elite", "archived")]
    expected = sum(10 * m.trainings + 2 * m.tuned_steps for m in own)
    assert steps_taken(result.members, result.settings) == expected


def test_old_run_folders_had_no_finals(tmp_path):
    import yaml

    plain = settings(finals=False)
    make_method(plain).learn(clouds(), out=tmp_path / "a")
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    del config["settings"]["finals"]
    (tmp_path / "a" / "config.yaml").write_text(yaml.safe_dump(config))
    again = make_method(plain).learn(clouds(), out=tmp_path / "a", resume=True)
    assert again.verdict is None


def test_a_handcrafted_loss_is_saved_and_loaded_like_any_other(tmp_path):
    for name in ("focal", "logit_adjusted_cross_entropy"):
        loss = named_task("iris", "linear").handcrafted(name)
        loss.info = {"why": "best"}
        loss.save(tmp_path / "loss.json")
        again = evomal.load_loss(tmp_path / "loss.json")
        outputs, targets = torch.randn(7, 3), torch.arange(7) % 3
        assert torch.equal(again(outputs, targets), loss(outputs, targets))
        assert again.info == {"why": "best"}
    assert math.isfinite(float(again(outputs, targets)))


def test_a_batch_of_the_finals_has_a_label_that_counts():
    """One of twenty instances has a label: of plain batches of eight, most would be 0/0."""
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    y = torch.where(torch.arange(200) % 20 == 0, (x[:, 0] > 0).long(), -100)
    tasks = TaskSet.of(evomal.Task(lambda: nn.Linear(3, 2), (x, y), name="sparse"))
    found = [train_final(tasks, settings(batch_size=8), None, 0.1, split, 10) for split in range(2)]
    assert [each.reason for each in found] == [None, None]


def test_chance_is_that_of_constant_predictions_where_an_untrained_network_has_none():
    def sure_or_constant(outputs, targets):
        constant, sure = bool((outputs == outputs[0]).all()), bool((outputs.abs() > 10).all())
        return 0.5 * constant if constant or sure else math.nan

    x, y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2
    tasks = TaskSet.of(evomal.Task(lambda: nn.Linear(3, 2), (x, y), metric=sure_or_constant, name="odd"))
    assert train_final(tasks, settings(), None, 0.1, 0, 0).value == 0.5
