"""Which kind a task is of, the metric that goes with it, and whether a metric goes the right way."""

import math
import warnings
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evomal.foundation.errors import SettingError
from evomal.losses.criterion import IGNORED
from evomal.losses.preparing import TaskType
from evomal.tasks.metrics import CLASSIFICATION, MULTILABEL, REGRESSION, Metric, get_metric

# PyTorch's losses that tell what their targets are: yes-or-no answers as floats, classes, numbers.
BINARY = (
    nn.BCEWithLogitsLoss,
    nn.BCELoss,
    functional.binary_cross_entropy_with_logits,
    functional.binary_cross_entropy,
)
CLASSES = (
    nn.CrossEntropyLoss,
    nn.NLLLoss,
    nn.MultiMarginLoss,
    functional.cross_entropy,
    functional.nll_loss,
    functional.multi_margin_loss,
)
NUMBERS = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.PoissonNLLLoss,
    functional.mse_loss,
    functional.l1_loss,
    functional.smooth_l1_loss,
    functional.huber_loss,
    functional.poisson_nll_loss,
)
SURE = 1e-6  # share of a metric's size that is more than rounding


def infer_task_type(
    given: str | None, loss: Callable[..., Any], loss_name: str, metric: Any, targets: Tensor
) -> TaskType:
    """Classification, regression or several labels: as stated, as loss or metric demand, or by the type of the targets.

    Args:
        given: The stated type, or None.
        loss: The task loss; losses of this package and of PyTorch tell their type.
        loss_name: What messages call it.
        metric: A metric, its name, a function, or None.
        targets: Targets [N, ...]; integers mean classification, floats regression.

    Returns:
        The type.

    Raises:
        SettingError: The stated type does not exist or is not the loss's, or nothing tells 0 and 1 as classes from 0
            and 1 as numbers.

    Example:
        >>> import torch
        >>> infer_task_type(None, torch.nn.functional.l1_loss, "l1_loss", None, torch.tensor([0.5]))
        'regression'
    """
    if given not in (None, CLASSIFICATION, REGRESSION, MULTILABEL):
        raise SettingError(f"task_type is {given!r}; use 'classification', 'regression' or 'multilabel'")
    of_loss = getattr(loss, "task_type", None)
    if given is not None and of_loss is not None and given != of_loss:
        raise SettingError(f"task_loss '{loss_name}' is for {of_loss}, but task_type is '{given}'; change one")
    of_metric = get_metric(metric).task_types if metric is not None else ()
    only = of_metric[0] if len(of_metric) == 1 else None
    chosen = given or of_loss or _of_classes(loss, loss_name, targets) or only or _by_targets(loss, loss_name, targets)
    return "classification" if chosen == CLASSIFICATION else "multilabel" if chosen == MULTILABEL else "regression"


def _of_classes(loss: Callable[..., Any], name: str, targets: Tensor) -> str | None:
    """Classification, or that of several labels, where PyTorch's loss is for nothing else."""
    if _is_one_of(loss, BINARY) and targets.is_floating_point() and targets.numel() != len(targets):
        if targets.dim() > 1 and targets.shape[1] == 1:
            return CLASSIFICATION
        return MULTILABEL
    return CLASSIFICATION if _is_one_of(loss, BINARY + CLASSES) else None


def _by_targets(loss: Callable[..., Any], name: str, targets: Tensor) -> str:
    if _is_one_of(loss, NUMBERS):
        return REGRESSION
    if not targets.is_floating_point():
        return CLASSIFICATION
    if bool(((targets == 0) | (targets == 1)).all()):
        raise SettingError(
            f"targets are 0 and 1 as floats, and task_loss '{name}' does not tell whether they are classes; say "
            f"task_type='{MULTILABEL if _several(targets) else CLASSIFICATION}' (outputs are logits) or "
            "task_type='regression'"
        )
    return REGRESSION


