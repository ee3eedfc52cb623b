"""The stages of an evaluation as plain functions of (tasks, job): what executors run, here or in workers."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter

import torch
from torch import Tensor

from evomal.config import LearnSettings
from evomal.engines.genome import Genome
from evomal.evaluation.filters import FilterProbe, all_pass, gradient_signature, improvement
from evomal.evaluation.over_tasks import Measured, OverTasks, one_by_one, over_tasks, why_not
from evomal.foundation.seeds import derive
from evomal.local_search import Tuned, tune
from evomal.local_search.endings import reason_of
from evomal.losses import LearnedLoss
from evomal.losses.criterion import LossFunction
from evomal.tasks import Batches, Metric, Task, TaskSet
from evomal.training import evaluate, fit, one_thread
from evomal.training.precision import autocast, precision
from evomal.training.step_size import mean_norm_ratio

MetricAndTie = tuple[float, float]
"""Metric and task loss of a partial training on one task; infinite where there is none."""


def tune_stage(tasks: TaskSet, settings: LearnSettings, genomes: Sequence[Genome]) -> list[tuple[LearnedLoss, Tuned]]:
    """Tune the coefficients of several losses, walking through the meta steps together; control their scale."""
    losses = [genome.loss(tasks, settings) for genome in genomes]
    with precision(settings.execution.precision, tasks.device):
        outcomes = tune(losses, tasks, settings.tuning, settings.base, settings.seed)
        if settings.scale_control:
            for loss, outcome in zip(losses, outcomes, strict=True):
                control_scale(loss, outcome, tasks, settings)
    return list(zip(losses, outcomes, strict=True))


def control_scale(loss: LearnedLoss, outcome: Tuned, tasks: TaskSet, settings: LearnSettings) -> None:
    """Rescale a loss so that its gradient on a first batch is as long as the task loss's (on average in the log)."""
    if outcome.reason is not None:
        return
    ratio = mean_norm_ratio(loss, tasks, settings.base.batch_size, settings.seed)
    if ratio:
        loss.scale = 1 / ratio
    else:
        outcome.reason = "its first gradient is zero or not finite: there is no scale to control"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the inner filters measured of one loss.

    Args:
        score: Share of the possible improvement (D8); None where that filter is off or the loss failed.
        signature: Digest of the rounded gradient norms (D9); None where that filter is off or the loss failed.
        reason: Why the loss failed, or None.
        seconds: Time taken.
    """

    score: float | None
    signature: str | None
    reason: str | None
    seconds: float


def judge_stage(tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe], loss: LearnedLoss) -> Judgement:
    """Measure what both inner filters need, on every task; whoever asked decides.

    The score is that of the task that the loss helps least, and signatures must agree on all tasks.
    """
    start = perf_counter()
    score = signature = reason = None
    loss.requires_grad_(False)
    try:
        with one_thread(), precision(settings.execution.precision, tasks.device):
            if settings.filters.gradient_equivalence:
                directed = all_pass(settings.filters, probes)
                signature = digest(" ".join(gradient_signature(loss, probe, directed) for probe in probes))
            if settings.filters.rejection:
                score = least(improvement(loss, probe, settings.filters) for probe in probes)
    except Exception as error:  # whatever a candidate does, the run goes on
        reason = reason_of(error)
    return Judgement(score, signature, reason, perf_counter() - start)


def least(scores: Iterable[float]) -> float:
    """The least of several scores; none that is NaN, which `min` would pass over in some orders, is ever good enough.

    Example:
        >>> least([0.9, 0.7]), least([0.9, math.nan, 0.7])
        (0.7, nan)
    """
    known = list(scores)
    return math.nan if any(map(math.isnan, known)) else min(known)


def judge_group(
    tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe], losses: Sequence[LearnedLoss]
) -> list[Judgement]:
    """`judge_stage` for several losses."""
    return [judge_stage(tasks, settings, probes, loss) for loss in losses]


def digest(text: str) -> str:
    """A short text that stands for a long one."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Partial:
    """How a partial training ended.

    Args:
        fitness: Mean metric on the validation splits; infinite if a training failed.
        reason: Why it failed, or None.
        seconds: Time taken.
        rate: The multiple of the base learning rate that the fitness belongs to.
        trainings: How many trainings were begun for it.
        tie: The mean task loss on the validation splits, which decides between equal fitnesses; None where it does not.
    """

    fitness: float
    reason: str | None
    seconds: float
    rate: float = 1.0
    trainings: int = 1
    tie: float | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """Sorting key."""
        return self.fitness, 0.0 if self.tie is None else self.tie


