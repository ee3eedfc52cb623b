"""Outputs and targets in one form, whatever of the accepted shapes and types they came in; or what does not fit."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.losses.arguments import first_place

TaskType = Literal["classification", "regression", "multilabel"]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)

SOFT_SUM = 0.01
"""By how much soft labels may miss a sum of 1: they may have been computed in half precision."""


class Prepared(NamedTuple):
    """Outputs and targets brought to one form."""

    outputs: Tensor  # [B, C, ...] logits, or [B, K, ...] values
    targets: Tensor  # the same shape: one-hot or soft labels, or values
    kept: Tensor | None  # [B, ...] False where the label is ignored; None where nothing can be


def full_precision(outputs: Tensor) -> Tensor:
    """Outputs in float32 where they are of half precision, as under autocast; else as they are."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def prepare(outputs: Tensor, targets: Tensor, task_type: TaskType, ignore_index: int | None) -> Prepared:
    """Outputs and targets in one form, whatever of the accepted shapes and types they came in."""
    if outputs.dim() == 0 or targets.dim() == 0:
        raise misfit("both need a batch dimension, or neither has one", outputs, targets)
    outputs = full_precision(outputs)
    if task_type == "regression":
        return Prepared(*_regression(outputs, targets), None)
    if task_type == "multilabel":
        if targets.shape != outputs.shape:
            raise misfit("several labels need targets in the outputs' shape", outputs, targets)
        if outputs.dim() == 1:
            outputs, targets = outputs.unsqueeze(1), targets.unsqueeze(1)
        # Each label is a class of its own beside its absence: two probabilities of one logit, in a further dimension.
        return _one_logit(outputs.unsqueeze(1), targets.unsqueeze(1), ignore_index)
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        return _one_logit(outputs, targets, ignore_index)
    if targets.is_floating_point():
        if targets.shape != outputs.shape:
            raise misfit("soft labels must have the outputs' shape", outputs, targets)
        if _can_look(targets):
            _require_distributions(targets)
        return Prepared(outputs, targets.to(outputs.dtype), None)
    if targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise misfit("class labels must have the outputs' shape without dimension 1", outputs, targets)
    return _labelled(outputs, targets, ignore_index)


def _regression(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    f = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    y = targets.unsqueeze(1) if targets.dim() == 1 else targets
    if f.shape != y.shape:
        raise misfit("regression needs equal shapes, where [B] means [B, 1]", outputs, targets)
    return f, y.to(f.dtype)


def _one_logit(outputs: Tensor, targets: Tensor, ignore_index: int | None) -> Prepared:
    """One logit z stands for the probabilities [1-σ(z), σ(z)], the softmax of [0, z] (D2)."""
    z = outputs.unsqueeze(1) if outputs.dim() == 1 else outputs
    t = targets if targets.dim() == z.dim() else targets.unsqueeze(1)
    if t.shape != z.shape:
        raise misfit("one output needs one target for each", outputs, targets)
    logits = torch.cat([torch.zeros_like(z), z], dim=1)
    if not t.is_floating_point():
        return _labelled(logits, t.squeeze(1), ignore_index)
    if _can_look(t):
        _require_probabilities(t)
    t = t.to(z.dtype)
    return Prepared(logits, torch.cat([1 - t, t], dim=1), None)


def _can_look(targets: Tensor) -> bool:
    """Whether the values of targets can be looked at without waiting for a device, or stopping a trace."""
    if targets.device.type != "cpu" or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    return targets.numel() > 0 and not _is_wrapped(targets)


def _is_wrapped(tensor: Tensor) -> bool:
    """Whether a transformation such as vmap or grad stands between us and a tensor's values."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _require_probabilities(targets: Tensor) -> None:
    odd = ~((targets >= 0) & (targets <= 1))
    if bool(odd.any()):
        raise DataError(
            f"targets hold {float(targets[odd][0]):g} ({first_place(odd)}), but a yes-or-no answer is 0, 1 or a "
            "probability between them; mend the targets, or give a loss for regression"
        )


def _require_distributions(targets: Tensor) -> None:
    _require_probabilities(targets)
    sums = targets.sum(1)
    odd = (sums - 1).abs() > SOFT_SUM
    if bool(odd.any()):
        raise DataError(
            f"soft labels sum to {float(sums[odd][0]):g} ({first_place(odd)}) over the classes, not to 1; give shares "
            "of one label, or for several labels at once a loss with task_type='multilabel'"
        )


def _labelled(outputs: Tensor, labels: Tensor, ignore_index: int | None) -> Prepared:
    labels = labels.long()  # first, as bytes hold no -100: they would compare with 156
    kept = None if ignore_index is None else labels != ignore_index
    return Prepared(outputs, _one_hot(labels, outputs, kept), kept)


def _one_hot(labels: Tensor, outputs: Tensor, kept: Tensor | None) -> Tensor:
    """Labels as one 1 among zeros; all zeros where they are ignored, so that no class counts, not even a masked one."""
    empty = torch.zeros_like(outputs)
    seen, plain = not _is_wrapped(labels), not (_is_wrapped(labels) or _is_wrapped(outputs))
    try:
        if kept is None:
            return empty.scatter_(1, labels.unsqueeze(1), 1.0) if plain else empty.scatter(1, labels.unsqueeze(1), 1.0)
        labels = torch.where(kept, labels, 0)
        if not plain:  # vmap is slow, with a warning, at writing a tensor in, and may see labels alone as many
            return empty.scatter(1, labels.unsqueeze(1), 1.0) * kept.unsqueeze(1)
        return empty.scatter_(1, labels.unsqueeze(1), kept.to(outputs.dtype).unsqueeze(1))
    except (RuntimeError, IndexError) as error:
        classes = outputs.shape[1]
        if not seen:
            raise DataError(
                f"targets cannot be read ({error}); labels must lie in 0…{classes - 1}: mend them, or set the loss's "
                "ignore_index to a label that does not count"
            ) from None
        odd = (labels < 0) | (labels >= classes)
        if not bool(odd.any()):
            raise DataError(f"class labels {list(labels.shape)} cannot be read ({error}); give integers") from None
        low, high, label = int(labels.min()), int(labels.max()), int(labels[odd][0])
        raise DataError(
            f"targets hold labels from {low} to {high} (label {label} first {first_place(odd)}) but the outputs are "
            f"for {classes} classes; labels must lie in 0…{classes - 1}: mend them, or set the loss's ignore_index to "
            "a label that does not count"
        ) from None


def shaped_weight(weight: Tensor, values: Tensor) -> Tensor:
    """Weights of instances in the shape of their values [B, ...].

    Raises:
        DataError: They have another shape.
    """
    if weight.shape != values.shape and weight.shape != values.shape[:1]:
        fitting = " or ".join(str(list(shape)) for shape in dict.fromkeys((values.shape[:1], values.shape)))
        raise DataError(f"sample_weight has shape {list(weight.shape)}; give {fitting}")
    weight = weight.to(values.dtype)
    return weight.reshape(-1, *[1] * (values.dim() - 1)).expand_as(values) if weight.dim() == 1 else weight


def misfit(rule: str, outputs: Tensor, targets: Tensor) -> DataError:
    """The error for targets that do not fit outputs: the rule, and what there is."""
    return DataError(
        f"targets {list(targets.shape)} ({targets.dtype}) do not fit outputs {list(outputs.shape)}: {rule}"
    )