def _several(targets: Tensor) -> bool:
    return targets.dim() > 1 and targets.shape[1] > 1


def _is_one_of(loss: Callable[..., Any], known: tuple[Any, ...]) -> bool:
    while isinstance(loss, partial):
        loss = loss.func
    return any(loss is entry or (isinstance(entry, type) and isinstance(loss, entry)) for entry in known)


def fitting_metric(metric: str | Metric | Callable[..., Any] | None, task_type: TaskType, task_name: str) -> Metric:
    """The metric of a task; None means error rate, micro-F1 error (several labels) or mean squared error.

    Raises:
        UnknownNameError: There is no metric of that name.
        SettingError: The metric is for the other kind of task.

    Example:
        >>> fitting_metric(None, "regression", "mine").name
        'mse'
    """
    usual = {CLASSIFICATION: "error_rate", MULTILABEL: "micro_f1_of_labels"}.get(task_type, "mse")
    chosen = get_metric(usual if metric is None else metric)
    if task_type not in chosen.task_types:
        raise SettingError(
            f"metric '{chosen.name}' is for {chosen.task_types[0]}, but task '{task_name}' is {task_type}; "
            f"use '{usual}', or another task_loss"
        )
    return chosen


def with_own_label(function: Callable[..., Any], ignored: int) -> Callable[..., Any]:
    """A metric of the user's own that sees the label that does not count as the user has it, not as -100.

    Args:
        function: Of outputs and targets.
        ignored: The user's label; -100 leaves the function as it is.

    Example:
        >>> with_own_label(lambda outputs, targets: targets.tolist(), 255)(torch.zeros(2, 3), torch.tensor([1, -100]))
        [1, 255]
    """
    if ignored == IGNORED or not callable(function):
        return function
    own = partial(_with_own_label, function, ignored)
    update_wrapper(own, function)
    return own


def _with_own_label(function: Callable[..., Any], ignored: int, outputs: Tensor, targets: Tensor) -> Any:
    hard = not targets.is_floating_point()
    return function(outputs, torch.where(targets == IGNORED, ignored, targets) if hard else targets)


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


def require_side_by_side(
    judge: Callable[[Tensor, Tensor], Any], called: str, outputs: Tensor, targets: Tensor, task_type: TaskType
) -> None:
    """Refuse a function that compares every output with every target where their shapes differ.

    PyTorch broadcasts outputs [B, 1] and targets [B] to [B, B], which is a number too. It shows in perfect predictions,
    which are then worse beside targets as they are than beside the same in the outputs' shape.

    Args:
        judge: A task loss or a metric.
        called: What messages call it.
        outputs: Raw outputs of a network.
        targets: Their targets, as many.
        task_type: The kind of task.

    Raises:
        SettingError: It does so.

    Example:
        >>> outputs, targets = torch.zeros(3, 1), torch.tensor([1.0, 2.0, 3.0])
        >>> require_side_by_side(lambda f, y: (f[:, 0] - y).square().mean(), "mine", outputs, targets, "regression")
        >>> try:
        ...     require_side_by_side(lambda f, y: (f - y).square().mean(), "mine", outputs, targets, "regression")
        ... except SettingError as error:
        ...     print(str(error).partition(":")[0])
        mine compares every output with every target
    """
    if outputs.shape == targets.shape or outputs.numel() != targets.numel():
        return
    perfect = perfect_outputs(outputs.detach(), targets, task_type)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            given, alike = (float(judge(perfect, each)) for each in (targets, targets.reshape(outputs.shape)))
    except Exception:  # other checks tell of what fails
        return
    if given - alike > SURE * max(abs(given), abs(alike)):
        ours, theirs = (", ".join(["N", *map(str, each.shape[1:])]) for each in (outputs, targets))
        raise SettingError(
            f"{called} compares every output with every target: PyTorch broadcasts outputs of shape [{ours}] and "
            f"targets of shape [{theirs}]; give both one shape"
        )


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
