"""Performance metrics L_P: anything that is minimised, differentiable or not (Section 3.1)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from evomal.foundation.errors import DataError, EvomalError, SettingError, one_line, unknown_name
from evomal.losses.criterion import IGNORED
from evomal.tasks.predicted import area_under_curve, as_rows, classes_of, confusion, exact_dtype

CLASSIFICATION = "classification"
REGRESSION = "regression"
MULTILABEL = "multilabel"


@dataclass(frozen=True)
class Metric:
    """A performance metric, minimised.

    Args:
        name: What it is called in tables.
        function: ``(outputs, targets) -> 0-dim tensor``, on raw outputs (logits).
        task_types: Kinds of task that it can judge.

    Example:
        >>> get_metric("error_rate")(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).item()
        0.5
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    task_types: tuple[str, ...]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The metric of outputs against targets, without a gradient; outputs that are not finite give inf."""
        with torch.no_grad():
            if not bool(torch.isfinite(outputs).all()):
                return torch.tensor(math.inf, device=outputs.device)
            return self.function(outputs, targets)


def error_rate(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of instances whose predicted class is wrong.

    Args:
        outputs: Logits [N, C, ...], or one logit per instance as [N] or [N, 1, ...] (class 1 above 0).
        targets: Class labels [N, ...]; soft labels in the outputs' shape count by their greatest entry;
            labels of -100 are left out.

    Returns:
        A 0-dim tensor in [0, 1].

    Example:
        >>> error_rate(torch.tensor([1.5, -2.0, 0.3]), torch.tensor([1, 1, 1]))
        tensor(0.3333, dtype=torch.float64)
    """
    predicted, labels = classes_of(outputs, targets)
    kept = labels != IGNORED
    wrong = (predicted != labels) & kept
    exact = exact_dtype(outputs)
    return wrong.sum().to(exact) / kept.sum().to(exact)


