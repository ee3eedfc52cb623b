"""The formulas of the handcrafted losses, instance by instance, and the table that names them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from evomal.losses.criterion import TaskType

SMOOTHING, TAU, GAMMA, Q = 0.1, 1.0, 2, 0.7


class HandcraftedEntry(NamedTuple):
    """A row of the table of handcrafted losses."""

    task_type: TaskType
    per_instance: Callable[..., Tensor]  # of outputs and targets, and of class counts where they are needed
    summary: str
    needs_class_counts: bool = False
    per_output: Callable[[Tensor, Tensor], Tensor] | None = None  # where PyTorch has a value for each output


def _log_p(outputs: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities; 0 where a class is out of the question (a logit of -inf) and no target: 0·log 0 is 0."""
    log_p = functional.log_softmax(outputs, dim=1)
    return log_p.masked_fill((targets == 0) & log_p.isneginf(), 0.0)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return -(_log_p(outputs, targets) * targets).sum(dim=1)


def _label_smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=SMOOTHING)


def _class_weighted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    # So weighted, the mean over training instances is 1. Were there a label of a class without any, it would be rare.
    counts = counts.to(outputs.dtype)
    weight = counts.sum() / (counts > 0).sum() / counts.clamp(min=1)
    return -(_log_p(outputs, targets) * targets * _along_classes(weight, outputs)).sum(dim=1)


def _logit_adjusted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    # A class without labels counts as if it had one. The softmax does not see what all logits have in common.
    prior = counts.clamp(min=1).to(outputs.dtype).log()
    return _cross_entropy(outputs + TAU * _along_classes(prior, outputs), targets)


def _along_classes(numbers: Tensor, outputs: Tensor) -> Tensor:
    """A number for each class, in the shape of outputs [B, C, ...]."""
    return numbers.reshape(-1, *[1] * (outputs.dim() - 2))


def _focal(outputs: Tensor, targets: Tensor) -> Tensor:
    log_p = _log_p(outputs, targets)
    return (targets * torch.expm1(log_p).neg() ** GAMMA * -log_p).sum(dim=1)


def _generalised(outputs: Tensor, targets: Tensor) -> Tensor:
    # p^q by way of log p, so that the slope stays finite where p underflows.
    log_p = _log_p(outputs, targets)
    return (targets * torch.expm1(Q * log_p).neg() / Q).sum(dim=1)


def _of_outputs(function: Callable[..., Tensor], summary: str) -> HandcraftedEntry:
    """The row of a loss of PyTorch that looks at each output alone."""

    def per_output(outputs: Tensor, targets: Tensor) -> Tensor:
        return function(outputs, targets, reduction="none")

    def per_instance(outputs: Tensor, targets: Tensor) -> Tensor:
        return per_output(outputs, targets).mean(dim=1)  # PyTorch averages over outputs as well as over the batch

    return HandcraftedEntry("regression", per_instance, summary, per_output=per_output)


_CLASSES: TaskType = "classification"
HANDCRAFTED: Mapping[str, HandcraftedEntry] = MappingProxyType(
    {
        "cross_entropy": HandcraftedEntry(_CLASSES, _cross_entropy, "cross-entropy on logits"),
        "label_smoothed_cross_entropy": HandcraftedEntry(
            _CLASSES, _label_smoothed, "cross-entropy, label smoothing ε = 0.1"
        ),
        "class_weighted_cross_entropy": HandcraftedEntry(
            _CLASSES, _class_weighted, "cross-entropy, classes weighted by inverse frequency", True
        ),
        "logit_adjusted_cross_entropy": HandcraftedEntry(
            _CLASSES, _logit_adjusted, "cross-entropy, logits plus τ·log prior, τ = 1", True
        ),
        "focal": HandcraftedEntry(_CLASSES, _focal, "focal loss, γ = 2"),
        "generalised_cross_entropy": HandcraftedEntry(_CLASSES, _generalised, "generalised cross-entropy, q = 0.7"),
        "mse": _of_outputs(functional.mse_loss, "mean squared error"),
        "mae": _of_outputs(functional.l1_loss, "mean absolute error"),
        "huber": _of_outputs(functional.huber_loss, "Huber loss, δ = 1"),
    }
)
