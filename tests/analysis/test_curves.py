"""Curves against closed forms: the slopes of cross-entropy, focal loss and squared error are known."""

import math

import pytest
import torch

from evomal.analysis import class_curve, residual_curve
from evomal.analysis.gradients import distance, response, typical_predictions
from evomal.losses import HandcraftedLoss, SymbolicLoss


@pytest.mark.parametrize("classes", [2, 10])
def test_cross_entropy_against_the_true_class(classes):
    curve = class_curve(HandcraftedLoss("cross_entropy"), classes)
    for p, value, slope in zip(curve.x, curve.loss, curve.gradient, strict=True):
        assert value == pytest.approx(-math.log(p))
        assert slope == pytest.approx(p - 1)
    assert (curve.height, curve.slope) == pytest.approx((math.log(classes), 1 - 1 / classes))


def test_cross_entropy_against_a_wrong_class():
    curve = class_curve(HandcraftedLoss("cross_entropy"), 4, "other")
    for p, value, slope in zip(curve.x, curve.loss, curve.gradient, strict=True):
        assert value == pytest.approx(-math.log((1 - p) / 3))
        assert slope == pytest.approx(p)


def test_a_formula_per_class():
    loss = SymbolicLoss("square(sub(y, f))", task_type="classification")
    curve = class_curve(loss, 2)
    assert curve.loss == pytest.approx([2 * (1 - p) ** 2 for p in curve.x])
    assert curve.gradient == pytest.approx([-4 * p * (1 - p) ** 2 for p in curve.x])


def test_normalised_curves_meet_at_the_start():
    plain = class_curve(HandcraftedLoss("cross_entropy"), 10).normalised()
    scaled = class_curve(SymbolicLoss("abs(log(mul(y, f)))", task_type="classification", scale=7.5), 10).normalised()
    # But for the ε of the logarithm they are one loss, times 7.5 and with another height.
    assert scaled.loss == pytest.approx(plain.loss, abs=1e-4)
    assert scaled.gradient == pytest.approx(plain.gradient, abs=1e-4)


def test_squared_and_absolute_error_against_the_residual():
    squared, absolute = (residual_curve(HandcraftedLoss(name)) for name in ("mse", "mae"))
    assert squared.loss == pytest.approx([r * r for r in squared.x])
    assert squared.gradient == pytest.approx([2 * r for r in squared.x])
    assert absolute.gradient == pytest.approx([math.copysign(1, r) if r else 0 for r in absolute.x])
    assert (squared.slope, squared.height) == (2, 0)


def test_a_loss_without_a_gradient_has_a_flat_curve():
    loss = SymbolicLoss("mul(y, sign(f))", task_type="classification")
    curve = class_curve(loss)
    assert set(curve.gradient) == {0.0}
    assert curve.slope == 0
    assert curve.normalised().slope == 0


def test_a_residual_curve_can_be_of_another_target():
    loss = SymbolicLoss("mul(y, f)", task_type="regression")
    assert residual_curve(loss, target=2.0).gradient == pytest.approx([2.0] * 199)


def test_predictions_are_the_same_each_time_and_of_all_kinds():
    one, two = (typical_predictions("classification", 5) for _ in range(2))
    assert torch.equal(one.outputs, two.outputs)
    right = one.outputs.softmax(1)[one.targets.bool()]
    assert right.min() < 0.01
    assert right.max() > 0.95


def test_distance_is_free_of_scale():
    predictions = typical_predictions("regression", 1)
    one, three = (SymbolicLoss("square(sub(y, f))", task_type="regression", scale=scale) for scale in (1.0, 3.0))
    gradients = [response(loss, *predictions).gradients for loss in (one, three, HandcraftedLoss("mae"))]
    assert distance(gradients[0], gradients[1]) < 1e-6
    # √(1 - cos²) with cos = Σ|r| / √(n Σr²)
    residuals = (predictions.outputs - predictions.targets).abs()
    cosine = residuals.sum() / ((residuals != 0).sum() * (residuals**2).sum()).sqrt()
    assert distance(gradients[0], gradients[2]) == pytest.approx(float((1 - cosine**2).sqrt()))
