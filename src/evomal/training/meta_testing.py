"""Meta-testing: fresh networks trained in full with a finished loss, over seeds and learning rates."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, nan
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import torch
from torch import nn

from evomal.config import TrainSettings, train_settings
from evomal.foundation.contexts import recording
from evomal.foundation.errors import DataError, SettingError
from evomal.foundation.seeds import derive
from evomal.foundation.serialization import finite_or_none, shown
from evomal.losses.checks import checked_function
from evomal.losses.criterion import Criterion, LossFunction
from evomal.tasks import Batches, Task
from evomal.tasks.kinds import require_side_by_side
from evomal.training.evaluate import evaluate
from evomal.training.fit import fit, one_thread
from evomal.training.optimizers import fitted_base

INSTANCES = 8  # on which it is seen whether a function compares what belongs together


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One full training.

    Args:
        lr: Base learning rate.
        seed: Seed of the initialisation and the batches.
        valid: Metric on the validation split; NaN if the training diverged.
        test: Metric on the test split; NaN if the training diverged.
        steps: Base steps taken.
        seconds: Wall time of the training and the evaluation.
        reason: Why the training ended early, or None.
    """

    lr: float
    seed: int
    valid: float
    test: float
    steps: int
    seconds: float
    reason: str | None = None

    @property
    def ended(self) -> str:
        """What it came to, in words: the metrics, or why there are none."""
        return self.reason or f"validation {shown(self.valid)}, test {shown(self.test)}"