def train_stage(tasks: TaskSet, settings: LearnSettings, loss: LossFunction | None) -> Partial:
    r"""Fitness :math:`\mathcal{F}`: the metric after S_testing base steps, averaged over the tasks (Algorithm 2).

    With several `fitness_lrs` it is the best of those at each multiple of the base learning rate; with `fitness_trial`
    a shorter training at each of them chooses the one at which the fitness is taken.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        loss: The loss; None means each task's own task loss.
    """
    start = perf_counter()
    if isinstance(loss, LearnedLoss):
        loss.requires_grad_(False)
    tried = [_at_rate(tasks, settings.trial, loss, rate) for rate in settings.fitness_lrs]
    best = min(tried, key=lambda partial: partial.rank)
    begun = sum(partial.trainings for partial in tried)
    if settings.trial is not settings and best.reason is None:
        best = _at_rate(tasks, settings, loss, best.rate)
        begun += best.trainings
    return replace(best, seconds=perf_counter() - start, trainings=begun)


def train_group(tasks: TaskSet, settings: LearnSettings, losses: Sequence[LearnedLoss]) -> list[Partial]:
    """`train_stage` for several losses."""
    return [train_stage(tasks, settings, loss) for loss in losses]


def _at_rate(tasks: TaskSet, settings: LearnSettings, loss: LossFunction | None, rate: float) -> Partial:
    """Fitness at one rate."""

    def train(task: Task, rate: float) -> Measured[MetricAndTie]:
        return _partial_training(task, settings, loss or task.task_loss, rate)

    (found,) = over_tasks(tasks, [rate], one_by_one(train, (math.inf, math.inf)))
    return partial_of(found, rate, settings)


def partial_of(found: OverTasks[MetricAndTie], rate: float, settings: LearnSettings) -> Partial:
    """The fitness at a rate: the mean over the tasks, infinite if a training failed."""
    begun = len(found.values)
    if found.reason is not None:
        return Partial(math.inf, found.reason, 0.0, rate, begun)
    fitness, tie = map(fmean, zip(*found.values, strict=True))
    return Partial(fitness, None, 0.0, rate, begun, tie if settings.break_ties else None)


WORST_TIE = 1e30
"""The task loss where it is not finite, or greater: a number, as JSON holds no infinity."""


def task_loss_metric(task: Task) -> Metric:
    """The task loss as something that is measured; what is not finite counts as the worst."""

    def measured(outputs: Tensor, targets: Tensor) -> Tensor:
        value = task.task_loss(outputs, targets).reshape(())
        return torch.nan_to_num(value, nan=WORST_TIE, posinf=WORST_TIE, neginf=WORST_TIE).clamp(max=WORST_TIE)

    return Metric(task.task_loss_name, measured, (task.task_type,))


def _partial_training(task: Task, settings: LearnSettings, loss: LossFunction, rate: float) -> Measured[MetricAndTie]:
    """Metric and, where it is asked for, task loss on validation data; and why there are none."""
    base = settings.base if rate == 1 else settings.base.model_copy(update={"lr": settings.base.lr * rate})
    setting = settings.execution.precision
    with one_thread(), precision(setting, task.device), autocast(setting, task.device):
        model = task.make_model(derive(settings.seed, task.key, "partial", "init"))
        batches = Batches.of(task.train, base.batch_size, settings.seed, task.key, "partial", "batches")
        noise = derive(settings.seed, task.key, "partial", "noise")
        reason = fit(model, loss, task.train, batches, settings.partial_steps, base, noise, task.own).reason
        value = evaluate(model, task.valid, task.metric) if reason is None else math.inf
        asked = settings.break_ties and reason is None
        tie = evaluate(model, task.valid, task_loss_metric(task)) if asked else math.inf
    return (value, tie), why_not(reason, value)
