"""Controls of the step size: losses as steep as the task loss at first, and fitness at the best of some rates."""

import json
import math

import pytest

import evomal
from evomal.engines.genome import Formula, Network, Polynomial
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import make_probe
from evomal.evaluation.stages import train_stage, tune_stage
from evomal.executors import InProcess
from evomal.expressions import parse
from evomal.losses.loading import loss_from_entries
from evomal.search import Candidate, EvoMAL, Watcher, make_method
from evomal.store import read_journal
from evomal.tasks import TaskSet
from evomal.training.step_size import gradient_norm_ratio
from helpers import tasks

SQUARES = Formula(parse("square(sub(y, f))"))
GENOMES = {
    "formula": SQUARES,
    "coefficients given": Formula(SQUARES.expression, (3.0, 0.5, 1.5)),
    "polynomial": Polynomial((0.0, 0.5, 0.0, -1.0, 0.0, 7.0, 0.0, 0.0)),
    "network": Network(6),
}


@pytest.mark.parametrize("name", GENOMES)
def test_a_controlled_loss_has_a_first_gradient_as_long_as_the_task_losss(name):
    task = tasks.blobs()
    settings = tasks.quick(scale_control=True)
    ((loss, outcome),) = tune_stage(TaskSet((task,)), settings, [GENOMES[name]])
    assert outcome.reason is None
    assert gradient_norm_ratio(loss, task, 32, settings.seed) == pytest.approx(1, abs=1e-4)
    ((plain, _),) = tune_stage(TaskSet((task,)), tasks.quick(), [GENOMES[name]])
    assert plain.coefficients == loss.coefficients  # the scale comes after tuning
    assert loss.scale == pytest.approx(1 / gradient_norm_ratio(plain, task, 32, settings.seed))


def test_of_several_tasks_the_mean_in_the_log_is_one():
    pair = TaskSet((tasks.blobs(), tasks.blobs(classes=4, seed=5, name="others")))
    ((loss, _),) = tune_stage(pair, tasks.quick(scale_control=True), [SQUARES])
    ratios = [gradient_norm_ratio(loss, task, 32, 0) for task in pair]
    assert math.prod(ratios) == pytest.approx(1, abs=1e-4)
    assert ratios[0] != pytest.approx(ratios[1], rel=1e-2)


@pytest.mark.parametrize("method", ["evomal", "taylorglo", "ml3"])
def test_the_scale_is_written_wherever_the_loss_is(method, tmp_path):
    flat = {"hidden": 6, "neural_steps": 3} if method == "ml3" else {"population_size": 4, "generations": 2}
    settings = tasks.quick(method=method, scale_control=True, seed=1, **flat)
    result = make_method(settings).learn(tasks.blobs(), out=tmp_path / "a")
    scale = result.loss.scale
    assert scale not in (0, 1)
    assert scale == result.best.scale == result.as_dict()["scale"]
    assert json.loads((tmp_path / "a" / "loss.json").read_text())["scale"] == scale
    loaded = evomal.load_loss(tmp_path / "a")
    assert (loaded.scale, loaded.coefficients) == (scale, result.loss.coefficients)
    assert loaded.info["tuned_for"]["gradient_norm_ratio"] == pytest.approx(1, abs=1e-4)
    assert loaded.formula(digits=4).startswith(f"{scale:.4g}·")
    assert result.fitness == train_stage(TaskSet((tasks.blobs(),)), settings, loaded).fitness
    for record in read_journal(tmp_path / "a"):
        if record["outcome"] != "failed":
            controlled = loss_from_entries(record)
            assert controlled.scale == record["scale"]
            assert gradient_norm_ratio(controlled, tasks.blobs(), 32, 1) == pytest.approx(1, abs=1e-4)


