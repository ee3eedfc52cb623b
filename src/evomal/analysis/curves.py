"""What a loss does, as curves: against the probability of a class, or against the residual (Figure 7)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evomal.analysis.gradients import one_hot, response
from evomal.losses.criterion import Criterion

POINTS = 199
CLASSES = 10  # where nobody says how many there are


@dataclass(frozen=True, slots=True)
class Curve:
    """A loss along a line of predictions.

    Args:
        x: The probability, or the residual f - y.
        loss: Its value there.
        gradient: Its slope with respect to the logit of that class, or to the prediction; a base step goes against it.
        start: Where training starts: the uniform probability; in regression a residual of 1.
        height: The value at the start (in regression at residual 0).
        slope: The size of the gradient at the start; 0 if there is none, or it is not finite.
    """

    x: tuple[float, ...]
    loss: tuple[float, ...]
    gradient: tuple[float, ...]
    start: float
    height: float
    slope: float

    def normalised(self) -> "Curve":
        """The same with height 0 and slope 1 at the start, as a learning rate and a constant could make it.

        A loss without a gradient at the start keeps its size.
        """
        size = self.slope or 1.0
        loss = tuple((value - self.height) / size for value in self.loss)
        gradient = tuple(value / size for value in self.gradient)
        return Curve(self.x, loss, gradient, self.start, 0.0, 1.0 if self.slope else 0.0)


def class_curve(loss: Criterion, classes: int = CLASSES, of: Literal["true", "other"] = "true") -> Curve:
    """A loss for classification against the probability p of the true class, or of one wrong class.

    All other classes share 1 - p equally.

    Args:
        loss: The loss.
        classes: How many classes there are.
        of: Whose probability it is, and with respect to whose logit the gradient is taken.

    Returns:
        The curve from p = 0.005 to 0.995.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> curve = class_curve(HandcraftedLoss("cross_entropy"), classes=2)
        >>> [round(number, 3) for number in (curve.x[99], curve.loss[99], curve.gradient[99])]
        [0.5, 0.693, -0.5]
    """
    p = torch.cat([torch.linspace(0.005, 0.995, POINTS, dtype=torch.float64), torch.tensor([1 / classes]).double()])
    values, gradients = along(loss, p, classes, of)
    place = 0 if of == "true" else 1
    return _curve(p, values, gradients[:, place], 1 / classes)


def along(loss: Criterion, p: Tensor, classes: int, of: Literal["true", "other"] = "true") -> tuple[Tensor, Tensor]:
    """Values [N] and gradients [N, C] where one class has the probabilities p and all others share the rest equally.

    The true class is the first; with ``of="other"`` p is the second's.
    """
    shares = ((1 - p) / (classes - 1))[:, None].repeat(1, classes)
    shares[:, 0 if of == "true" else 1] = p
    targets = one_hot(torch.zeros(len(p), dtype=torch.int64), classes)
    return response(loss, shares.log(), targets)


def residual_curve(loss: Criterion, target: float = 0.0) -> Curve:
    """A loss for regression against the residual f - y, for one target y.

    Args:
        loss: The loss.
        target: y; a learned loss need not depend on the residual alone.

    Returns:
        The curve from -3 to 3 (of standardised targets).

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> curve = residual_curve(HandcraftedLoss("mse"))
        >>> [round(number, 3) for number in (curve.x[-1], curve.loss[-1], curve.gradient[-1])]
        [3.0, 9.0, 6.0]
    """
    residual = torch.cat([torch.linspace(-3.0, 3.0, POINTS, dtype=torch.float64), torch.tensor([0.0, 1.0]).double()])
    y = torch.full_like(residual, target)[:, None]
    values, gradients = response(loss, y + residual[:, None], y)
    numbers, slopes = values.tolist(), gradients[:, 0].tolist()
    whole = _curve(residual[:-1], values[:-1], gradients[:-1, 0], 1.0)
    return Curve(whole.x, whole.loss, whole.gradient, 1.0, numbers[POINTS], _size(slopes[POINTS + 1]))


def _curve(x: Tensor, values: Tensor, gradients: Tensor, start: float) -> Curve:
    """The last entry is the start."""
    slopes = gradients.tolist()
    numbers = values.tolist()
    return Curve(tuple(x.tolist()[:-1]), tuple(numbers[:-1]), tuple(slopes[:-1]), start, numbers[-1], _size(slopes[-1]))


def _size(slope: float) -> float:
    size = abs(slope)
    return size if 1e-12 < size < float("inf") else 0.0
