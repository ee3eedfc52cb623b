"""The stages of an evaluation for a group of candidates as one batched program: same arguments, same results.

A group that does not fit into the device's memory is halved; what cannot be had in lanes at all is done candidate by
candidate, by the functions of `evomal.evaluation.stages`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

import torch

from evomal.config import LearnSettings
from evomal.engines.genome import Genome
from evomal.evaluation.batched_filters import improvements, signatures
from evomal.evaluation.filters import FilterProbe, all_pass
from evomal.evaluation.over_tasks import Measured, over_tasks, why_not
from evomal.evaluation.stages import (
    Judgement,
    MetricAndTie,
    Partial,
    control_scale,
    digest,
    judge_group,
    least,
    partial_of,
    task_loss_metric,
    train_group,
    tune_stage,
)
from evomal.foundation.seeds import derive
from evomal.local_search import Tuned
from evomal.local_search.batched_tune import tune_lanes
from evomal.local_search.endings import LOSS_NOT_FINITE
from evomal.losses import LearnedLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task, TaskSet
from evomal.training import one_thread
from evomal.training.batched_fit import fit_lanes
from evomal.training.precision import precision

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], list[Result]]


def tune_in_lanes(
    tasks: TaskSet, settings: LearnSettings, genomes: Sequence[Genome]
) -> list[tuple[LearnedLoss, Tuned]]:
    """What `tune_stage` does, in lanes."""

    def together(group: Sequence[Genome]) -> list[tuple[LearnedLoss, Tuned]]:
        losses = [genome.loss(tasks, settings) for genome in group]
        outcomes = tune_lanes(losses, tasks, settings.tuning, settings.base, settings.seed)
        if settings.scale_control:
            for loss, outcome in zip(losses, outcomes, strict=True):
                control_scale(loss, outcome, tasks, settings)
        return list(zip(losses, outcomes, strict=True))

    with precision(settings.execution.precision, tasks.device):
        return in_groups(together, lambda group: tune_stage(tasks, settings, group), genomes)


def judge_in_lanes(
    tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe], losses: Sequence[LearnedLoss]
) -> list[Judgement]:
    """What `judge_group` does, in lanes: all candidates' predictions are optimised at once."""

    def together(group: Sequence[LearnedLoss]) -> list[Judgement]:
        start = perf_counter()
        lanes = stack(group)
        texts: list[list[str | None]] = []
        scores: list[list[float | None]] = []
        with one_thread():
            if settings.filters.gradient_equivalence:
                directed = all_pass(settings.filters, probes)
                texts = [signatures(lanes, probe, directed) for probe in probes]
            if settings.filters.rejection:
                scores = [improvements(lanes, probe, settings.filters) for probe in probes]
        each = (perf_counter() - start) / len(group)
        return [_judged([t[k] for t in texts], [s[k] for s in scores], each) for k in range(len(group))]

    for loss in losses:
        loss.requires_grad_(False)
    with precision(settings.execution.precision, tasks.device):
        return in_groups(together, lambda group: judge_group(tasks, settings, probes, group), losses)


def _judged(texts: Sequence[str | None], scores: Sequence[float | None], seconds: float) -> Judgement:
    """One candidate's judgement from what was found on each task; None stands for what is not finite."""
    if None in texts:
        return Judgement(None, None, LOSS_NOT_FINITE, seconds)
    signature = digest(" ".join(text for text in texts if text is not None)) if texts else None
    if None in scores:
        return Judgement(None, signature, LOSS_NOT_FINITE, seconds)
    score = least(score for score in scores if score is not None) if scores else None
    return Judgement(score, signature, None, seconds)


def train_in_lanes(tasks: TaskSet, settings: LearnSettings, losses: Sequence[LearnedLoss]) -> list[Partial]:
    """What `train_group` does, in lanes: one for each candidate and learning rate."""

    def together(group: Sequence[LearnedLoss]) -> list[Partial]:
        start = perf_counter()
        rates = settings.fitness_lrs
        tried = _trained(tasks, settings.trial, [(loss, rate) for loss in group for rate in rates])
        of_each = [tried[first : first + len(rates)] for first in range(0, len(tried), len(rates))]
        best = [min(own, key=lambda partial: partial.rank) for own in of_each]
        begun = [sum(partial.trainings for partial in own) for own in of_each]
        if settings.trial is not settings:
            going = [number for number, partial in enumerate(best) if partial.reason is None]
            full = _trained(tasks, settings, [(group[number], best[number].rate) for number in going])
            for number, partial in zip(going, full, strict=True):
                best[number] = partial
                begun[number] += partial.trainings
        each = (perf_counter() - start) / len(group)
        return [replace(one, seconds=each, trainings=count) for one, count in zip(best, begun, strict=True)]

    for loss in losses:
        loss.requires_grad_(False)
    with precision(settings.execution.precision, tasks.device):
        return in_groups(together, lambda group: train_group(tasks, settings, group), losses)


def _trained(tasks: TaskSet, settings: LearnSettings, pairs: Sequence[tuple[LearnedLoss, float]]) -> list[Partial]:
    """The fitness of each loss at a rate."""
    found = over_tasks(tasks, pairs, lambda task, going: _on_task(task, settings, going))
    return [partial_of(one, rate, settings) for one, (_, rate) in zip(found, pairs, strict=True)]


def _on_task(
    task: Task, settings: LearnSettings, pairs: Sequence[tuple[LearnedLoss, float]]
) -> list[Measured[MetricAndTie]]:
    """The metric after partial training on one task, the task loss if asked for, and why it failed, for each lane."""
    base = settings.base
    with one_thread():
        trained = fit_lanes(
            task.make_model(derive(settings.seed, task.key, "partial", "init")),
            stack([loss for loss, _ in pairs]),
            task.train,
            Batches.of(task.train, base.batch_size, settings.seed, task.key, "partial", "batches"),
            settings.partial_steps,
            base,
            derive(settings.seed, task.key, "partial", "noise"),
            [base.lr * rate for _, rate in pairs],
            settings.execution.precision,
            task.own,
        )
        values = trained.evaluate(task.valid, task.metric)
        ties = [math.inf] * len(pairs)
        if settings.break_ties:
            ties = trained.evaluate(task.valid, task_loss_metric(task))
    return [
        ((value, tie), why_not(fit.reason, value)) for fit, value, tie in zip(trained.fits, values, ties, strict=True)
    ]


def in_groups(together: Work[Item, Result], alone: Work[Item, Result], items: Sequence[Item]) -> list[Result]:
    """Do some work for all items at once, or in halves where memory does not suffice, or one by one.

    Args:
        together: Does it for a group of any size.
        alone: Does it for a group, item by item; a single item is always left to it.
        items: The items.

    Returns:
        A result for each, in their order; what one half has is kept when the other runs out of memory.
    """
    if len(items) <= 1:
        return alone(items)
    try:
        return together(items)
    except torch.OutOfMemoryError:
        full = True
    except Exception:  # whatever this group does at once, `alone` says who it is
        full = False
    # Outside `except`: the error would keep alive what fills the memory.
    if not full:
        return alone(items)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*in_groups(together, alone, items[:middle]), *in_groups(together, alone, items[middle:])]
