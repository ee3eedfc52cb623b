"""Full trainings with the losses of contenders: which loss each has, what is written down, and doing those left."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from evomal.comparison.contenders import Contender
from evomal.config import TrainSettings
from evomal.executors import Executor
from evomal.foundation.errors import EvomalError, SettingError, one_line
from evomal.foundation.seeds import derive, generator, seeded
from evomal.foundation.serialization import finite_or_none
from evomal.losses import HandcraftedLoss, LearnedLoss
from evomal.losses.checks import require_scalar
from evomal.losses.criterion import Criterion, LossFunction
from evomal.losses.loading import learned_by_name
from evomal.store import read_records
from evomal.store.journal import damaged
from evomal.store.journal_schema import Row
from evomal.tasks import Task
from evomal.training import TrainingRun, meta_testing, one_thread

Key = tuple[str, float, int]
"""Contender, rate and seed of a training."""
INSTANCES = 64
MOST = 1e30  # no number in a file is larger
WIDTHS = (0.0, 1.0, 4.0)  # of what is added to a fresh network's outputs: losses may be alike where nothing is learned


class FinishedTraining(NamedTuple):
    """A finished training.

    Args:
        run: What it came to.
        loss: `digest` of the loss that it was done with; None if it has none, or an older evomal wrote none.
    """

    run: TrainingRun
    loss: str | None


def loss_of(contender: Contender, task: Task) -> LossFunction:
    """The loss of a contender that need not search for it, on the task's device.

    A loss that was given as an object is copied: what is done with it does not touch the user's own.

    Raises:
        LossFileError: The file cannot be read.
        SettingError: It is for the other kind of task, or needs class counts that the task does not have.

    Example:
        >>> from evomal.tasks import named_task
        >>> loss_of(Contender("focal", "handcrafted"), named_task("iris", "linear")).name
        'focal'
    """
    if contender.kind == "handcrafted":  # the task's own loss may be a function of the user
        same = contender.name == task.task_loss_name
        return task.task_loss if same else task.handcrafted(contender.name)
    loss = learned_by_name(contender.name) if contender.given is None else _copied(contender.given)
    fitted: LossFunction = task.fitted(loss, contender.name)
    return fitted


def _copied(loss: LossFunction) -> LossFunction:
    return copy.deepcopy(loss).requires_grad_(False) if isinstance(loss, nn.Module) else loss


def digest(loss: LossFunction, own_on: Task | None = None) -> str | None:
    """16 hexadecimal digits that tell a loss, however it came to be.

    A loss is told by what its file would hold, whether it was learned or written by hand. A function or module of the
    user's own has no file: it is told by what it computes, which is the same after a new start of Python and on another
    machine. Values and gradients count, of a fresh network's outputs on the task's first instances and of wider ones,
    to four digits. So a changed formula or parameter is noticed, and new names, comments or a new place of the code are
    not.

    Args:
        loss: The loss.
        own_on: The task, for a loss of the user's own; None for a loss that has a name or a file.

    Returns:
        The digits; None for a task loss that is a function of the user: the task's identity tells it.

    Example:
        >>> from evomal.losses import TaylorLoss
        >>> one, other = (TaylorLoss([0, 0, 0, x, 0, 0, 0, 0], task_type="regression") for x in (1.0, 2.0))
        >>> digest(one) == digest(one), digest(one) == digest(other)
        (True, False)
    """
    # One written by hand that was given as an object may be a class of the user's own, with other values.
    if isinstance(loss, LearnedLoss) or (own_on is None and isinstance(loss, HandcraftedLoss)):
        told: object = loss.all_entries()
    elif own_on is not None:
        told = [f"{number:.4g}" for number in computed(loss, own_on)]
    else:
        return None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def computed(loss: LossFunction, task: Task) -> list[float]:
    """What a loss of the user's own gives on some training data: value and length of the gradient, at three widths.

    Raises:
        SettingError: It fails, or gives no finite, differentiable number.
    """
    with one_thread(), seeded(0), torch.enable_grad():
        x, y = task.train.take(torch.arange(min(INSTANCES, len(task.train))))
        model = task.make_model(derive("comparison", "own loss"))
        outputs = model.train()(x).detach()
        noise = torch.randn(outputs.shape, generator=generator("comparison", "own loss")).to(outputs)
        return [number for width in WIDTHS for number in _computed(_copied(loss), outputs + width * noise, y)]


def _computed(loss: LossFunction, outputs: Tensor, y: Tensor) -> list[float]:
    called = f"on outputs {list(outputs.shape)} and targets {list(y.shape)} it"
    outputs = outputs.requires_grad_()
    try:
        value = loss(outputs, y)
    except EvomalError:
        raise
    except Exception as error:
        raise SettingError(f"{called} fails: {one_line(error)}; let it take (outputs, targets)") from error
    value = require_scalar(value, called)
    if not value.requires_grad:
        raise SettingError(f"{called} gives no gradient; compute it with differentiable torch operations")
    try:
        (gradient,) = torch.autograd.grad(value.reshape(()), outputs, allow_unused=True)
    except RuntimeError as error:
        raise SettingError(f"{called} cannot be differentiated: {one_line(error)}; use torch operations") from error
    if gradient is None:
        raise SettingError(f"{called} does not depend on the outputs; check for .detach()")
    numbers = [float(value.detach()), float(gradient.double().norm())]
    if not all(map(isfinite, numbers)):
        raise SettingError(f"{called} gives {numbers[0]:g} with a gradient of length {numbers[1]:g}; keep both finite")
    return numbers


def digests_of(
    contenders: Sequence[Contender], losses: Mapping[tuple[str, int], LossFunction], task: Task
) -> dict[tuple[str, int], str | None]:
    """`digest` of each loss that is known, by contender and seed."""
    own = {each.name for each in contenders if each.kind == "own"}
    known = {id(loss): digest(loss, task if name in own else None) for (name, _), loss in losses.items()}
    return {key: known[id(loss)] for key, loss in losses.items()}


def train_left(
    task: Task,
    left: Sequence[Key],
    losses: Mapping[tuple[str, int], LossFunction],
    settings: TrainSettings,
    executor: Executor,
) -> Iterator[tuple[Key, TrainingRun]]:
    """Do trainings, each as soon as it is finished: none is lost while a slow one goes on; readers go by its key.

    Each begins with a loss as it was given.
    """
    jobs = [(losses[name, seed], settings, lr, seed) for name, lr, seed in left]
    for place, run in executor.as_finished(_train_once, task, jobs) if jobs else ():
        yield left[place], run


def _train_once(task: Task, loss: LossFunction, settings: TrainSettings, lr: float, seed: int) -> TrainingRun:
    # What a user's module keeps from call to call must not pass from one training to the next; ours keep nothing.
    loss = loss if isinstance(loss, Criterion) else _copied(loss)
    return meta_testing.train_once(task, loss, settings, lr, seed)


class TrainingRow(Row, strict=True):
    """A finished training: a line of a journal of trainings; a metric that is not finite is None."""

    what = "a training"

    contender: str
    loss: str | None = None
    lr: Annotated[float, Field(gt=-MOST, lt=MOST)]
    seed: int
    valid: float | None
    test: float | None
    steps: int
    seconds: Annotated[float, Field(gt=-MOST, lt=MOST)]
    reason: str | None = None

    @property
    def key(self) -> Key:
        """What no other line shares, but one of the same training that was done again."""
        return self.contender, self.lr, self.seed

    @property
    def training(self) -> FinishedTraining:
        """What it tells of."""
        valid, test = (nan if metric is None else metric for metric in (self.valid, self.test))
        run = TrainingRun(self.lr, self.seed, valid, test, self.steps, self.seconds, self.reason)
        return FinishedTraining(run, self.loss)


def training_record(name: str, trained: FinishedTraining) -> dict[str, Any]:
    """A finished training as a line of a journal."""
    metrics = {metric: finite_or_none(getattr(trained.run, metric)) for metric in ("valid", "test")}
    return TrainingRow(**{"contender": name, "loss": trained.loss, **asdict(trained.run), **metrics}).record()


def read_trainings(
    path: Path, other: Callable[[int, dict[str, Any]], bool] | None = None
) -> dict[Key, FinishedTraining]:
    """Finished trainings from a journal by contender, rate and seed; of one that was done again, the last.

    Args:
        path: The journal; nothing is finished where there is none.
        other: Takes a line by its number, and says whether it is something else than a training.

    Raises:
        RunFolderError: A line is damaged.
    """
    found: dict[Key, FinishedTraining] = {}
    for number, record in enumerate(read_records(path) if path.exists() else (), start=1):
        if other is not None and other(number, record):
            continue
        try:
            row = TrainingRow.read(record)
        except ValueError:
            raise damaged(path, number) from None
        found[row.key] = row.training
    return found


def is_number(value: Any) -> bool:
    """Whether a value from a file is a number that can be counted with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST  # so not NaN either
