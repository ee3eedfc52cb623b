"""A fitness that foretells the finals: rates by short trials, ties, a validation share; known formulas."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import evomal
from evomal.config import learn_settings
from evomal.engines.genome import Formula
from evomal.engines.warm_start import KNOWN, resolved, starts
from evomal.evaluation.batched_stages import train_in_lanes
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.stages import WORST_TIE, Partial, task_loss_metric, train_stage
from evomal.expressions import parse
from evomal.losses import SymbolicLoss
from evomal.search import EvoMAL
from evomal.store.journal_schema import CandidateRow
from evomal.tasks import TaskSet
from evomal.training import evaluate
from helpers import tasks

RATES = (0.25, 1.0, 4.0)


def loss(text="mul(-1, mul(y, log(f)))"):
    return SymbolicLoss(text, task_type="classification")


def test_a_short_trial_chooses_the_rate_and_the_fitness_is_that_of_the_whole_training():
    one = TaskSet((tasks.blobs(),))
    settings = tasks.quick(fitness_lrs=RATES, fitness_trial=0.2, partial_steps=40)
    partial = train_stage(one, settings, loss())
    short = {rate: train_stage(one, tasks.quick(partial_steps=8, lr=0.1 * rate), loss()).fitness for rate in RATES}
    assert partial.rate == min(RATES, key=lambda rate: short[rate])
    alone = train_stage(one, tasks.quick(partial_steps=40, lr=0.1 * partial.rate), loss())
    assert (partial.fitness, partial.trainings) == (alone.fitness, 4)


def test_if_every_trial_fails_nothing_is_trained_in_full():
    one = TaskSet((tasks.blobs(),))
    settings = tasks.quick(fitness_lrs=(1e39, 1e40), fitness_trial=0.2, partial_steps=40)
    partial = train_stage(one, settings, loss())
    assert partial.reason is not None
    assert partial.trainings == 2


def test_without_several_rates_there_is_no_trial():
    settings = learn_settings(fitness_trial=0.2)
    assert settings.trial is settings
    both = learn_settings(fitness_trial=0.2, fitness_lrs=RATES, partial_steps=100)
    assert (both.trial.partial_steps, both.trial.fitness_trial) == (20, None)
    assert both.model_copy(update={"partial_steps": 50}).trial.partial_steps == 10


@pytest.mark.parametrize("flat", [{}, {"fitness_trial": 0.2}, {"fitness_trial": 0.2, "break_ties": True}])
def test_lanes_come_to_the_same(flat):
    one = TaskSet((tasks.blobs(),))
    settings = tasks.quick(fitness_lrs=RATES, partial_steps=20, lanes=2, **flat)
    texts = ("mul(-1, mul(y, log(f)))", "square(sub(y, f))", "mul(f, y)")
    group = [loss(text) for text in texts]
    for text, found in zip(texts, train_in_lanes(one, settings, group), strict=True):
        expected = train_stage(one, settings, loss(text))
        assert found.fitness == pytest.approx(expected.fitness, abs=1e-6)
        assert (found.rate, found.trainings) == (expected.rate, expected.trainings)
        assert found.tie == (None if expected.tie is None else pytest.approx(expected.tie, rel=1e-4))


def test_the_tie_is_the_task_loss_on_validation_data():
    task = tasks.blobs()
    settings = tasks.quick(break_ties=True, partial_steps=1, lr=1e-20)  # a training that changes nothing
    partial = train_stage(TaskSet((task,)), settings, loss())
    from evomal.foundation.seeds import derive

    model = task.make_model(derive(settings.seed, task.key, "partial", "init"))
    assert partial.tie == pytest.approx(evaluate(model, task.valid, task_loss_metric(task)))
    assert train_stage(TaskSet((task,)), tasks.quick(partial_steps=1), loss()).tie is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e35])
def test_a_task_loss_that_is_no_number_is_the_worst_tie_and_stays_so_in_the_journal(value):
    task = tasks.blobs()
    odd = SimpleNamespace(
        task_loss=lambda outputs, targets: outputs.sum() * 0 + value, task_loss_name="odd", task_type="classification"
    )
    found = evaluate(task.make_model(0), task.valid, task_loss_metric(odd))
    assert found == pytest.approx(WORST_TIE)
    one = member(0.2, found)
    assert member(0.2, 9.0).told < one.told < 0.2 + 2e-9
    settings = tasks.quick(break_ties=True)
    record = json.loads(json.dumps(CandidateRow.of(one, "classification", settings).record()))
    assert CandidateRow.read(record).candidate(settings) == one


def member(fitness, tie=None, text="mul(y, f)", index=0):
    return Candidate(0, index, Formula(parse(text)), "initial", outcome="trained", fitness=fitness, tie=tie)


def test_ties_are_broken_by_the_task_loss_then_by_size_and_nothing_else_is_turned_over():
    better, worse, larger = member(0.2, 0.5), member(0.2, 0.9), member(0.2, 0.5, "mul(y, mul(f, f))")
    assert sorted([larger, worse, better], key=lambda one: one.rank) == [better, larger, worse]
    assert better.told < worse.told < member(0.2 + 1e-6, 0.0).told
    assert member(0.2).told == 0.2
    assert Partial(0.2, None, 0.0, tie=0.3).rank < Partial(0.2, None, 0.0, tie=0.4).rank


def test_a_tie_is_in_the_journal_and_read_again():
    settings = tasks.quick(break_ties=True)
    one = member(0.2, 0.5)
    record = json.loads(json.dumps(CandidateRow.of(one, "classification", settings).record()))
    assert record["tie"] == 0.5
    assert CandidateRow.read(record).candidate(settings) == one
    assert "tie" not in CandidateRow.of(member(0.2), "classification", settings).record()


def test_an_engine_sees_ties_as_they_were_broken():
    settings = tasks.quick(break_ties=True, generations=2, fitness_lrs=RATES, fitness_trial=0.2)
    result = EvoMAL(settings).learn(tasks.blobs())
    trained = [one for one in result.members if one.outcome == "trained"]
    assert all(one.tie is not None for one in trained)
    elite = next(one for one in result.members if one.generation == 1 and one.origin == "elite")
    first = [one for one in result.members if one.generation == 0]
    assert elite.key == min(first, key=lambda one: (one.told, one.genome.size, one.index)).key


def test_a_search_may_validate_on_a_share_of_all_labelled_data():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 5, generator=draw), torch.arange(200) % 4
    task = evomal.Task(lambda: nn.Linear(5, 4), (x, y), name="mine")
    divided = task.divided(0.3, 1000)
    assert (len(task.train), len(divided.train), len(divided.valid)) == (180, 140, 60)
    assert divided.valid.y.bincount().tolist() == [15] * 4
    everything = torch.cat([divided.train.x, divided.valid.x]).sort(0).values
    assert torch.equal(everything, torch.cat([task.train.x, task.valid.x]).sort(0).values)
    assert divided.key != task.key
    assert len(task.divided(0.3, 20).valid) == 20
    assert torch.equal(task.divided(0.3, 1000).valid.x, divided.valid.x)


def test_validation_data_that_was_brought_stays_validation_data():
    x, y = torch.randn(40, 5), torch.arange(40) % 4
    task = evomal.Task(lambda: nn.Linear(5, 4), (x, y), (x[:20] + 9, y[:20]))
    assert task.divided(0.5, 1000) is task


@pytest.mark.parametrize("kind", KNOWN)
def test_known_formulas_fill_no_more_than_their_share(kind):
    for size, share in ((24, 0.5), (8, 0.5), (8, 0.25), (8, 0.0), (100, 1.0)):
        settings = learn_settings(population_size=size, known_start=share)
        found = starts(resolved(settings, kind))
        assert len(found) == min(int(share * size), len(KNOWN[kind]))
        assert starts(resolved(resolved(settings, kind), kind)) == found
    own = learn_settings(population_size=8, known_start=0.5, start_from=("mul(y, f)", "mul(y, mul(f, f))"))
    assert len(starts(resolved(own, kind))) == 4
    for method in ("taylorglo", "ml3"):
        assert resolved(learn_settings(method=method), kind).genetic.start_from == ()


def test_known_formulas_are_what_they_are_called():
    """Each against a formula written by hand."""
    f = torch.rand(50, 3, dtype=torch.float64).clamp(0.05, 0.95)
    y = nn.functional.one_hot(torch.arange(50) % 3, 3).double()
    expected = {
        "classification": [
            -(y * f.log()),
            -((0.9 * y + 0.01) * f.log()),
            -(y * (0.8 * f + 0.02).log()),
            (y - f) ** 2,
            y * (1 - f.sqrt()),
            (y - f).abs(),
            -(y * (1 - f) ** 2 * f.log()),
        ],
        "regression": [
            (y - f) ** 2,
            (y - f).abs(),
            (1 + (y - f) ** 2).log(),
            (1 + (y - f) ** 2).sqrt(),
            (y - f).abs().clamp(max=1),
            ((y - f) ** 2).tanh(),
        ],
    }
    for kind, values in expected.items():
        settings = resolved(learn_settings(known_start=1.0), kind)
        for formula, value in zip(starts(settings), values, strict=True):
            one = SymbolicLoss(formula.expression, formula.weights, task_type=kind).double()
            assert torch.allclose(one.per_class(y, f), value, atol=1e-5)


def test_known_formulas_are_members_of_the_first_generation():
    result = EvoMAL(tasks.quick(known_start=0.5, generations=1)).learn(tasks.blobs())
    first = {member.key for member in result.members}
    assert {formula.key for formula in starts(result.settings)} <= first
    assert len(starts(result.settings)) == 4
    assert replace(result.members[0]).generation == 0
