"""Which kind a task is of, and the metric that goes with it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from evomal.foundation.errors import SettingError
from evomal.losses import TaskType
from evomal.tasks.metrics import CLASSIFICATION, REGRESSION, Metric, get_metric


def infer_task_type(
    given: str | None, loss: Callable[..., Any], loss_name: str, metric: Any, targets: Tensor
) -> TaskType:
    """Classification or regression: as stated, as loss or metric demand, or by the type of the targets.

    Args:
        given: The stated type, or None.
        loss: The task loss; a loss of this package knows its type.
        loss_name: What messages call it.
        metric: A metric, its name, a function, or None.
        targets: Some targets; integers mean classification, floats regression.

    Returns:
        The type.

    Raises:
        SettingError: The stated type does not exist, or is not the loss's.

    Example:
        >>> import torch
        >>> infer_task_type(None, torch.nn.functional.l1_loss, "l1_loss", None, torch.tensor([0.5]))
        'regression'
    """
    if given not in (None, CLASSIFICATION, REGRESSION):
        raise SettingError(f"task_type is {given!r}; use 'classification' or 'regression'")
    of_loss = getattr(loss, "task_type", None)
    if given is not None and of_loss is not None and given != of_loss:
        raise SettingError(f"task_loss '{loss_name}' is for {of_loss}, but task_type is '{given}'; change one")
    of_metric = get_metric(metric).task_types if metric is not None else ()
    only = of_metric[0] if len(of_metric) == 1 else None
    by_targets = REGRESSION if targets.is_floating_point() else CLASSIFICATION
    chosen = given or of_loss or only or by_targets
    return "classification" if chosen == CLASSIFICATION else "regression"


def fitting_metric(metric: str | Metric | Callable[..., Any] | None, task_type: TaskType, task_name: str) -> Metric:
    """The metric of a task; None means error rate for classification and mean squared error for regression.

    Raises:
        UnknownNameError: There is no metric of that name.
        SettingError: The metric is for the other kind of task.

    Example:
        >>> fitting_metric(None, "regression", "mine").name
        'mse'
    """
    usual = "error_rate" if task_type == CLASSIFICATION else "mse"
    chosen = get_metric(usual if metric is None else metric)
    if task_type not in chosen.task_types:
        raise SettingError(
            f"metric '{chosen.name}' is for {chosen.task_types[0]}, but task '{task_name}' is {task_type}; "
            f"use '{usual}', or another task_loss"
        )
    return chosen