@dataclass(frozen=True, slots=True)
class MetaTest:
    """All trainings of one meta-test, and the learning rate that validation chose.

    Args:
        metric: Name of the metric.
        lr: The learning rate with the best mean metric on validation.
        runs: Every training, at every learning rate.
    """

    metric: str
    lr: float
    runs: tuple[TrainingRun, ...]

    @property
    def chosen(self) -> tuple[TrainingRun, ...]:
        """The trainings at the chosen learning rate, in the order of the seeds."""
        return tuple(run for run in self.runs if run.lr == self.lr)

    @property
    def mean(self) -> float:
        """Mean test metric over seeds at the chosen learning rate."""
        return fmean(run.test for run in self.chosen)

    @property
    def sd(self) -> float | None:
        """Standard deviation (n - 1) of the test metric over seeds; None for a single seed, NaN if one diverged."""
        if len(self.chosen) < 2:
            return None
        # `stdev` itself fails on what is not finite.
        return stdev(run.test for run in self.chosen) if isfinite(self.mean) else nan

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers; what is not finite is None."""
        runs = [asdict(run) for run in self.runs]
        for run in runs:
            run |= {name: finite_or_none(run[name]) for name in ("valid", "test")}
        sd = finite_or_none(self.sd)
        return {"metric": self.metric, "lr": self.lr, "mean": finite_or_none(self.mean), "sd": sd, "runs": runs}


@recording()
def meta_test(
    task: Task,
    criterion: LossFunction | str,
    settings: TrainSettings | None = None,
    map_jobs: Callable[..., Any] | None = None,
    on_run: Callable[[TrainingRun], None] | None = None,
    done: Iterable[TrainingRun] = (),
    **flat: Any,
) -> MetaTest:
    """Train fresh networks with a loss at every learning rate and seed, and choose the rate on validation.

    Networks are trained on the training split alone. The test split is looked at once, at the end of each training,
    and has no part in any choice. Seeds fix initialisation and batches, so different losses meet the same ones.

    Args:
        task: The task, with a test split.
        criterion: The loss, ``criterion(outputs, targets) -> scalar``, or the name of a handcrafted one.
        settings: Steps, seeds, learning rates, schedule; None takes them from `flat`.
        map_jobs: Spreads the trainings, like the ``map`` of an executor; None runs them here.
        on_run: Told of every training as it ends.
        done: Trainings of an earlier call with the same task, loss and settings: they are taken as they are, and
            `on_run` is not told of them. Those at other rates or seeds are left out.
        **flat: Single settings, such as ``steps=2000, seeds=(0, 1, 2), lrs=(0.01, 0.1)``; see
            `evomal.config.train_settings`.

    Returns:
        All trainings and the chosen rate.

    Raises:
        DataError: The task has no test split.
        SettingError: A setting is unknown or out of range, or both `settings` and single ones are given; or criterion
            or metric compare every output with every target, see `evomal.tasks.kinds.require_side_by_side`.
    """
    if settings is not None and flat:
        raise SettingError(f"give either settings or single values, not both ({', '.join(flat)})")
    settings = settings or train_settings(**flat)
    require_test_split(task)
    if isinstance(criterion, str):
        criterion = task.handcrafted(criterion)
    checked_function(criterion, "criterion")
    _require_side_by_side(task, criterion)
    finished = {(run.lr, run.seed): run for run in done}
    jobs = [(lr, seed) for lr in settings.lrs for seed in settings.seeds]
    left = [(criterion, settings, lr, seed) for lr, seed in jobs if (lr, seed) not in finished]
    for run in (map_jobs or _here)(train_once, task, left) if left else ():
        finished[run.lr, run.seed] = run
        if on_run:
            on_run(run)
    runs = tuple(finished[job] for job in jobs)
    return MetaTest(task.metric.name, best_rate(runs, settings.lrs), runs)


def _require_side_by_side(task: Task, criterion: LossFunction) -> None:
    """Refuse a function of the user that broadcasts; a loss of this package does not."""
    with one_thread(), torch.no_grad():
        x, y = task.train.take(torch.arange(min(INSTANCES, len(task.train))))
        try:
            outputs = task.make_model(0).eval()(x)
        except Exception:  # the trainings will tell
            return
    if not isinstance(criterion, Criterion):
        kept = copy.deepcopy(criterion) if isinstance(criterion, nn.Module) else criterion
        require_side_by_side(kept, "criterion", outputs, y, task.task_type)
    require_side_by_side(task.metric, f"metric '{task.metric.name}'", outputs, y, task.task_type)


def require_test_split(task: Task) -> None:
    """Refuse a task that nothing can be tested on.

    Raises:
        DataError: It has no test split.
    """
    if task.test is None:
        raise DataError(f"task '{task.name}' has no test split; give one as Task(..., test=(x, y))")


def train_once(task: Task, criterion: LossFunction, settings: TrainSettings, lr: float, seed: int) -> TrainingRun:
    """One full training of a fresh network, on one thread."""
    start = perf_counter()
    assert task.test is not None
    base = fitted_base(settings.base_at(lr), task.own)
    with one_thread():
        model = task.make_model(derive(seed, task.key, "full", "init"))
        batches = Batches.of(task.train, base.batch_size, seed, task.key, "full", "batches")
        noise = derive(seed, task.key, "full", "noise")
        ended = fit(model, criterion, task.train, batches, settings.steps, base, noise, task.own)
        valid = test = float("nan")
        if ended.reason is None:
            valid, test = evaluate(model, task.valid, task.metric), evaluate(model, task.test, task.metric)
    return TrainingRun(lr, seed, valid, test, ended.steps, perf_counter() - start, ended.reason)


def _here(function: Callable[..., TrainingRun], task: Task, jobs: Sequence[tuple[Any, ...]]) -> Any:
    return (function(task, *job) for job in jobs)


def best_rate(runs: Sequence[TrainingRun], lrs: Sequence[float]) -> float:
    """The rate with the lowest mean validation metric; a rate at which any training diverged comes last.

    Args:
        runs: Trainings, one or more at every rate.
        lrs: The rates to choose from.

    Returns:
        The rate; of equal ones the first.

    Example:
        >>> runs = [TrainingRun(lr, 0, valid, 0.5, 100, 1.0) for lr, valid in ((0.1, 0.3), (1.0, 0.2), (10.0, nan))]
        >>> best_rate(runs, (0.1, 1.0, 10.0))
        1.0
    """

    def score(lr: float) -> float:
        values = [run.valid for run in runs if run.lr == lr]
        return fmean(values) if all(map(isfinite, values)) else inf

    return min(lrs, key=score)
