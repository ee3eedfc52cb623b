"""Handcrafted losses: PyTorch's own, by name, with one contract for shapes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from evomal.errors import SettingError, unknown_name
from evomal.losses.criterion import IGNORED, Criterion, Reduction, TaskType

NO_LABEL = -(2**63)  # no label ever; PyTorch's function always ignores one
SMOOTHING, FOCUS, Q = 0.1, 2.0, 0.7


class _Entry(NamedTuple):
    task_type: TaskType
    per_instance: Callable[[Tensor, Tensor, Tensor], Tensor]  # outputs and targets [B, C, ...], counts [C] or empty
    summary: str
    needs_class_counts: bool = False


def _cross_entropy(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _label_smoothed(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=SMOOTHING)


def _class_weighted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Each instance counts N / (C n_c): 1 on average over the training data."""
    weights = counts.sum() / (len(counts) * counts)
    shares = (targets * _per_class(weights, outputs)).sum(dim=1)
    return shares * functional.cross_entropy(outputs, targets, reduction="none")


def _logit_adjusted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Logits plus the logarithm of each class's share (Menon et al., 2021, Equation 10, τ = 1)."""
    priors = (counts / counts.sum()).log()
    return functional.cross_entropy(outputs + _per_class(priors, outputs), targets, reduction="none")


def _focal(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """-(1 - p)² log p of the true class (Lin et al., 2017, Equation 4, γ = 2), in expectation over soft labels."""
    log_p = functional.log_softmax(outputs, dim=1)
    return -(targets * (-torch.expm1(log_p)).pow(FOCUS) * log_p).sum(dim=1)


def _generalised(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """(1 - p^q) / q of the true class (Zhang and Sabuncu, 2018, Eq. 6, q = 0.7), in expectation over soft labels."""
    # p^q as exp(q log p): its gradient is finite where p underflows.
    powers = (Q * functional.log_softmax(outputs, dim=1)).exp()
    return (targets * (1 - powers)).sum(dim=1) / Q


def _per_class(values: Tensor, outputs: Tensor) -> Tensor:
    """Values [C] as [1, C, 1, ...], to be combined with outputs."""
    return values.to(outputs.dtype).reshape(1, -1, *[1] * (outputs.dim() - 2))


def _mean_over_outputs(function: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    # PyTorch averages over outputs as well as over the batch.
    def per_instance(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
        return function(outputs, targets, reduction="none").mean(dim=1)

    return per_instance


HANDCRAFTED: Mapping[str, _Entry] = MappingProxyType(
    {
        "cross_entropy": _Entry("classification", _cross_entropy, "cross-entropy on logits"),
        "label_smoothed_cross_entropy": _Entry(
            "classification", _label_smoothed, "cross-entropy, a tenth of each label spread over all classes"
        ),
        "class_weighted_cross_entropy": _Entry(
            "classification", _class_weighted, "cross-entropy, classes weighted by inverse frequency", True
        ),
        "logit_adjusted_cross_entropy": _Entry(
            "classification", _logit_adjusted, "cross-entropy on logits shifted by the log frequencies of classes", True
        ),
        "focal": _Entry("classification", _focal, "focal loss, γ = 2"),
        "generalised_cross_entropy": _Entry(
            "classification", _generalised, "between cross-entropy and absolute error, q = 0.7: for wrong labels"
        ),
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
        class_counts: Training instances of each class, [C], for a loss that needs them; an empty class counts as if it
            had one.

    Raises:
        UnknownNameError: There is no such loss.
        SettingError: The loss needs class counts and has none, or they are no counts.

    Example:
        >>> HandcraftedLoss("mse")(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """

    class_counts: Tensor

    def __init__(
        self,
        name: str,
        reduction: Reduction = "mean",
        ignore_index: int | None = IGNORED,
        class_counts: Sequence[int] | Tensor | None = None,
    ) -> None:
        if name not in HANDCRAFTED:
            raise unknown_name("loss", name, HANDCRAFTED)
        super().__init__(HANDCRAFTED[name].task_type, reduction, ignore_index)
        self.name = name
        self.register_buffer("class_counts", _checked_counts(name, class_counts), persistent=False)

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
        entry, counts = HANDCRAFTED[self.name], self.class_counts
        if entry.needs_class_counts and len(counts) != outputs.shape[1]:
            raise SettingError(
                f"loss '{self.name}' has counts of {len(counts)} classes but outputs for {outputs.shape[1]}; give one "
                "count for each"
            )
        return entry.per_instance(outputs, targets, counts)

    def extra_repr(self) -> str:
        """The name."""
        return repr(self.name)


def get_handcrafted(
    name: str,
    reduction: Reduction = "mean",
    ignore_index: int | None = IGNORED,
    class_counts: Sequence[int] | Tensor | None = None,
) -> HandcraftedLoss:
    """The handcrafted loss of that name; see `HandcraftedLoss`."""
    return HandcraftedLoss(name, reduction, ignore_index, class_counts)


def _checked_counts(name: str, counts: Sequence[int] | Tensor | None) -> Tensor:
    if not HANDCRAFTED[name].needs_class_counts:
        return torch.empty(0)
    if counts is None:
        raise SettingError(f"loss '{name}' needs the number of training instances of each class; give class_counts")
    values = torch.as_tensor(counts, dtype=torch.float64)
    if values.dim() != 1 or len(values) < 2 or not (values >= 0).all() or not values.isfinite().all():
        raise SettingError(f"class_counts of loss '{name}' are no counts; give one number of instances for each class")
    # A class without instances would weigh infinitely.
    return values.clamp(min=1)
