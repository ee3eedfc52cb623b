"""Handcrafted losses: PyTorch's own, by name, with one contract for shapes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from evomal.errors import unknown_name
from evomal.losses.criterion import IGNORED, Criterion, Reduction, TaskType

NO_LABEL = -(2**63)  # no label ever; PyTorch's function always ignores one


class _Entry(NamedTuple):
    task_type: TaskType
    per_instance: Callable[[Tensor, Tensor], Tensor]
    summary: str


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _mean_over_outputs(
    function: Callable[..., Tensor],
) -> Callable[[Tensor, Tensor], Tensor]:
    # PyTorch averages over outputs as well as over the batch.
    def per_instance(outputs: Tensor, targets: Tensor) -> Tensor:
        return function(outputs, targets, reduction="none").mean(dim=1)

    return per_instance


HANDCRAFTED: Mapping[str, _Entry] = MappingProxyType(
    {
        "cross_entropy": _Entry("classification", _cross_entropy, "cross-entropy on logits"),
        "mse": _Entry("regression", _mean_over_outputs(functional.mse_loss), "mean squared error"),
        "mae": _Entry("regression", _mean_over_outputs(functional.l1_loss), "mean absolute error"),
        "huber": _Entry("regression", _mean_over_outputs(functional.huber_loss), "Huber loss, δ = 1"),
    }
)


class HandcraftedLoss(Criterion):
    """A loss that people use by habit, computed by PyTorch.

    Args:
        name: A name in `HANDCRAFTED`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        ignore_index: Class label that does not count; None saves the look.

    Raises:
        UnknownNameError: There is no such loss.

    Example:
        >>> HandcraftedLoss("mse")(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """

    def __init__(self, name: str, reduction: Reduction = "mean", ignore_index: int | None = IGNORED) -> None:
        if name not in HANDCRAFTED:
            raise unknown_name("loss", name, HANDCRAFTED)
        super().__init__(HANDCRAFTED[name].task_type, reduction, ignore_index)
        self.name = name

    def forward(self, outputs: Tensor, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch; the usual case goes straight to PyTorch's fused kernel."""
        usual = (
            self.name == "cross_entropy"
            and sample_weight is None
            and outputs.dim() > 1
            and outputs.shape[1] > 1
            and targets.dtype == torch.int64
            and targets.shape == outputs.shape[:1] + outputs.shape[2:]
            and outputs.dtype in (torch.float32, torch.float64)
        )
        if usual:
            ignored = NO_LABEL if self.ignore_index is None else self.ignore_index
            # A label without a class goes on to where it is named.
            with suppress(IndexError):
                return functional.cross_entropy(outputs, targets, ignore_index=ignored, reduction=self.reduction)
        return super().forward(outputs, targets, sample_weight)

    def per_instance(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each instance, [B, ...]."""
        return HANDCRAFTED[self.name].per_instance(outputs, targets)

    def extra_repr(self) -> str:
        """The name."""
        return repr(self.name)


def get_handcrafted(name: str, reduction: Reduction = "mean", ignore_index: int | None = IGNORED) -> HandcraftedLoss:
    """The handcrafted loss of that name; see `HandcraftedLoss`."""
    return HandcraftedLoss(name, reduction, ignore_index)
