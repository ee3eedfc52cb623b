"""Which way a metric goes: perfect predictions must not be worse than those of an untrained network."""

import math
import warnings

import torch
from torch import Tensor

from evomal.foundation.errors import SettingError
from evomal.losses.criterion import TaskType
from evomal.tasks.metrics import Metric

SURE = 1e-6  # share of a metric's size that is more than rounding


def perfect_outputs(outputs: Tensor, targets: Tensor, task_type: TaskType) -> Tensor:
    """Outputs of the given shape that predict the targets exactly (classification: logits of ±20)."""
    if task_type == "regression":
        return targets.to(outputs.dtype).reshape(outputs.shape)
    if outputs.dim() == 1 or outputs.shape[1] == 1 or task_type == "multilabel":
        return (40.0 * targets.to(outputs.dtype) - 20.0).reshape(outputs.shape)
    if targets.is_floating_point():
        return 40.0 * targets.to(outputs.dtype) - 20.0
    labels = targets.clamp(min=0).unsqueeze(1)  # an ignored label may be anything
    return torch.full_like(outputs, -20.0).scatter_(1, labels, 20.0)


def require_minimised(metric: Metric, outputs: Tensor, targets: Tensor, task_type: TaskType) -> bool:
    """Refuse a metric that is to be maximised, such as an accuracy: a search would look for the worst loss.

    Args:
        metric: The metric.
        outputs: Of an untrained network.
        targets: Their targets.
        task_type: Classification or regression.

    Returns:
        Whether perfect predictions are better; else they are as good, or the metric has no value for one of the two.

    Raises:
        SettingError: Perfect predictions are worse.

    Example:
        >>> from evomal.tasks.metrics import get_metric
        >>> require_minimised(get_metric("error_rate"), torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), "classification")
        True
    """
    untrained = _value(metric, outputs, targets, otherwise=math.inf)
    # Of soft labels, the most probable class is perfect to some metrics and the labels themselves to others.
    all_perfect = _perfect(outputs, targets, task_type)
    perfect = min(_value(metric, each, targets, otherwise=-math.inf) for each in all_perfect)
    if not math.isfinite(untrained):
        return False
    if perfect - untrained > SURE * max(abs(perfect), abs(untrained)):
        raise SettingError(
            f"metric '{metric.name}' gives {perfect:.4g} for perfect predictions but {untrained:.4g} for those of an "
            "untrained network; metrics are minimised, so return what is smaller when predictions are better, such as "
            "1 - accuracy"
        )
    return math.isfinite(perfect) and perfect < untrained


def _perfect(outputs: Tensor, targets: Tensor, task_type: TaskType) -> list[Tensor]:
    found = [perfect_outputs(outputs, targets, task_type)]
    if task_type == "classification" and targets.is_floating_point():
        one = outputs.dim() == 1 or outputs.shape[1] == 1
        soft = targets.to(outputs.dtype).clamp(1e-6, 1 - 1e-6)
        found.append((soft.logit() if one else soft.log()).reshape(outputs.shape))
    return found


def _value(metric: Metric, outputs: Tensor, targets: Tensor, otherwise: float) -> float:
    """The metric, or something else where it has no finite value: other checks tell of that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not defined for such outputs
            value = float(metric(outputs, targets))
    except Exception:  # of a user's function
        return otherwise
    return value if math.isfinite(value) else otherwise
