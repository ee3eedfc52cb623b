import json
import math
import re
import signal
from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn

import evomal
from evomal.foundation.errors import BaselineError, ModelError, RunFolderError, SettingError
from evomal.search import EvoMAL, SearchInterrupted, Watcher
from evomal.store import comparable, read_journal
from evomal.tasks import TaskSet
from helpers import tasks


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search that ran to its end, and its folder."""
    out = tmp_path_factory.mktemp("runs") / "a"
    return EvoMAL(tasks.quick(seed=1)).learn(tasks.blobs(), out=out), out


def test_one_journal_line_for_each_member_of_each_generation(finished):
    result, out = finished
    records = read_journal(out)
    assert [(r["generation"], r["index"]) for r in records] == [(g, i) for g in range(3) for i in range(8)]
    assert {r["outcome"] for r in records} >= {"trained", "rejected", "elite"}
    assert all((r["fitness"] is None) == (r["outcome"] in ("rejected", "failed")) for r in records if not r["same_as"])
    assert all(len(r["weights"]) == evomal.expressions.parse(r["expression"]).edges for r in records if r["weights"])
    assert dict(result.outcomes) == {o: [r["outcome"] for r in records].count(o) for o in result.outcomes}


def test_a_result_shows_itself_in_a_line(finished):
    result, _ = finished
    shown = repr(result)
    assert shown.startswith(f"LearnResult({result.formula!r}, fitness={result.fitness:.4g}, candidates=24, ended='gen")
    assert len(shown) < 400
    assert "\n" not in shown
    unfit = replace(result, fitness=None, ended="time", verdict=None)
    assert repr(unfit) == f"LearnResult({result.formula!r}, fitness=none, candidates=24, ended='time')"


def test_the_best_was_trained_itself_and_is_what_the_file_holds(finished):
    result, out = finished
    trained = [r for r in read_journal(out) if r["outcome"] == "trained"]
    assert result.fitness == min(r["fitness"] for r in trained)
    assert result.best.outcome == "trained"
    loaded = evomal.load_loss(out / "loss.json")
    assert str(loaded.expression) == result.best.key
    assert loaded.weights.tolist() == result.best.weights
    assert loaded.info["fitness"] == result.fitness
    assert loaded.info["learned_on"]["task"] == "blobs"
    assert loaded.info["tuned_for"]["lr"] == 0.1
    assert loaded.info["tuned_for"]["gradient_norm_ratio"] > 0
    settings = yaml.safe_load((out / "config.yaml").read_text())["settings"]
    assert (settings["seed"], settings["genetic"]["population_size"]) == (1, 8)


def test_elites_and_repeated_formulas_take_tree_weights_and_fitness_together(finished):
    records = {(r["generation"], r["index"]): r for r in read_journal(finished[1])}
    taken = [r for r in records.values() if r["outcome"] in ("elite", "archived")]
    assert any(r["outcome"] == "elite" for r in taken)
    for record in taken:
        source = records[tuple(record["same_as"])]
        for name in ("expression", "weights", "fitness", "score"):
            assert record[name] == source[name]
    known = [[r["fitness"] for k, r in records.items() if k[0] == g and r["fitness"] is not None] for g in range(3)]
    best = [min(fitnesses) for fitnesses in known]
    assert best == sorted(best, reverse=True)  # elitism: the best never gets worse


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_is_a_function_of_its_seed_whoever_works(finished, tmp_path, workers):
    torch.manual_seed(99)  # global generators do not matter
    again = EvoMAL(tasks.quick(seed=1, workers=workers)).learn(tasks.blobs(), out=tmp_path / "b")
    assert comparable(read_journal(tmp_path / "b")) == comparable(read_journal(finished[1]))
    assert again.loss.weights.tolist() == finished[0].loss.weights.tolist()
    if workers == 1:
        EvoMAL(tasks.quick(seed=2)).learn(tasks.blobs(), out=tmp_path / "c")
        assert comparable(read_journal(tmp_path / "c")) != comparable(read_journal(tmp_path / "b"))


def test_without_meta_steps_all_weights_are_one():
    result = EvoMAL(tasks.quick(meta_steps=0, generations=2)).learn(tasks.blobs())
    assert all(set(m.weights) == {1.0} for m in result.members if m.weights)
    assert all(m.tuned_steps == 0 for m in result.members)


def test_tuning_starts_near_one_and_moves_every_formula(finished):
    tuned = [m for m in finished[0].members if m.outcome in ("trained", "rejected") and m.tuned_steps]
    assert tuned
    for member in tuned:
        assert all(abs(w - 1) < 0.05 for w in member.weights)
        assert len(set(member.weights)) == len(member.weights)


def test_regression_learns_as_well():
    result = EvoMAL(tasks.quick(generations=2, seed=4)).learn(tasks.line())
    assert result.fitness < 0.2  # the noise alone is 0.01; unlearned it is about 5; the search depends on last bits
    assert result.loss.task_type == "regression"


def test_if_everything_is_rejected_the_run_says_so(tmp_path):
    calls = []

    class Best(Watcher):
        def generation(self, number, best):
            calls.append(best)

    hopeless = ("mul(y, f)", "mul(y, tanh(f))")  # the less of the true class, the better
    settings = tasks.quick(population_size=2, generations=1, seed=1, start_from=hopeless)
    result = EvoMAL(settings).learn(tasks.blobs(), out=tmp_path / "a", watcher=Best())
    assert result.fitness is None
    assert calls == [None]
    assert result.message.startswith("none of the 2 candidates could be trained: all were rejected or failed")
    assert result.best.score == max(m.score for m in result.members if m.score is not None)
    assert json.loads((tmp_path / "a" / "loss.json").read_text())["fitness"] is None


def test_a_task_loss_that_cannot_pass_stops_the_run_before_the_search(tmp_path):
    with pytest.raises(
        SettingError, match=r"^the task loss of 'blobs' does not pass the rejection filter itself \(it "
    ):
        EvoMAL(tasks.quick(rejection_steps=1)).learn(tasks.blobs(), out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


class Moody(nn.Module):
    """Raises whenever a batch's outputs meet a condition that only some losses lead to."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.calls = 0

    def forward(self, x):
        z = self.layer(x)
        self.calls += 1
        if self.calls > 20 and float(z.detach().std()) > 2:
            raise KeyError("mood")
        return z


