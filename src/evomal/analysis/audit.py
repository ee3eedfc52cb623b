"""An audit of a loss: what it does to predictions, in numbers that can be checked, and in words."""

from typing import Any

import torch
from torch import Tensor

from evomal.analysis.ablation import ablation
from evomal.analysis.audit_words import Audit, Known
from evomal.analysis.gradients import (
    OutputsAndTargets,
    along,
    classes_of,
    distance,
    known_losses,
    one_hot,
    response,
    typical_predictions,
)
from evomal.foundation.serialization import finite_or_none
from evomal.losses import SymbolicLoss
from evomal.losses.criterion import Criterion

EASY, HARD, WRONG = 0.95, 0.6, 0.05  # probability of the true class against one rival
SMALL_RESIDUAL, LARGE_RESIDUAL = 0.1, 3.0
REST = 0.02  # what further classes share


def audit(loss: Criterion, classes: int | None = None) -> Audit:
    """Measure what a loss does.

    Args:
        loss: Any loss, learned or not.
        classes: Of a loss for classification: how many classes there are, None for what it is for (10 where it does not
            say); for several labels each has two, itself and its absence.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> found = audit(HandcraftedLoss("cross_entropy"), classes=2)
        >>> {name: round(weight, 3) for name, weight in found.weights.items()}
        {'easy': 0.1, 'hard': 0.8, 'wrong': 1.9}
        >>> found.properness, found.bounded
        (0.0, False)

    Source:
        Ghosh et al., "Robust Loss Functions under Label Noise for Deep Neural Networks", 2017 (symmetry); Gneiting and
        Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007.
    """
    classes = 2 if loss.task_type == "multilabel" else classes_of(loss, given=classes)  # a label and its absence
    predictions = typical_predictions(loss.task_type, classes)
    gradients = response(loss, *predictions).gradients
    known = [
        Known(name, distance(gradients, response(other, *predictions).gradients))
        for name, other in known_losses(loss.task_type)
    ]
    parts = ablation(loss, predictions) if isinstance(loss, SymbolicLoss) else None
    lengths = gradients.norm(dim=1)
    measured = _of_classes(loss, classes, predictions) if loss.task_type != "regression" else _of_residuals(loss)
    return Audit(
        task_type=loss.task_type,
        lipschitz=finite_or_none(float(lengths.max())),
        nearest=tuple(sorted(known, key=lambda entry: (entry.distance, entry.name))),
        ablation=parts,
        progress=loss.progress if loss.sees_progress else None,
        **measured,
    )


def _of_classes(loss: Criterion, classes: int, predictions: OutputsAndTargets) -> dict[str, Any]:
    p = torch.arange(1, 1000, dtype=torch.float64) / 1000
    values, _ = along(loss, p, classes)
    lowest = int(values.argmin())
    # From 0.1 % on: closer to 0 there is no prediction that float32 tells apart from the ε of a logarithm.
    tolerance = 1e-6 * float(values.max() - values.min())
    far = torch.tensor([1e-6, 1e-4, 1e-2, 0.5], dtype=torch.float64)
    wrong, _ = along(loss, far, classes)
    return {
        "classes": classes,
        "weights": _margin_weights(loss, classes),
        "asymmetry": _asymmetry(loss, classes, predictions),
        "minimum": float(p[lowest]),
        "falls": bool((values[: lowest + 1].diff() <= tolerance).all()),
        "properness": _properness(loss, classes),
        "bounded": _levels_off(wrong),
        "greatest": finite_or_none(float(wrong.max())),
    }


def _levels_off(values: Tensor) -> bool:
    """Whether the last step outwards adds little; the first of the values is the furthest out."""
    last, range_ = abs(float(values[0] - values[1])), float(values.max() - values.min())
    return bool(values.isfinite().all()) and last <= 0.05 * range_


