"""A loss's values and gradients at given predictions: instance by instance, and as curves (Figure 7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import generator
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss
from evomal.losses.class_shares import class_numbers
from evomal.losses.criterion import Criterion
from evomal.losses.preparing import TaskType
from evomal.losses.published import PUBLISHED, published_loss

WIDTHS = (0.1, 1.0, 2.0, 4.0)  # standard deviations of logits: of fresh networks up to confident ones
DRAWS = 64  # of each width
POINTS = 199  # of a curve
CLASSES = 10  # where nobody says how many there are
MOST_CLASSES = 1000  # that anything is measured for, unless somebody asks for more


def classes_of(*losses: Criterion, given: int | None = None) -> int:
    """For how many classes losses are shown: what is given, or else what the first of them that tells is for.

    Args:
        *losses: Any losses.
        given: What a user has said; None: nothing.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> rare = HandcraftedLoss("logit_adjusted_cross_entropy", class_counts=[30, 10, 2])
        >>> classes_of(rare), classes_of(rare, given=5), classes_of(HandcraftedLoss("focal"))
        (3, 5, 10)
    """
    if given is not None:
        return given
    known = (counts_of(loss) or getattr(loss, "prior", None) for loss in losses)
    return next((len(each) for each in known if each is not None), CLASSES)


def counts_of(loss: object) -> list[int] | None:
    """How many training labels each class had where a loss was learned or made; None where it does not tell.

    Args:
        loss: Any loss; its own class counts come before those of the task that its file names.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> counts_of(HandcraftedLoss("logit_adjusted_cross_entropy", class_counts=[30, 10, 2]))
        [30, 10, 2]
    """
    counts = getattr(loss, "class_counts", None)
    if counts is None:
        info = getattr(loss, "info", {})
        task = info.get("tuned_on") or info.get("learned_on")
        counts = task.get("class_counts") if isinstance(task, dict) else None
    try:  # a file that anybody may have written can hold anything
        found = [] if counts is None else class_numbers(counts, "a loss").tolist()
    except SettingError:
        return None
    return found if 1 < len(found) <= MOST_CLASSES else None


def sees_classes(loss: object) -> bool:
    """Whether a loss depends on how often each class occurs."""
    return getattr(loss, "class_counts", None) is not None or bool(getattr(loss, "needs_prior", False))


class OutputsAndTargets(NamedTuple):
    """Predictions and targets of one shape [N, C] or [N, K], in float64."""

    outputs: Tensor
    targets: Tensor


class Response(NamedTuple):
    """What a loss says to predictions."""

    values: Tensor  # [N]
    gradients: Tensor  # [N, C], with respect to the outputs: logits in classification


def response(loss: Criterion, outputs: Tensor, targets: Tensor) -> Response:
    """Value and gradient of each instance, whatever the loss's reduction; what has no gradient has zeros.

    Args:
        loss: Any loss.
        outputs: Logits [N, C], or values [N, K].
        targets: One-hot or soft labels, or values, of the same shape.
    """
    if isinstance(loss, LearnedLoss) and loss.task_type == "classification":
        loss = loss.at_classes(outputs.shape[1])
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        values = loss.per_instance(leaf, targets)
        if not values.requires_grad:
            return Response(values.detach(), torch.zeros_like(outputs))
        (slopes,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True, materialize_grads=True)
    return Response(values.detach(), slopes)


def typical_predictions(task_type: TaskType, classes: int) -> OutputsAndTargets:
    """The fixed predictions at which losses are compared: near uniform up to confident ones, right and wrong.

    Args:
        task_type: The kind of task.
        classes: How many classes there are; of no account in regression.

    Example:
        >>> typical_predictions("classification", 3).outputs.shape
        torch.Size([256, 3])
    """
    if task_type == "regression":
        targets = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
        residuals = torch.linspace(-4.0, 4.0, 33, dtype=torch.float64)
        y, residual = torch.meshgrid(targets, residuals, indexing="ij")
        return OutputsAndTargets((y + residual).reshape(-1, 1), y.reshape(-1, 1).contiguous())
    draw = generator(0, "analysis", "logits", classes)
    logits = torch.randn(len(WIDTHS) * DRAWS, classes, generator=draw, dtype=torch.float64)
    logits *= torch.tensor(WIDTHS, dtype=torch.float64).repeat_interleave(DRAWS)[:, None]
    return OutputsAndTargets(logits, one_hot(torch.arange(len(logits)) % classes, classes))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels [N] as rows [N, C] in float64."""
    return torch.eye(classes, dtype=torch.float64)[labels]


def distance(first: Tensor, second: Tensor) -> float:
    """How different two fields of gradients are, apart from their size: 0 for a multiple, 1 for nothing in common.

    It is the sine of the angle between them, √(1 - cos²), and 1 where they point against each other: the relative error
    that is left when one is scaled as well as can be to match the other.

    Example:
        >>> one = torch.tensor([1.0, 0.0])
        >>> distance(one, 3 * one), round(distance(one, one + 1), 3), distance(one, -one)
        (0.0, 0.447, 1.0)
    """
    a, b = first.reshape(-1).double(), second.reshape(-1).double()
    sizes = float(a.norm() * b.norm())
    if not sizes > 0 or sizes == float("inf"):
        return 0.0 if torch.equal(a, b) else 1.0
    cosine = float(a @ b) / sizes
    return max(0.0, 1 - cosine**2) ** 0.5 if cosine > 0 else 1.0


def known_losses(task_type: TaskType) -> Iterator[tuple[str, Criterion]]:
    """Every loss by name that such a task can be trained with, handcrafted or published.

    Losses that look at class counts are left out: at equal ones they are others of the table.
    """
    for name, entry in HANDCRAFTED.items():
        if entry.task_type == task_type and not entry.needs_class_counts:
            yield name, HandcraftedLoss(name)
    if task_type == "classification":
        for name in PUBLISHED:
            yield name, published_loss(name)


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