def test_a_loss_without_a_first_gradient_has_no_scale():
    task, settings = tasks.blobs(), tasks.quick(scale_control=True)
    flat = Formula(parse("add(y, sign(f))"))
    members = [Candidate(0, i, genome, "initial") for i, genome in enumerate((flat, SQUARES))]
    evaluator = Evaluator(TaskSet((task,)), settings, [make_probe(task, 100, 0)], InProcess(), Watcher())
    evaluator.evaluate(members, lambda _: None)
    assert [m.outcome for m in members] == ["failed", "trained"]
    assert members[0].reason == "its first gradient is zero or not finite: there is no scale to control"
    assert (members[0].scale, members[0].fitness, members[0].trainings) == (1, math.inf, 0)


RATES = (0.1, 1.0, 30.0)


def test_the_fitness_is_the_least_of_separate_trainings_at_each_rate():
    together, loss = TaskSet((tasks.blobs(),)), evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
    partial = train_stage(together, tasks.quick(fitness_lrs=RATES, partial_steps=4, lr=0.1), loss)
    alone = {rate: train_stage(together, tasks.quick(partial_steps=4, lr=0.1 * rate), loss) for rate in RATES}
    assert partial.fitness == min(one.fitness for one in alone.values())
    assert alone[partial.rate].fitness == partial.fitness
    assert len({one.fitness for one in alone.values()}) == 3
    assert (partial.trainings, [one.trainings for one in alone.values()]) == (3, [1, 1, 1])


def test_of_equally_good_rates_the_first_counts_and_a_rate_that_fails_does_no_harm():
    together, loss = TaskSet((tasks.line(),)), evomal.SymbolicLoss("square(sub(y, f))", task_type="regression")
    partial = train_stage(together, tasks.quick(fitness_lrs=(1e6, 1.0), partial_steps=60), loss)
    assert (partial.rate, partial.reason, partial.trainings) == (1.0, None, 2)
    assert math.isfinite(partial.fitness)
    hopeless = train_stage(together, tasks.quick(fitness_lrs=(1e6, 1e7), partial_steps=60), loss)
    assert (hopeless.fitness, hopeless.rate, hopeless.trainings) == (math.inf, 1e6, 2)
    assert hopeless.reason.startswith("the loss is not finite at step ")


def test_file_and_journal_say_at_which_rate_the_fitness_was_reached(tmp_path):
    settings = tasks.quick(generations=2, population_size=4, seed=1, fitness_lrs=RATES, partial_steps=4)
    result = EvoMAL(settings).learn(tasks.blobs(), out=tmp_path / "a")
    records = read_journal(tmp_path / "a")
    trained = [r for r in records if r["outcome"] == "trained"]
    assert result.best.fitness_lr in RATES
    assert evomal.load_loss(tmp_path / "a").info["tuned_for"]["lr"] == 0.1 * result.best.fitness_lr != 0.1
    assert {r["trainings"] for r in trained} == {3}
    assert result.trainings == 3 * len(trained)
    assert all(r["fitness_lr"] in RATES for r in records)
    taken = [r for r in records if r["same_as"]]
    places = {(r["generation"], r["index"]): r for r in records}
    assert taken
    assert all(r["fitness_lr"] == places[tuple(r["same_as"])]["fitness_lr"] for r in taken)


def test_the_task_loss_is_given_the_same_rates():
    settings = tasks.quick(fitness_lrs=RATES, generations=1, population_size=2, rejection=False, partial_steps=4)
    task = tasks.blobs()
    result = EvoMAL(settings).learn(task)
    alone = [train_stage(TaskSet((task,)), tasks.quick(partial_steps=4, lr=0.1 * rate), None) for rate in RATES]
    assert result.baseline == min(one.fitness for one in alone)


def test_a_plain_search_says_nothing_of_either(tmp_path):
    EvoMAL(tasks.quick(generations=1, population_size=2, rejection=False)).learn(tasks.blobs(), out=tmp_path / "a")
    assert all("scale" not in r and "fitness_lr" not in r for r in read_journal(tmp_path / "a"))
    document = json.loads((tmp_path / "a" / "loss.json").read_text())
    assert "scale" not in document
    assert document["tuned_for"]["lr"] == 0.1