def _margin_weights(loss: Criterion, classes: int) -> dict[str, float | None]:
    p = torch.tensor([0.5, EASY, HARD, WRONG], dtype=torch.float64)
    shares = torch.full((len(p), classes), REST / max(classes - 2, 1), dtype=torch.float64)
    rest = REST if classes > 2 else 0.0
    shares[:, 0], shares[:, 1] = (1 - rest) * p, (1 - rest) * (1 - p)
    gradients = response(loss, shares.log(), one_hot(torch.zeros(len(p), dtype=torch.int64), classes)).gradients
    weights = -(gradients[:, 0] - gradients[:, 1]) / 2
    return _relative(weights, ("easy", "hard", "wrong"))


def _relative(weights: Tensor, names: tuple[str, ...]) -> dict[str, float | None]:
    """Weights over the first of them; None where that is nothing."""
    start = float(weights[0])
    return {
        name: finite_or_none(float(weight) / start) if abs(start) > 1e-12 else None
        for name, weight in zip(names, weights[1:], strict=True)
    }


def _asymmetry(loss: Criterion, classes: int, predictions: OutputsAndTargets) -> float | None:
    outputs = predictions.outputs
    labels = (one_hot(torch.full((len(outputs),), label), classes) for label in range(classes))
    values = torch.stack([response(loss, outputs, label).values for label in labels])
    spread = float(values.std()) * classes
    return finite_or_none(float(values.sum(0).std()) / spread) if spread > 0 else None


def _properness(loss: Criterion, classes: int) -> float:
    """On the line of predictions where all classes but one are alike, over true probabilities from 0.05 to 0.95."""
    p = torch.arange(1, 200, dtype=torch.float64) / 200
    shares = ((1 - p) / (classes - 1))[:, None].repeat(1, classes)
    shares[:, 0] = p
    losses = [
        response(loss, shares.log(), one_hot(torch.full((len(p),), label), classes)).values for label in range(classes)
    ]
    true = torch.arange(1, 20, dtype=torch.float64) / 20
    others = torch.stack(losses[1:]).sum(0) / (classes - 1)
    risk = true[:, None] * losses[0] + (1 - true)[:, None] * others
    return round(float((p[risk.argmin(dim=1)] - true).abs().max()), 6)


def _of_residuals(loss: Criterion) -> dict[str, Any]:
    line = torch.linspace(-4.0, 4.0, 801, dtype=torch.float64)
    values = _mean_over_targets(loss, line)
    lowest = int(values.argmin())
    tolerance = 1e-6 * float(values.max() - values.min())
    falls = (values[: lowest + 1].diff() <= tolerance).all() and (values[lowest:].diff() >= -tolerance).all()
    range_ = float(values.max() - values.min())
    ends = torch.tensor([1000.0, 100.0, 10.0, 1.0], dtype=torch.float64)
    both = [_mean_over_targets(loss, sign * ends) for sign in (1.0, -1.0)]
    probe = torch.tensor([1.0, SMALL_RESIDUAL, LARGE_RESIDUAL], dtype=torch.float64)
    y = torch.zeros_like(probe)[:, None]
    slopes = [response(loss, sign * probe[:, None], y).gradients[:, 0].abs() for sign in (1.0, -1.0)]
    return {
        "classes": None,
        "weights": _relative((slopes[0] + slopes[1]) / 2, ("small", "large")),
        "asymmetry": finite_or_none(float((values - values.flip(0)).abs().max()) / range_) if range_ > 0 else None,
        "minimum": round(float(line[lowest]), 6) + 0.0,  # no minus zero
        "falls": bool(falls),
        "properness": None,
        "bounded": all(_levels_off(side) for side in both),
        "greatest": finite_or_none(max(float(side.max()) for side in both)),
    }


def _mean_over_targets(loss: Criterion, residuals: Tensor) -> Tensor:
    values = []
    for target in (-1.0, 0.0, 1.0):
        y = torch.full_like(residuals, target)[:, None]
        values.append(response(loss, y + residuals[:, None], y).values)
    return torch.stack(values).mean(0)
