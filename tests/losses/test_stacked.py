"""Losses in lanes against the same losses one at a time."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import evomal
from evomal.expressions import OPERATORS, finished, ramped_half_and_half
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import StackedFamily, StackedLoss, stack
from evomal.losses.batched_formulas import Levels
from evomal.losses.neural import NeuralLoss
from evomal.losses.slopes import Predictions, slope, slope_at, slope_gradient
from evomal.losses.taylor import TaylorLoss

TREES = [finished(t, t, random.Random(1), 10) for t in ramped_half_and_half(random.Random(7), 40, 2, 5)]


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _loss(tree, number=0, **options):
    loss = evomal.SymbolicLoss(tree, **({"task_type": "classification"} | options)).double()
    with torch.no_grad():
        loss.weights += 0.2 * _normal(*loss.weights.shape, seed=number)
    return loss


LABELS = torch.randint(0, 4, (6,), generator=torch.Generator().manual_seed(2))
CASES = {
    "classes": ((6, 4), LABELS, {}),
    "ignored": ((6, 4), torch.where(LABELS == 2, -100, LABELS), {}),
    "soft labels": ((6, 4), torch.softmax(_normal(6, 4), 1), {}),
    "images": ((2, 4, 3, 2), torch.randint(-1, 4, (2, 3, 2)), {"ignore_index": -1}),
    "one logit": ((6, 1), (LABELS % 2).unsqueeze(1), {}),
    "one logit, flat": ((6,), (LABELS % 2).double(), {}),
    "softplus": ((6, 4), LABELS, {"output_activation": "softplus"}),
    "scaled": ((6, 4), LABELS, {"scale": 3.5}),
    "sum": ((6, 4), LABELS, {"reduction": "sum"}),
    "nothing ignored": ((6, 4), LABELS, {"ignore_index": None}),
    "regression": ((6,), _normal(6, seed=4), {"task_type": "regression"}),
    "several outputs": ((6, 3), _normal(6, 3, seed=4), {"task_type": "regression"}),
}


def _same(lanes, losses, outputs, targets, direction, rtol=1e-7, atol=1e-9):
    """Values, slopes and their derivative in φ: those of every loss of its own."""
    phi = lanes.coefficients().requires_grad_()
    values, slopes = lanes.slopes(outputs, targets, phi, create_graph=True)
    seconds = lanes.slope_gradients(slopes, direction, phi)
    for lane, loss in enumerate(losses):
        at = Predictions.of(loss, outputs[lane], targets)
        value, first = slope_at(loss, at)
        torch.testing.assert_close(value, loss(outputs[lane], targets).detach())
        edges = len(loss.weights)
        second = slope_gradient(loss, at, direction[lane])
        for ours, theirs in ((values[lane], value), (slopes[lane], first), (seconds[lane, :edges], second)):
            torch.testing.assert_close(ours.detach(), theirs, rtol=rtol, atol=atol, equal_nan=True)
        assert not seconds[lane, edges:].any()  # padding
    return seconds


@pytest.mark.parametrize("name", CASES)
def test_every_lane_is_the_loss_of_its_own(name):
    shape, targets, options = CASES[name]
    losses = [_loss(tree, number, **options) for number, tree in enumerate(TREES)]
    outputs, direction = _normal(len(losses), *shape, seed=5), _normal(len(losses), *shape, seed=6)
    seconds = _same(StackedLoss(losses), losses, outputs, targets, direction)
    assert int(seconds.any(1).sum()) > 15


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 6))
def test_random_formulas_of_any_number(seed, count, depth):
    rng = random.Random(seed)
    trees = [finished(t, t, rng, 10) for t in ramped_half_and_half(rng, count, 1, depth)]
    losses = [_loss(tree, seed + number) for number, tree in enumerate(trees)]
    outputs, direction = _normal(count, 5, 3, seed=seed), _normal(count, 5, 3, seed=seed + 1)
    _same(StackedLoss(losses), losses, outputs, LABELS[:5] % 3, direction)


def test_single_precision():
    losses = [_loss(tree, number).float() for number, tree in enumerate(TREES[:10])]
    outputs, direction = _normal(10, 6, 4, seed=5).float(), _normal(10, 6, 4, seed=6).float()
    _same(StackedLoss(losses), losses, outputs, LABELS, direction, rtol=1e-3, atol=1e-4)


def test_activations_and_scales_may_differ():
    options = [{}, {"output_activation": "softplus"}, {"scale": 0.1}, {"output_activation": "softplus", "scale": 7.0}]
    losses = [_loss(TREES[k], k, **option) for k, option in enumerate(options)]
    outputs, direction = _normal(4, 6, 4, seed=5), _normal(4, 6, 4, seed=6)
    _same(StackedLoss(losses), losses, outputs, LABELS, direction)


def test_shared_predictions_need_no_copies():
    losses = [_loss(tree, number) for number, tree in enumerate(TREES[:5])]
    lanes, outputs = StackedLoss(losses), _normal(6, 4, seed=5)
    shared = lanes.slopes(outputs.expand(5, 6, 4), LABELS, lanes.coefficients())
    alone = lanes.slopes(outputs.repeat(5, 1, 1), LABELS, lanes.coefficients())
    assert all(torch.equal(a, b) for a, b in zip(shared, alone, strict=True))


def test_a_lane_that_is_not_finite_does_not_touch_the_others():
    good = [_loss(tree, number).float() for number, tree in enumerate(TREES[:6])]
    tower = "square(square(square(square(square(square(square(mul(f, add(y, 1)))))))))"
    bad = [_loss(f"mul(y, {tower})").float(), _loss("log(mul(y, f))").float()]
    with torch.no_grad():
        bad[0].weights.fill_(1e4)
        bad[1].weights.fill_(float("nan"))
    outputs = _normal(8, 6, 4, seed=5).float()
    mixed, alone = StackedLoss([bad[0], *good, bad[1]]), StackedLoss(good)
    results = []
    for lanes, its_outputs in ((mixed, outputs), (alone, outputs[1:7])):
        phi = lanes.coefficients().requires_grad_()
        values, slopes = lanes.slopes(its_outputs, LABELS, phi, create_graph=True)
        seconds = lanes.slope_gradients(slopes, slopes.detach(), phi)
        results.append((values, slopes.detach(), seconds))
    assert not torch.isfinite(results[0][0][[0, 7]]).any()
    for ours, theirs in zip(results[0], results[1], strict=True):
        torch.testing.assert_close(ours[1:7][..., : theirs.shape[-1]], theirs)
        assert torch.isfinite(ours[1:7]).all()


def test_what_lies_below_a_sign_sends_no_gradient_even_where_it_overflows():
    tower = "f"
    for _ in range(8):
        tower = f"square({tower})"
    loss = evomal.SymbolicLoss(f"add(mul(y, f), sign({tower}))", task_type="regression")
    outputs, targets = torch.full((3,), 1e6), torch.ones(3)
    values, slopes = StackedLoss([loss]).slopes(outputs[None], targets, loss.weights.detach()[None])
    assert torch.isfinite(values).all()
    torch.testing.assert_close(slopes[0], slope(loss, outputs, targets)[1])


def test_a_formula_that_no_gradient_reaches():
    loss = _loss("sign(mul(y, f))")
    values, slopes = StackedLoss([loss]).slopes(_normal(1, 6, 4), LABELS, loss.weights[None].detach())
    assert not slopes.any()
    torch.testing.assert_close(values[0], loss(_normal(1, 6, 4)[0], LABELS).detach())


def test_the_number_of_operations_depends_on_depth_not_on_lanes():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += 1
            return function(*args, **kwargs or {})

    counts = []
    for copies in (1, 20):
        expressions = TREES[:8] * copies
        program = Levels(expressions, torch.device("cpu"))
        y, f = _normal(6, 4), _normal(len(expressions), 6, 4)
        with Counting() as counting:
            program(y, f, torch.ones(len(expressions), program.width, dtype=torch.float64))
        counts.append(counting.count)
    height = max(tree.height for tree in TREES[:8])
    assert counts[0] == counts[1] < height * (2 * len(OPERATORS) + 30)


FAMILIES = {
    "taylor": lambda k, t: TaylorLoss(_normal(8, seed=k), task_type=t, scale=1 + k),
    "neural": lambda k, t: NeuralLoss(task_type=t, hidden=6, generator=torch.Generator().manual_seed(k)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["classes", "ignored", "one logit, flat", "regression"])
def test_other_families(family, name):
    shape, targets, options = CASES[name]
    losses = [FAMILIES[family](k, options.get("task_type", "classification")).double() for k in range(3)]
    lanes, outputs = stack(losses), _normal(3, *shape, seed=5)
    assert isinstance(lanes, StackedFamily)
    direction = _normal(3, *shape, seed=6)
    phi = lanes.coefficients().requires_grad_()
    values, slopes = lanes.slopes(outputs, targets, phi, create_graph=True)
    seconds = lanes.slope_gradients(slopes, direction, phi)
    for lane, loss in enumerate(losses):
        leaf = outputs[lane].clone().requires_grad_()
        value = loss(leaf, targets)
        (first,) = torch.autograd.grad(value, leaf, create_graph=True)
        second = torch.autograd.grad((first * direction[lane]).sum(), list(loss.parameters()), materialize_grads=True)
        torch.testing.assert_close(values[lane], value.detach())
        torch.testing.assert_close(slopes[lane].detach(), first.detach())
        torch.testing.assert_close(seconds[lane], torch.cat([part.reshape(-1) for part in second]))


@pytest.mark.parametrize("make", [*FAMILIES.values(), lambda k, t: _loss(TREES[k], task_type=t)])
def test_coefficients_go_out_and_in(make):
    losses = [make(k, "classification") for k in range(3)]
    lanes = stack(losses)
    phi = lanes.coefficients()
    before = [loss.coefficients for loss in losses]
    lanes.write(2 * phi)
    for loss, numbers in zip(losses, before, strict=True):
        assert loss.coefficients == pytest.approx([2 * number for number in numbers])


def test_half_precision_and_autocast_compute_in_single():
    losses = [evomal.SymbolicLoss(tree, task_type="classification") for tree in TREES[:4]]
    lanes = StackedLoss(losses)
    outputs = _normal(4, 6, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, slopes = lanes.slopes(outputs, LABELS, lanes.coefficients())
    assert values.dtype == torch.float32
    assert slopes.dtype == torch.bfloat16
    torch.testing.assert_close(values, lanes.values(outputs.float(), LABELS, lanes.coefficients()).detach())


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([_loss(TREES[0]), _loss(TREES[1], reduction="sum")], "alike in task type, reduction"),
        ([_loss(TREES[0], reduction="none")], "without reduction"),
        ([TaylorLoss(task_type="classification"), _loss(TREES[0])], "one family and size"),
        ([NeuralLoss(task_type="classification", hidden=h) for h in (3, 4)], "one family and size"),
    ],
)
def test_what_cannot_be_stacked(losses, said):
    with pytest.raises(BatchingError, match=said):
        stack(losses)


def test_bad_labels_are_said_as_usual():
    lanes = StackedLoss([_loss(TREES[0])])
    with pytest.raises(evomal.EvomalError, match="labels from 0 to 9"):
        lanes.values(_normal(1, 2, 4), torch.tensor([0, 9]), lanes.coefficients())
