"""Derivatives from forward-mode code of formulas, against autograd's first and second derivatives."""

import random

import pytest
import torch
from torch import nn
from torch.autograd import grad

import evomal
from evomal.expressions import finished, ramped_half_and_half
from evomal.losses.compiled import compile_dual, compile_expression
from evomal.losses.slopes import Predictions, slope, slope_at, slope_gradient

TREES = [finished(t, t, random.Random(1), 10) for t in ramped_half_and_half(random.Random(7), 60, 2, 5)]


def _loss(expression, task_type="classification", **options):
    loss = evomal.SymbolicLoss(expression, task_type=task_type, **options).double()
    with torch.no_grad():
        loss.weights += 0.2 * torch.randn(loss.weights.shape, generator=torch.Generator().manual_seed(3))
    return loss


def _by_autograd(loss, outputs, targets, direction):
    leaf = outputs.clone().requires_grad_()
    value = loss(leaf, targets)
    if not value.requires_grad:
        return value, torch.zeros_like(leaf), torch.zeros_like(loss.weights)
    (first,) = grad(value, leaf, create_graph=True, materialize_grads=True)
    if not first.requires_grad:
        return value, first, torch.zeros_like(loss.weights)
    (second,) = grad((first * direction).sum(), loss.weights, materialize_grads=True)
    return value, first, second


def _case(name):
    draw = torch.Generator().manual_seed(11)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    labels = torch.randint(0, 4, (6,), generator=draw)
    return {
        "classes": (normal(6, 4), labels, {}),
        "ignored": (normal(6, 4), torch.where(labels == 2, -100, labels), {}),
        "soft": (normal(6, 4), torch.softmax(normal(6, 4), 1), {}),
        "images": (normal(2, 4, 3, 2), torch.randint(-1, 4, (2, 3, 2), generator=draw), {"ignore_index": -1}),
        "one logit": (normal(6, 1), labels % 2, {}),
        "one logit, flat": (normal(6), (labels % 2).double(), {}),
        "softplus": (normal(6, 4), labels, {"output_activation": "softplus"}),
        "sum": (normal(6, 4), labels, {"reduction": "sum"}),
        "regression": (normal(6), normal(6), {"task_type": "regression"}),
        "several outputs": (normal(6, 3), normal(6, 3), {"task_type": "regression", "output_activation": "softplus"}),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "classes", "ignored", "soft", "images", "one logit", "one logit, flat", "softplus", "sum", "regression",
        "several outputs",
    ],
)  # fmt: skip
def test_value_slope_and_its_gradient_for_random_formulas(name):
    outputs, targets, options = _case(name)
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moving = 0
    for tree in TREES:
        loss = _loss(tree, **({"task_type": "classification"} | options))
        at = Predictions.of(loss, outputs, targets)
        value, first = slope_at(loss, at)
        theirs = _by_autograd(loss, outputs, targets, direction)
        torch.testing.assert_close(value, theirs[0].detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(first, theirs[1].detach(), rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(slope_gradient(loss, at, direction), theirs[2], rtol=1e-7, atol=1e-9)
        moving += bool(theirs[2].any())
    assert moving > 25


def test_tangents_are_those_of_torchs_forward_mode():
    draw = torch.Generator().manual_seed(2)
    y, f, u = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(3))
    for tree in TREES:
        phi = 1 + 0.1 * torch.randn(tree.edges, generator=draw, dtype=torch.float64)
        plain = compile_expression(tree)
        values, theirs = torch.func.jvp(lambda f, g=plain, p=phi: g(y, f, p), (f,), (u,))
        ours, tangent = compile_dual(tree)(y, f, phi, u)
        torch.testing.assert_close(ours, values, rtol=0, atol=0)
        torch.testing.assert_close(torch.zeros_like(f) if tangent is None else tangent.expand_as(f), theirs)


@pytest.mark.parametrize("operator", ["min", "max"])
def test_where_two_arguments_are_equal_each_counts_half_as_in_autograd(operator):
    loss = evomal.SymbolicLoss(f"{operator}(y, f)", task_type="regression").double()
    outputs, targets = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([1.0, 1.0, 1.0]).double()
    ours, theirs = slope(loss, outputs, targets)[1], _by_autograd(loss, outputs, targets, outputs)[1]
    assert torch.equal(ours, theirs.detach())
    assert ours[0] == 0.5 / 3


def test_kinks_at_zero_have_the_slope_that_autograd_gives():
    outputs, targets = torch.zeros(3).double(), torch.zeros(3).double()
    for formula in ("abs(sub(y, f))", "sqrt(sub(y, f))", "log(mul(y, f))", "add(y, sign(f))"):
        loss = evomal.SymbolicLoss(formula, task_type="regression").double()
        ours, theirs = slope(loss, outputs, targets)[1], _by_autograd(loss, outputs, targets, outputs)[1]
        assert torch.equal(ours, theirs.detach())


def test_half_precision_outputs_get_a_slope_of_their_own_type():
    loss = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
    outputs = torch.randn(4, 3).bfloat16()
    value, first = slope(loss, outputs, torch.tensor([0, 1, 2, 0]))
    assert (value.dtype, first.dtype, first.shape) == (torch.float32, torch.bfloat16, outputs.shape)


def test_other_losses_go_through_autograd():
    outputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    value, first = slope(nn.CrossEntropyLoss(), outputs, targets)
    expected = (torch.softmax(outputs, 1) - nn.functional.one_hot(targets, 3)) / 4
    torch.testing.assert_close(first, expected)
    assert not value.requires_grad
    assert not slope(lambda outputs, targets: torch.tensor(1.0), outputs, targets)[1].any()