def _wide():
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3))


@pytest.fixture
def fine(monkeypatch):
    """The task loss itself is said to be fine, so that the search begins."""
    monkeypatch.setattr("evomal.search.method._baseline", lambda tasks, settings: 0.5)


@pytest.mark.parametrize(
    ("task", "flat", "why"),
    [
        ({"factory": Moody}, {}, "KeyError: 'mood'"),
        ({"factory": _wide}, {"lr": 1e30}, r"the (loss|metric) is not finite( at step \d+)?"),
    ],
)
def test_a_task_loss_that_fails_itself_ends_the_search_before_it_begins(tmp_path, task, flat, why):
    with pytest.raises(BaselineError) as caught:
        EvoMAL(tasks.quick(seed=1, **flat)).learn(tasks.blobs(**task), out=tmp_path / "runs" / "a")
    assert re.fullmatch(
        rf"the task loss 'cross_entropy' itself fails in partial training \({why}\), so that no loss could be told "
        r"from a bad one; check the model and its data, or give a smaller `lr` than [\d.e+]+",
        str(caught.value),
    )
    assert list(tmp_path.iterdir()) == []


def test_a_candidate_whose_training_raises_is_scored_worst_and_the_run_goes_on(fine):
    result = EvoMAL(tasks.quick(seed=1)).learn(tasks.blobs(factory=Moody))
    failed = [m for m in result.members if m.outcome == "failed"]
    assert failed
    assert {m.reason for m in failed} == {"KeyError: 'mood'"}
    assert all(m.fitness == math.inf for m in failed)
    assert len(result.members) == 24


def test_a_candidate_that_diverges_is_scored_worst_and_the_run_goes_on(fine):
    settings = tasks.quick(seed=1, lr=1e30, rejection=False)
    result = EvoMAL(settings).learn(
        tasks.blobs(factory=lambda: nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3)))
    )
    reasons = {re.sub(r"\d+", "N", m.reason) for m in result.members if m.outcome == "failed"}
    assert "the loss is not finite at step N" in reasons or "the metric is not finite" in reasons
    assert len(result.members) == 24


def test_interruption_keeps_the_best_so_far(tmp_path):
    class Stop(Watcher):
        def generation(self, number, best):
            if number == 1:
                raise KeyboardInterrupt

    out = tmp_path / "a"
    result = EvoMAL(tasks.quick(seed=1)).learn(tasks.blobs(), out=out, watcher=Stop())
    assert result.interrupted
    assert len(read_journal(out)) == 16
    assert evomal.load_loss(out / "loss.json").info["fitness"] == result.fitness
    assert ", stopped early after 16 candidates" in result.message


