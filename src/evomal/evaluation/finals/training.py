"""One training of the finals: what executors run, here or in workers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from time import perf_counter
from typing import NamedTuple, Self

import torch
from torch import nn

from evomal.config import LearnSettings
from evomal.evaluation.batched_stages import in_groups
from evomal.evaluation.finals.ledger import Trial
from evomal.evaluation.finals.splits import final_split
from evomal.evaluation.over_tasks import Measured, one_by_one, over_tasks, why_not
from evomal.foundation.seeds import derive
from evomal.losses import LearnedLoss
from evomal.losses.batched_families import MixedLosses
from evomal.losses.criterion import LossFunction
from evomal.tasks import AnySplit, Batches, Task, TaskSet
from evomal.training import evaluate, fit, one_thread
from evomal.training.batched_fit import fit_lanes
from evomal.training.chance import bounds
from evomal.training.precision import autocast, precision

Entered = tuple[LossFunction | None, float]
"""A loss, None for each task's own, and its base learning rate."""

TrainAll = Callable[[Task, Sequence[Entered]], list[Measured[float]]]


@dataclass(frozen=True, slots=True)
class FinalTraining:
    """How a training of the finals ended.

    Args:
        value: The metric, the mean over the tasks; infinite if a training failed.
        reason: Why it failed, or None.
        seconds: Time taken.
    """

    value: float
    reason: str | None
    seconds: float


def train_final(
    tasks: TaskSet, settings: LearnSettings, loss: LossFunction | None, lr: float, split: int, steps: int
) -> FinalTraining:
    """Train a fresh network on one split of every task, and measure the metric on what was left out.

    Initialisation and batches depend on the seed, the task and the split alone: all losses meet the same ones (D3).

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        loss: The loss; None means each task's own task loss.
        lr: Base learning rate.
        split: Number of the split.
        steps: Base steps; with 0 it is measured what comes without any: an untrained network, or constant predictions,
            if those are better.
    """
    return train_finals(tasks, settings, [(loss, lr)], split, steps)[0]


def grouped(trials: Sequence[Trial], lanes: int) -> list[list[Trial]]:
    """Trials that can be trained at once: of one split and length, so many at most, in the order of the first ones.

    Example:
        >>> trials = [Trial(0, 0.1, 0, 9), Trial(0, 0.1, 1, 9), Trial(1, 0.1, 0, 9), Trial(2, 0.1, 0, 9)]
        >>> [[trial.entrant for trial in group] for group in grouped(trials, 2)]
        [[0, 1], [0], [2]]
    """
    alike: dict[tuple[int, int], list[Trial]] = {}
    groups: list[list[Trial]] = []
    for trial in trials:
        group = alike.get((trial.split, trial.steps))
        if group is None or len(group) >= lanes or trial.steps == 0:
            group = []
            alike[trial.split, trial.steps] = group
            groups.append(group)
        group.append(trial)
    return groups


def train_finals(
    tasks: TaskSet, settings: LearnSettings, entrants: Sequence[Entered], split: int, steps: int
) -> list[FinalTraining]:
    """What `train_final` does for each loss and rate of a split; several in lanes, where that can be.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        entrants: Losses and base learning rates.
        split: Number of the split.
        steps: Base steps, above 0 for several.
    """

    def all_of_them(task: Task, going: Sequence[Entered]) -> list[Measured[float]]:
        return _trained_lanes(task, settings, going, split, steps)

    def by_itself(task: Task, entered: Entered) -> Measured[float]:
        loss, lr = entered
        return _trained(task, settings, loss or task.task_loss, lr, split, steps)

    def together(group: Sequence[Entered], train: TrainAll = all_of_them) -> list[FinalTraining]:
        start = perf_counter()
        found = over_tasks(tasks, group, train)
        each = (perf_counter() - start) / len(group)
        return [FinalTraining(math.inf if one.reason else fmean(one.values), one.reason, each) for one in found]

    def alone(group: Sequence[Entered]) -> list[FinalTraining]:
        return [found for one in group for found in together([one], one_by_one(by_itself, math.inf))]

    for loss, _ in entrants:
        if isinstance(loss, LearnedLoss):
            loss.requires_grad_(False)
    return in_groups(together, alone, entrants)


class _Fresh(NamedTuple):
    """What a training on a split of a task begins with, the same for every loss (D3)."""

    train: AnySplit
    test: AnySplit
    model: nn.Module
    batches: Batches
    noise: int

    @classmethod
    def of(cls, task: Task, settings: LearnSettings, split: int) -> Self:
        train, test = final_split(task, settings.finals.folds, split, settings.seed)
        key = (settings.seed, task.key, "finals", split)
        model = task.make_model(derive(*key, "init"))
        batches = Batches.of(train, settings.base.batch_size, *key, "batches")
        return cls(train, test, model, batches, derive(*key, "noise"))


def _trained_lanes(
    task: Task, settings: LearnSettings, group: Sequence[Entered], split: int, steps: int
) -> list[Measured[float]]:
    with one_thread():
        fresh = _Fresh.of(task, settings, split)
        trained = fit_lanes(
            fresh.model,
            MixedLosses([loss or task.task_loss for loss, _ in group]),
            fresh.train,
            fresh.batches,
            steps,
            settings.base,
            fresh.noise,
            [lr for _, lr in group],
            settings.execution.precision,
            task.own,
        )
        values = trained.evaluate(fresh.test, task.metric)
    return [(value, why_not(fit.reason, value)) for fit, value in zip(trained.fits, values, strict=True)]


def _trained(
    task: Task, settings: LearnSettings, loss: LossFunction, lr: float, split: int, steps: int
) -> Measured[float]:
    base = settings.base.model_copy(update={"lr": lr})
    setting = settings.execution.precision
    with one_thread(), precision(setting, task.device), autocast(setting, task.device):
        fresh = _Fresh.of(task, settings, split)
        if steps == 0:
            return _untrained(task, fresh.model, fresh.test), None
        reason = fit(fresh.model, loss, fresh.train, fresh.batches, steps, base, fresh.noise, task.own).reason
        value = evaluate(fresh.model, fresh.test, task.metric) if reason is None else math.inf
    return value, why_not(reason, value)


def _untrained(task: Task, model: nn.Module, test: AnySplit) -> float:
    """The metric of an untrained network or of constant predictions, if those are better.

    It is infinite where there is neither: a metric of the user may refuse outputs of either kind.
    """
    found: list[float] = []
    ways: list[Callable[[], float]] = [lambda: evaluate(model, test, task.metric), lambda: bounds(task, test)[0]]
    for measure in ways:
        try:
            found.append(measure())
        except torch.OutOfMemoryError:
            raise
        except Exception:
            continue
    return min(filter(math.isfinite, found), default=math.inf)
