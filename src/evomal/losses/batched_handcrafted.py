"""Several handcrafted losses as one program: what they share is made once, and there is one backward pass for all."""

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
from torch import Tensor
from torch.autograd import grad

from evomal.losses.batched import BatchingError, formed, reduced
from evomal.losses.handcrafted import HandcraftedLoss
from evomal.losses.preparing import prepare
from evomal.losses.untouched import untouched


def stackable(loss: Callable[[Tensor, Tensor], Tensor]) -> TypeGuard[HandcraftedLoss]:
    """Whether a loss is a handcrafted one of ours, computed as its name says, and the mean over instances."""
    return type(loss) is HandcraftedLoss and untouched(loss) and loss.reduction == "mean"


class StackedHandcrafted:
    """Handcrafted losses in lanes, for training alone.

    Losses of the same name in several lanes are computed at once, as the instances of one batch.

    Args:
        losses: At least one, all `stackable` and alike in task type and ignored label.

    Raises:
        BatchingError: They are not alike.

    Example:
        >>> both = StackedHandcrafted([HandcraftedLoss("mse"), HandcraftedLoss("mae")])
        >>> values, slopes = both.slopes(torch.tensor([[3.0], [3.0]]), torch.tensor([1.0]))
        >>> values.tolist(), slopes.tolist()
        ([4.0, 2.0], [[4.0], [1.0]])
    """

    def __init__(self, losses: Sequence[HandcraftedLoss]) -> None:
        if len({(loss.task_type, loss.ignore_index) for loss in losses}) != 1 or not all(map(stackable, losses)):
            raise BatchingError("handcrafted losses in lanes must be alike in task type, reduction and ignored label")
        self._first = losses[0]
        same: dict[object, list[int]] = {}
        for lane, loss in enumerate(losses):
            counts = loss.class_counts
            same.setdefault((loss.name, None if counts is None else tuple(counts.tolist())), []).append(lane)
        self._losses = [losses[lanes[0]] for lanes in same.values()]
        self._sizes = [len(lanes) for lanes in same.values()]
        self._order = torch.tensor([lane for lanes in same.values() for lane in lanes])
        self._back = self._order.argsort()

    def slopes(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes ∂M/∂outputs of all lanes.

        Args:
            outputs: [N, B, ...]; whatever graph they have is left alone.
            targets: Of all lanes, as a single loss takes them.

        Returns:
            Values [N] and slopes of the outputs' shape, both outside any graph.

        Raises:
            DataError: Shapes do not fit, or a label has no class.
        """
        order, back = self._order.to(outputs.device), self._back.to(outputs.device)
        with torch.enable_grad(), torch.autocast(outputs.device.type, enabled=False):
            leaf = outputs.detach().index_select(0, order).requires_grad_()
            values = self._values(leaf, targets)
            (slope,) = grad(values.sum(), leaf, materialize_grads=True)
        return values.detach().index_select(0, back), slope.index_select(0, back)

    def _values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The losses [N] of outputs in the order of names."""
        first = self._first
        _, y, kept = prepare(outputs[0].detach(), targets, first.task_type, first.ignore_index)
        logits = formed(outputs, first.task_type).split(self._sizes)
        found = []
        for loss, own in zip(self._losses, logits, strict=True):
            lanes = len(own)
            labels = y if lanes == 1 else y.expand_as(own).flatten(0, 1)
            found.append(loss.per_instance(own.flatten(0, 1), labels).unflatten(0, (lanes, -1)))
        return reduced(torch.cat(found), kept, first.reduction)