@pytest.fixture
def pythons_own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("pythons_own_handler")
@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_ends_the_script_too_and_loses_nothing(tmp_path, kept):
    class Pressed(Watcher):
        def generation(self, number, best):
            if number == 1:
                signal.raise_signal(signal.SIGINT)

    out = tmp_path / "a" if kept else None
    with pytest.raises(KeyboardInterrupt) as caught:
        EvoMAL(tasks.quick(seed=1)).learn(tasks.blobs(), out=out, watcher=Pressed())
    assert isinstance(caught.value, SearchInterrupted)
    result = caught.value.result
    assert result.interrupted
    assert len(result.members) == 16
    place = f"'{out / 'loss.json'}'" if kept else "the attribute `result` of this exception"
    assert str(caught.value) == f"the search was stopped by Ctrl-C; the best loss so far is in {place}"
    if kept:
        assert evomal.load_loss(out / "loss.json").info["fitness"] == result.fitness
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_bad_tasks_and_folders_leave_nothing_behind(tmp_path):
    out = tmp_path / "a"
    with pytest.raises(ModelError):
        EvoMAL(tasks.quick()).learn(tasks.blobs(outputs=2), out=out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "config.yaml").write_text("an older run")
    with pytest.raises(
        RunFolderError,
        match=r"already holds a run; go on with it by `resume=True`, give another `out`, or `force=True`",
    ):
        EvoMAL(tasks.quick()).learn(tasks.blobs(), out=out)
    with pytest.raises(ModelError):
        EvoMAL(tasks.quick()).learn(tasks.blobs(outputs=2), out=out, force=True)
    assert (out / "config.yaml").read_text() == "an older run"


def test_settings_come_whole_or_one_by_one():
    assert EvoMAL(population_size=9, seed=4).settings.genetic.population_size == 9
    with pytest.raises(SettingError, match=r"^give either settings or single values, not both \(seed\)$"):
        EvoMAL(tasks.quick(), seed=1)
    with pytest.raises(SettingError, match=r"^unknown setting 'populaton_size'; did you mean 'population_size'\?"):
        EvoMAL(populaton_size=9)


def test_a_model_that_allows_no_meta_gradient_is_refused_before_the_search(tmp_path):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(20, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.bag(x))

    draw = torch.Generator().manual_seed(0)
    words = torch.randint(0, 20, (90, 4), generator=draw)
    task = evomal.Task(Bag, (words, words[:, 0] % 3), model_name="bag")
    with pytest.raises(ModelError, match=r"^no meta-gradient can be taken through model 'bag' \(.*or `meta_steps=0`$"):
        EvoMAL(tasks.quick(rejection=False)).learn(task, out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert EvoMAL(tasks.quick(rejection=False, meta_steps=0, generations=1)).learn(task).fitness is not None


def test_a_model_that_fails_on_more_instances_than_the_first_probe_is_refused():
    class Small(nn.Linear):
        def forward(self, x):
            if len(x) > 50:
                raise ValueError("too many")
            return super().forward(x)

    with pytest.raises(
        ModelError, match=r"^model 'Small' cannot be run .* of shape \[64, 5\].*: ValueError: too many$"
    ):
        EvoMAL(tasks.quick()).learn(tasks.blobs(factory=lambda: Small(5, 3), model_name="Small"))


def test_the_task_loss_stands_beside_the_fitness(finished):
    from evomal.evaluation.stages import train_stage

    result, out = finished
    task = tasks.blobs()
    assert result.baseline == train_stage(TaskSet((task,)), result.settings, task.task_loss).fitness
    assert evomal.load_loss(out).info["baseline"] == {"loss": "cross_entropy", "fitness": result.baseline}


def test_a_finished_loss_is_frozen_until_it_is_asked_to_learn(finished):
    result, out = finished
    for loss in (result.loss, evomal.load_loss(out)):
        assert not loss.weights.requires_grad
        assert loss.requires_grad_().weights.requires_grad


def test_an_end_before_the_first_candidate_leaves_an_older_run_alone(tmp_path):
    class Stop(Watcher):
        def stage(self, name, count):
            raise KeyboardInterrupt

    out = tmp_path / "a"
    EvoMAL(tasks.quick(generations=1, population_size=2)).learn(tasks.blobs(), out=out)
    before = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(KeyboardInterrupt):
        EvoMAL(tasks.quick(seed=9)).learn(tasks.blobs(), out=out, force=True, watcher=Stop())
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_loss_in_memory_is_the_one_in_the_file(finished):
    result, out = finished
    loaded = evomal.load_loss(out)
    for name in ("expression", "task_type", "reduction", "ignore_index", "output_activation", "info"):
        assert getattr(loaded, name) == getattr(result.loss, name), name
    assert torch.equal(loaded.weights, result.loss.weights)


def test_the_number_of_threads_does_not_matter(finished, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 2)
    try:
        EvoMAL(tasks.quick(seed=1)).learn(tasks.blobs(), out=tmp_path / "a")
        assert torch.get_num_threads() == threads + 2
    finally:
        torch.set_num_threads(threads)
    assert comparable(read_journal(tmp_path / "a")) == comparable(read_journal(finished[1]))
