"""The stages of an evaluation for a group of candidates as one batched program: same arguments, same results.

A group that does not fit into the device's memory is halved; what cannot be had in lanes at all is done candidate by
candidate, by the functions of `evomal.evaluation.stages`.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from time import perf_counter
from typing import TypeVar

import torch

from evomal.config import LearnSettings
from evomal.engines.genome import Genome
from evomal.evaluation.batched_filters import improvements, signatures
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.stages import Judgement, Partial, control_scale, digest, judge_group, train_group, tune_stage
from evomal.foundation.seeds import derive
from evomal.local_search import Tuned
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import LearnedLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task, TaskSet
from evomal.training import one_thread
from evomal.training.batched_fit import fit_lanes
from evomal.training.precision import precision

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], list[Result]]

NOT_FINITE = "the loss or its gradient is not finite"


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
                texts = [signatures(lanes, probe) for probe in probes]
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
        return Judgement(None, None, NOT_FINITE, seconds)
    signature = digest(" ".join(text for text in texts if text is not None)) if texts else None
    if None in scores:
        return Judgement(None, signature, NOT_FINITE, seconds)
    return Judgement(min((s for s in scores if s is not None), default=None), signature, None, seconds)


def train_in_lanes(tasks: TaskSet, settings: LearnSettings, losses: Sequence[LearnedLoss]) -> list[Partial]:
    """What `train_group` does, in lanes: one for each candidate and learning rate."""

    def together(group: Sequence[LearnedLoss]) -> list[Partial]:
        start = perf_counter()
        rates = settings.fitness_lrs
        trials = _trained(tasks, settings, [(loss, rate) for loss in group for rate in rates])
        each = (perf_counter() - start) / len(group)
        partials = []
        for first in range(0, len(trials), len(rates)):
            own = trials[first : first + len(rates)]
            fitness, reason, _, rate = min(
                ((*trial, rate) for trial, rate in zip(own, rates, strict=True)), key=lambda found: found[0]
            )
            partials.append(Partial(fitness, reason, each, rate, sum(begun for _, _, begun in own)))
        return partials

    for loss in losses:
        loss.requires_grad_(False)
    with precision(settings.execution.precision, tasks.device):
        return in_groups(together, lambda group: train_group(tasks, settings, group), losses)


Trial = tuple[float, str | None, int]


def _trained(tasks: TaskSet, settings: LearnSettings, pairs: Sequence[tuple[LearnedLoss, float]]) -> list[Trial]:
    """Fitness, why it failed, and how many trainings were begun: of a trial, the first that fails is the last."""
    values: list[list[float]] = [[] for _ in pairs]
    reasons: list[str | None] = [None for _ in pairs]
    begun = [0 for _ in pairs]
    for task in tasks:
        going = [number for number, reason in enumerate(reasons) if reason is None]
        if not going:
            break
        for number, (value, reason) in zip(going, _on_task(task, settings, [pairs[n] for n in going]), strict=True):
            begun[number] += 1
            reasons[number] = reason
            values[number].append(value)
    means = [fmean(found) if reason is None else math.inf for found, reason in zip(values, reasons, strict=True)]
    return list(zip(means, reasons, begun, strict=True))


def _on_task(
    task: Task, settings: LearnSettings, pairs: Sequence[tuple[LearnedLoss, float]]
) -> list[tuple[float, str | None]]:
    """The metric after partial training on one task, and why it failed, for each lane."""
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
    found: list[tuple[float, str | None]] = []
    for fit, value in zip(trained.fits, values, strict=True):
        reason = fit.reason or (None if math.isfinite(value) else "the metric is not finite")
        found.append((value if reason is None else math.inf, reason))
    return found


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
