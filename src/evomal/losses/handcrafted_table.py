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


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _label_smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=SMOOTHING)


def _class_weighted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    # So weighted, the mean over training instances is 1. Were there a label of a class without any, it would be rare.
    counts = counts.to(outputs.dtype)
    weight = counts.sum() / (counts > 0).sum() / counts.clamp(min=1)
    return functional.cross_entropy(outputs, targets, weight, reduction="none")


def _logit_adjusted(outputs: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    # A class without labels counts as if it had one. The softmax does not see what all logits have in common.
    prior = counts.clamp(min=1).to(outputs.dtype).log()
    return _cross_entropy(outputs + TAU * prior.reshape(-1, *[1] * (outputs.dim() - 2)), targets)


def _focal(outputs: Tensor, targets: Tensor) -> Tensor:
    log_p = functional.log_softmax(outputs, dim=1)
    return (targets * torch.expm1(log_p).neg() ** GAMMA * -log_p).sum(dim=1)


def _generalised(outputs: Tensor, targets: Tensor) -> Tensor:
    # p^q by way of log p, so that the slope stays finite where p underflows.
    log_p = functional.log_softmax(outputs, dim=1)
    return (targets * torch.expm1(Q * log_p).neg() / Q).sum(dim=1)


def _mean_over_outputs(
    function: Callable[..., Tensor],
) -> Callable[[Tensor, Tensor], Tensor]:
    # PyTorch averages over outputs as well as over the batch.
    def per_instance(outputs: Tensor, targets: Tensor) -> Tensor:
        return function(outputs, targets, reduction="none").mean(dim=1)

    return per_instance


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
        "mse": HandcraftedEntry("regression", _mean_over_outputs(functional.mse_loss), "mean squared error"),
        "mae": HandcraftedEntry("regression", _mean_over_outputs(functional.l1_loss), "mean absolute error"),
        "huber": HandcraftedEntry("regression", _mean_over_outputs(functional.huber_loss), "Huber loss, δ = 1"),
    }
)
