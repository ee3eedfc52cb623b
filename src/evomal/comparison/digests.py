"""Losses told apart, however they came to be: by what their file would hold, or by what they compute."""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from evomal.comparison.contenders import Contender
from evomal.foundation.errors import EvomalError, SettingError, one_line
from evomal.foundation.seeds import derive, generator, seeded
from evomal.losses import HandcraftedLoss, LearnedLoss
from evomal.losses.checks import require_scalar
from evomal.losses.criterion import LossFunction
from evomal.tasks import Task
from evomal.tasks.kinds import require_side_by_side
from evomal.training import one_thread

INSTANCES = 64
WIDTHS = (0.0, 1.0, 4.0)  # of what is added to a fresh network's outputs: losses may be alike where nothing is learned


def copied(loss: LossFunction) -> LossFunction:
    """A loss whose use does not touch the user's own, and that is not trained."""
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
        require_side_by_side(copied(loss), "it", outputs, y, task.task_type)
        noise = torch.randn(outputs.shape, generator=generator("comparison", "own loss")).to(outputs)
        return [number for width in WIDTHS for number in _computed(copied(loss), outputs + width * noise, y)]


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
