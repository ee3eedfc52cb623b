"""The stages of an evaluation as plain functions of (task, job): what executors run, here or in workers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from evomal.config import LearnSettings
from evomal.expressions import Expression, to_text
from evomal.local_search import Tuned, tune
from evomal.local_search.one_step import reason_of
from evomal.losses import SymbolicLoss
from evomal.losses.criterion import LossFunction
from evomal.search.filters import FilterProbe, gradient_signature, improvement
from evomal.seeds import derive, generator
from evomal.tasks import Batches, Task
from evomal.training import evaluate, fit, one_thread


def initial_loss(expression: Expression, task: Task, settings: LearnSettings) -> SymbolicLoss:
    """The loss before tuning: φ ~ N(1, 1e-3), from the seed and the formula alone; φ = 1 without meta steps (D4)."""
    weights = torch.ones(expression.edges)
    if settings.local_search.meta_steps > 0:
        draw = generator(settings.seed, task.key, "phi", to_text(expression))
        weights = weights + 1e-3 * torch.randn(expression.edges, generator=draw)
    return SymbolicLoss(
        expression,
        weights,
        task_type=task.task_type,
        output_activation=settings.output_activation,
        ignore_index=task.ignore_index,
    ).to(task.device)


def tune_stage(
    task: Task, settings: LearnSettings, expressions: Sequence[Expression]
) -> list[tuple[SymbolicLoss, Tuned]]:
    """Tune the coefficients of several formulas, walking through the meta steps together."""
    losses = [initial_loss(expression, task, settings) for expression in expressions]
    outcomes = tune(losses, task, settings.local_search, settings.base, settings.seed)
    return list(zip(losses, outcomes, strict=True))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the inner filters measured of one loss.

    Args:
        score: Share of the possible improvement (D8); None where that filter is off or the loss failed.
        signature: Rounded gradient norms (D9); None where that filter is off or the loss failed.
        reason: Why the loss failed, or None.
        seconds: Time taken.
    """

    score: float | None
    signature: str | None
    reason: str | None
    seconds: float


def judge_stage(task: Task, settings: LearnSettings, probe: FilterProbe, loss: SymbolicLoss) -> Judgement:
    """Measure what both inner filters need; whoever asked decides."""
    start = perf_counter()
    score = signature = reason = None
    loss.requires_grad_(False)
    try:
        with one_thread():
            if settings.filters.gradient_equivalence:
                signature = gradient_signature(loss, probe)
            if settings.filters.rejection:
                score = improvement(loss, probe, settings.filters)
    except Exception as error:  # whatever a candidate does, the run goes on
        reason = reason_of(error)
    return Judgement(score, signature, reason, perf_counter() - start)


@dataclass(frozen=True, slots=True)
class Partial:
    """How a partial training ended.

    Args:
        fitness: Metric on the validation split; infinite if the training failed.
        reason: Why it failed, or None.
        seconds: Time taken.
    """

    fitness: float
    reason: str | None
    seconds: float


def train_stage(task: Task, settings: LearnSettings, loss: LossFunction) -> Partial:
    r"""Fitness :math:`\mathcal{F}`: the metric after S_testing base steps with the loss (Algorithm 2)."""
    start = perf_counter()
    fitness, reason = math.inf, None
    if isinstance(loss, SymbolicLoss):
        loss.requires_grad_(False)
    try:
        with one_thread():
            model = task.make_model(derive(settings.seed, task.key, "partial", "init"))
            batches = Batches(len(task.train), settings.base.batch_size, settings.seed, task.key, "partial", "batches")
            noise = derive(settings.seed, task.key, "partial", "noise")
            reason = fit(model, loss, task.train, batches, settings.partial_steps, settings.base, noise).reason
            if reason is None:
                value = evaluate(model, task.valid, task.metric)
                fitness, reason = (value, None) if math.isfinite(value) else (math.inf, "the metric is not finite")
    except Exception as error:  # whatever a candidate does, the run goes on
        reason = reason_of(error)
    return Partial(fitness, reason, perf_counter() - start)