def balanced_error_rate(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean recall over the classes present in the targets, shapes as in `error_rate`.

    Example:
        >>> balanced_error_rate(torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([1, 1, 1, 0]))
        tensor(0.5000, dtype=torch.float64)
    """
    counts = confusion(outputs, targets)
    members = counts.sum(1)
    recall = counts.diagonal()[members > 0] / members[members > 0]
    return 1 - recall.mean()


def macro_f1(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean F1 score over the classes in targets or predictions; shapes as in `error_rate`.

    Example:
        >>> macro_f1(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([1, 1, 0]))
        tensor(0., dtype=torch.float64)
    """
    counts = confusion(outputs, targets)
    present = counts.sum(0) + counts.sum(1)
    f1 = 2 * counts.diagonal()[present > 0] / present[present > 0]
    return 1 - f1.mean()


def one_minus_auc(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the area under the ROC curve; shapes as in `error_rate`.

    Of more than two classes it is the mean over those that some instances have and others have not, each against all
    the rest. NaN where there is no such class.

    Example:
        >>> one_minus_auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.1250, dtype=torch.float64)
    """
    labels = classes_of(outputs, targets)[1].reshape(-1)
    rows = as_rows(outputs).movedim(1, -1).flatten(0, -2)[kept := labels != IGNORED]
    labels = labels[kept]
    if rows.shape[1] > 2:
        scores = rows.to(exact_dtype(outputs)).log_softmax(1)
    else:
        scores = rows if rows.shape[1] == 1 else rows[:, 1:] - rows[:, :1]
    first = int(scores.shape[1] == 1)  # two classes have one curve
    areas = [
        area_under_curve(score, positive)
        for score, positive in ((scores[:, number], labels == number + first) for number in range(scores.shape[1]))
        if bool(positive.any()) and not bool(positive.all())
    ]
    return 1 - torch.stack(areas).mean() if areas else torch.full((), math.nan, dtype=exact_dtype(outputs))


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over all instances and outputs; [N] means [N, 1].

    Example:
        >>> mse(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    return (outputs - _like(outputs, targets)).square().mean()


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error over all instances and outputs; [N] means [N, 1].

    Example:
        >>> mae(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))
        tensor(1.)
    """
    return (outputs - _like(outputs, targets)).abs().mean()


def micro_f1_of_labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the F1 score over all instances and labels together; a label is predicted where its logit is above 0.

    Args:
        outputs: Logits [N, C, ...].
        targets: 0 and 1 in the same shape; what is -100 is left out. 0 where nothing is true and nothing predicted.

    Example:
        >>> micro_f1_of_labels(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.2000, dtype=torch.float64)
    """
    hits, wrong = (counts.sum() for counts in _label_counts(outputs, targets))
    return 1 - _f1(hits, wrong).reshape(())


def macro_f1_of_labels(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean F1 score over the labels in targets or predictions; shapes as in `micro_f1_of_labels`.

    Example:
        >>> macro_f1_of_labels(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.1667, dtype=torch.float64)
    """
    hits, wrong = _label_counts(outputs, targets)
    there = hits + wrong > 0
    return 1 - _f1(hits[there], wrong[there]).mean() if bool(there.any()) else torch.zeros((), dtype=hits.dtype)


def _label_counts(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each label [C] how often it is rightly predicted, and how often wrongly or wrongly not."""
    if outputs.shape != targets.shape:
        raise DataError(f"outputs {list(outputs.shape)} do not fit targets {list(targets.shape)}; give both one shape")
    scores, y = (as_rows(each).movedim(1, -1).reshape(-1, as_rows(each).shape[1]) for each in (outputs, targets))
    predicted, true, kept = scores > 0, y > 0.5, y != IGNORED
    exact = exact_dtype(outputs)
    hits = (predicted & true & kept).sum(0).to(exact)
    return hits, ((predicted != true) & kept).sum(0).to(exact)


def _f1(hits: Tensor, wrong: Tensor) -> Tensor:
    """2·hits / (2·hits + wrong); 1 where there is nothing of either."""
    return torch.where(hits + wrong > 0, 2 * hits / (2 * hits + wrong).clamp(min=1), 1.0)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "error_rate": Metric("error_rate", error_rate, (CLASSIFICATION,)),
        "balanced_error_rate": Metric("balanced_error_rate", balanced_error_rate, (CLASSIFICATION,)),
        "macro_f1": Metric("macro_f1", macro_f1, (CLASSIFICATION,)),
        "one_minus_auc": Metric("one_minus_auc", one_minus_auc, (CLASSIFICATION,)),
        "micro_f1_of_labels": Metric("micro_f1_of_labels", micro_f1_of_labels, (MULTILABEL,)),
        "macro_f1_of_labels": Metric("macro_f1_of_labels", macro_f1_of_labels, (MULTILABEL,)),
        "mse": Metric("mse", mse, (REGRESSION,)),
        "mae": Metric("mae", mae, (REGRESSION,)),
    }
)


def get_metric(metric: str | Metric | Callable[..., Any]) -> Metric:
    """A metric from its name, or from a user's function of (outputs, targets) that is to be minimised.

    Args:
        metric: A name in `METRICS`, a `Metric`, or a function that returns a number or a 0-dim tensor.

    Returns:
        The metric. One made from a function refuses NaN and minus infinity: nothing can be minimised by them.

    Raises:
        UnknownNameError: There is no metric of that name.
        SettingError: `metric` is neither a name nor callable.

    Example:
        >>> def worst(outputs, targets):
        ...     return (outputs - targets).abs().max()
        >>> get_metric(worst)(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]))
        tensor(3.)
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        return METRICS[metric]
    if not callable(metric):
        raise SettingError(f"metric is {metric!r}; give a name or a function of (outputs, targets)")
    name = str(getattr(metric, "__name__", type(metric).__name__))
    return Metric(name, partial(_checked, metric, name), (CLASSIFICATION, REGRESSION, MULTILABEL))


def _checked(function: Callable[..., Any], name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    on = f"on outputs {list(outputs.shape)} and targets {list(targets.shape)}"
    try:
        found = function(outputs, targets)
    except EvomalError:
        raise
    except Exception as error:
        raise SettingError(f"metric '{name}' {on} fails: {one_line(error)}") from error
    try:
        value = torch.as_tensor(found, device=outputs.device)
    except (TypeError, ValueError, RuntimeError):
        raise SettingError(f"metric '{name}' {on} gives a {type(found).__name__}; return one number") from None
    if value.numel() != 1:
        raise SettingError(
            f"metric '{name}' gives a value of shape {list(value.shape)} on outputs {list(outputs.shape)}; "
            "return one number"
        )
    number = float(value)
    # Plus infinity is the worst possible value, which a search can live with.
    if math.isnan(number) or number == -math.inf:
        raise SettingError(
            f"metric '{name}' gives {number} on finite outputs {list(outputs.shape)}{_alone(targets)}; return a finite "
            "number that is smaller when the outputs are better"
        )
    return value.reshape(())


def _alone(targets: Tensor) -> str:
    """A remark on targets that are all the same, for which many metrics are not defined."""
    first = targets.reshape(-1)[:1]
    return f" and targets that are all {first.item():g}" if first.numel() and bool((targets == first).all()) else ""


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    # Without this [N, 1] against [N] would broadcast to [N, N].
    if as_rows(outputs).shape != as_rows(targets).shape:
        raise DataError(f"outputs {list(outputs.shape)} do not fit targets {list(targets.shape)}; give both one shape")
    return targets.reshape(outputs.shape)
