"""A loss's values and gradients, instance by instance, at predictions that are given."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from evomal.foundation.seeds import generator
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss
from evomal.losses.criterion import Criterion, TaskType
from evomal.losses.published import PUBLISHED, published_loss

WIDTHS = (0.1, 1.0, 2.0, 4.0)  # standard deviations of logits: of fresh networks up to confident ones
DRAWS = 64  # of each width


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
