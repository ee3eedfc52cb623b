"""First and second derivatives of symbolic losses at given predictions, without second-order autograd."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.autograd import grad

from evomal.foundation.contexts import recording
from evomal.losses.compiled import compile_dual
from evomal.losses.criterion import Reduction
from evomal.losses.preparing import TaskType, prepare
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.untouched import untouched


def _settings(loss: SymbolicLoss) -> tuple[TaskType, Reduction, int | None, tuple[int, ...] | None]:
    return loss.task_type, loss.reduction, loss.ignore_index, loss.class_counts


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions and targets in the form that symbolic losses see, made once for all losses with the same settings.

    Args:
        outputs: As they came from the model.
        y: Targets [B, C, ...].
        f: What the formula sees, [B, C, ...]: probabilities, or raw values.
        share: What each instance's value counts in the reduction: a number, or [B, 1, ...].
        softmax: Whether f is the softmax of logits.
        settings: Task type, reduction, ignored label and class counts of the losses that it is for.
    """

    outputs: Tensor
    y: Tensor
    f: Tensor
    share: Tensor | float
    softmax: bool
    settings: tuple[TaskType, Reduction, int | None, tuple[int, ...] | None]

    @classmethod
    def of(cls, loss: SymbolicLoss, outputs: Tensor, targets: Tensor) -> Self:
        """Prepare outputs and targets as `loss` would."""
        outputs = outputs.detach()
        logits, y, kept = prepare(outputs, targets, loss.task_type, loss.ignore_index)
        softmax = loss.task_type != "regression"
        f = torch.softmax(loss.shifted(logits), dim=1) if softmax else logits
        share: Tensor | float
        if kept is None:
            share = 1.0 if loss.reduction == "sum" else logits.shape[1] / logits.numel()
        else:
            counted = kept.to(f.dtype).unsqueeze(1)
            share = counted if loss.reduction == "sum" else counted / counted.sum()
        return cls(outputs, y, f, share, softmax, _settings(loss))

    def suits(self, loss: SymbolicLoss) -> bool:
        """Whether a loss would prepare outputs and targets in this way."""
        return self.settings == _settings(loss)

    def counted(self, values: Tensor) -> Tensor:
        """Values times what each instance counts; what does not count may be not finite."""
        if isinstance(self.share, float):
            return values * self.share
        return torch.where(self.share != 0, values, 0.0) * self.share

    def push(self, direction: Tensor) -> Tensor:
        """The change of f along a direction of the outputs."""
        change = direction.to(self.f.dtype)
        change = change.unsqueeze(1) if change.dim() == 1 else change
        change = change.unsqueeze(1) if self.settings[0] == "multilabel" else change
        if not self.softmax:
            return change
        if change.shape[1] < self.f.shape[1]:  # one logit z stands for [0, z]
            change = torch.cat([torch.zeros_like(change), change], dim=1)
        return self.f * (change - (self.f * change).sum(1, keepdim=True))

    def pull(self, slope: Tensor) -> Tensor:
        """The slope with respect to the outputs, from that with respect to f."""
        if self.softmax:
            slope = self.f * (slope - (self.f * slope).sum(1, keepdim=True))
            if self.outputs.dim() == 1 or self.outputs.shape[1] == 1 or self.settings[0] == "multilabel":
                slope = slope[:, 1:]
        return slope.reshape(self.outputs.shape).to(self.outputs.dtype)


@recording()
def slope(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope ∂M/∂outputs of any loss, outside any graph; by autograd where it is not simply symbolic.

    Args:
        loss: The loss, ``loss(outputs, targets) -> scalar``.
        outputs: Outputs of a model.
        targets: Their targets.

    Returns:
        A number that is finite if the value is, 0-dim, and the slope, of the outputs' shape.

    Example:
        >>> loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
        >>> slope(loss, torch.tensor([3.0]), torch.tensor([1.0]))[1]
        tensor([4.])
    """
    if type(loss) is SymbolicLoss and untouched(loss):
        return slope_at(loss, Predictions.of(loss, outputs, targets))
    leaf = outputs.detach().requires_grad_()
    value = loss(leaf, targets)
    if not value.requires_grad:
        return value, torch.zeros_like(outputs)
    return value.detach(), grad(value, leaf, materialize_grads=True)[0]


def slope_at(loss: SymbolicLoss, at: Predictions) -> tuple[Tensor, Tensor]:
    """Value and slope of a symbolic loss, outside any graph.

    Args:
        loss: The loss, with reduction ``mean`` or ``sum``.
        at: Predictions and targets.

    Returns:
        The sum of the counted values, 0-dim; and ∂M/∂outputs, of the outputs' shape. Both outside any graph.
    """
    with torch.no_grad():
        values, slope = _dual(loss, at, torch.ones((), dtype=at.f.dtype, device=at.f.device))
        pulled = torch.zeros_like(at.outputs) if slope is None else at.pull(slope.expand_as(at.f))
        return at.counted(values).sum(), pulled


def slope_gradient(loss: SymbolicLoss, at: Predictions, direction: Tensor) -> Tensor:
    r"""How the slope along a direction changes with the coefficients.

    :math:`\frac{\partial}{\partial\phi}\big\langle\frac{\partial\mathcal{M}_\phi}{\partial f}, u\big\rangle`, by one
    backward pass over the forward-mode code of the formula.

    Args:
        loss: The loss, with reduction ``mean`` or ``sum``.
        at: Predictions and targets.
        direction: u, of the outputs' shape.

    Returns:
        A tensor of φ's shape.
    """
    with torch.enable_grad():
        _, tangent = _dual(loss, at, at.push(direction))
        if tangent is None or not tangent.requires_grad:
            return torch.zeros_like(loss.weights)
        (gradient,) = grad(tangent.expand_as(at.f).sum(), loss.weights, materialize_grads=True)
    return gradient


def _dual(loss: SymbolicLoss, at: Predictions, direction: Tensor) -> tuple[Tensor, Tensor | None]:
    """Values of the formula, and the counted tangent of its output activation along a direction of f."""
    values, tangent = compile_dual(loss.expression)(
        at.y, at.f, loss.weights.to(at.f.dtype), direction, **loss.extras(at.f)
    )
    if loss.output_activation == "softplus":
        tangent = None if tangent is None else tangent * torch.sigmoid(values)
        values = torch.nn.functional.softplus(values)
    if loss.scale != 1:
        values, tangent = loss.scale * values, None if tangent is None else loss.scale * tangent
    return values, None if tangent is None else at.counted(tangent)
