"""One training of the finals: what executors run, here or in workers."""

import math
from dataclasses import dataclass
from statistics import fmean
from time import perf_counter

from evomal.config import LearnSettings
from evomal.evaluation.finals.splits import final_split
from evomal.foundation.seeds import derive
from evomal.local_search.one_step import reason_of
from evomal.losses import LearnedLoss
from evomal.losses.criterion import LossFunction
from evomal.tasks import AnySplit, Batches, Task, TaskSet
from evomal.training import evaluate, fit, one_thread
from evomal.training.chance import bounds
from evomal.training.precision import autocast, precision


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
    start = perf_counter()
    if isinstance(loss, LearnedLoss):
        loss.requires_grad_(False)
    values: list[float] = []
    for task in tasks:
        try:
            value, reason = _trained(task, settings, loss or task.task_loss, lr, split, steps)
        except Exception as error:  # whatever a loss does, the finals go on
            value, reason = math.inf, reason_of(error)
        if reason is not None:
            return FinalTraining(math.inf, reason, perf_counter() - start)
        values.append(value)
    return FinalTraining(fmean(values), None, perf_counter() - start)


def _trained(
    task: Task, settings: LearnSettings, loss: LossFunction, lr: float, split: int, steps: int
) -> tuple[float, str | None]:
    base = settings.base.model_copy(update={"lr": lr})
    setting = settings.execution.precision
    train, test = final_split(task, settings.finals.folds, split, settings.seed)
    key = (settings.seed, task.key, "finals", split)
    with one_thread(), precision(setting, task.device), autocast(setting, task.device):
        model = task.make_model(derive(*key, "init"))
        batches = Batches(len(train), base.batch_size, *key, "batches")
        if steps == 0:
            return min(evaluate(model, test, task.metric), _constant(task, test)), None
        reason = fit(model, loss, train, batches, steps, base, derive(*key, "noise"), task.own).reason
        value = evaluate(model, test, task.metric) if reason is None else math.inf
    return value, reason or (None if math.isfinite(value) else "the metric is not finite")


def _constant(task: Task, split: AnySplit) -> float:
    """The metric of constant predictions; infinite where a metric of the user refuses such outputs."""
    try:
        value = bounds(task, split)[0]
    except Exception:
        return math.inf
    return value if math.isfinite(value) else math.inf
