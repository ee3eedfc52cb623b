"""The polynomial of D12 against SymPy, and the sign of its slope against autograd."""

import json
import math

import pytest
import sympy
import torch

import evomal
from evomal.foundation.errors import SettingError
from evomal.losses.taylor import TaylorLoss, rises_at_uniform

X, Y = sympy.symbols("x y")
THETA = sympy.symbols("t0:8")


def _literal():
    """D12 as it is written, with x the target and y the prediction."""
    t0, t1, t2, t3, t4, t5, t6, t7 = THETA
    half = sympy.Rational(1, 2)
    linear = t2 * (Y - t1) + half * t3 * (Y - t1) ** 2 + sympy.Rational(1, 6) * t4 * (Y - t1) ** 3
    mixed = t5 * (X - t0) * (Y - t1) + half * t6 * (X - t0) * (Y - t1) ** 2 + half * t7 * (X - t0) ** 2 * (Y - t1)
    return linear + mixed


def _draws(count, seed=0):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize(("task_type", "sign"), [("classification", -1), ("regression", 1)])
def test_values_are_those_of_the_polynomial_expanded_by_sympy(task_type, sign):
    polynomial = sympy.lambdify((X, Y, *THETA), sympy.expand(_literal()))
    y, f = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for parameters in _draws(50):
        loss = TaylorLoss(parameters, task_type=task_type).double()
        expected = sign * polynomial(y, f, *loss.weights.tolist())
        torch.testing.assert_close(loss.per_class(y, f), expected, rtol=1e-9, atol=1e-9)


def test_a_loss_is_minus_the_sum_over_classes_and_the_mean_over_the_batch():
    loss = TaylorLoss([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], task_type="classification")
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([1, 0])
    polynomial = _literal().subs(dict(zip(THETA, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), strict=True)))
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        exponentials = [math.exp(z) for z in row]
        for place, exponential in enumerate(exponentials):
            total += polynomial.subs({X: int(place == label), Y: exponential / sum(exponentials)})
    assert loss(logits, labels).item() == pytest.approx(-float(total) / 2, rel=1e-6)


def test_with_the_derivatives_of_a_function_it_is_the_third_order_expansion():
    # Along a line from (θ0, θ1), up to the terms in x alone, SymPy's series of the function must come out.
    t, at = sympy.Symbol("t"), {X: sympy.Rational(3, 10), Y: sympy.Rational(2, 5)}
    function = sympy.exp(X * Y) * sympy.cos(Y) + sympy.log(1 + X + Y**2)
    orders = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1)]  # of θ2 … θ7, in x and in y
    theta = [float(sympy.diff(function, X, i, Y, j).subs(at)) if i else float(sympy.diff(function, Y, j).subs(at))
             for i, j in orders]  # fmt: skip
    loss = TaylorLoss([0.3, 0.4, *theta], task_type="regression").double()
    for a, b in ((0.7, -0.2), (-0.5, 1.1), (1.0, 0.3)):
        x = at[X] + t * sympy.Rational(a).limit_denominator(10)
        whole = function.subs({X: x, Y: at[Y] + t * sympy.Rational(b).limit_denominator(10)}, simultaneous=True)
        series = sympy.series(whole - function.subs({X: x, Y: at[Y]}, simultaneous=True), t, 0, 4).removeO()
        for step in (0.1, 0.5, 1.0):
            y, f = (torch.tensor([[start + step * move]], dtype=torch.float64) for start, move in ((0.3, a), (0.4, b)))
            assert loss.per_class(y, f).item() == pytest.approx(float(series.subs(t, step)), rel=1e-5, abs=1e-6)


def _slope(parameters, task_type, outputs, targets):
    leaf = outputs.clone().requires_grad_()
    loss = TaylorLoss(parameters, task_type=task_type).double()
    value = loss(leaf, targets)
    return loss, value.item(), torch.autograd.grad(value, leaf, create_graph=True)[0]


def _batch(task_type):
    draw = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(2, 6, 3, generator=draw, dtype=torch.float64)
    return outputs, targets.argmax(1) if task_type == "classification" else targets


@pytest.mark.parametrize(
    ("task_type", "number"),
    [("regression", number) for number in range(8)] + [("classification", number) for number in (0, 1, 3, 4, 5, 6, 7)],
)
def test_each_parameter_changes_what_a_network_learns(task_type, number):
    parameters = _draws(1)[0]
    loss, value, slope = _slope(parameters, task_type, *_batch(task_type))
    (effect,) = torch.autograd.grad((slope * torch.linspace(0, 1, 18).reshape(6, 3) ** 2).sum(), loss.weights)
    assert effect[number].abs() > 1e-5
    parameters[number] += 0.5
    _, other_value, other = _slope(parameters, task_type, *_batch(task_type))
    assert (other - slope).abs().max() > 1e-5
    assert abs(other_value - value) > 1e-5


def test_as_probabilities_sum_to_one_the_linear_term_has_no_slope():
    parameters = _draws(1)[0]
    _, value, slope = _slope(parameters, "classification", *_batch("classification"))
    parameters[2] += 0.5
    _, other_value, other = _slope(parameters, "classification", *_batch("classification"))
    torch.testing.assert_close(other, slope)
    assert other_value - value == pytest.approx(-0.5 * (1 - 3 * parameters[1]), rel=1e-4)


def test_whether_the_true_class_rises_at_uniform_is_what_autograd_says():
    draw = torch.Generator().manual_seed(5)
    certain = rising = 0
    for number, parameters in enumerate(_draws(800, seed=2)):
        classes, label = 2 + number % 11, int(torch.randint(0, 2, (), generator=draw))
        logits = torch.full((1, classes), 0.3, dtype=torch.float64, requires_grad=True)
        loss = TaylorLoss(parameters, task_type="classification").double()
        (slope,) = torch.autograd.grad(loss(logits, torch.tensor([label])), logits)
        rise = -slope[0, label].item()
        if abs(rise) > 1e-9:
            certain += 1
            rising += rise > 0
            assert rises_at_uniform(loss.coefficients, classes) == (rise > 0), (parameters, classes)
            assert all((-other < 0) == (rise > 0) for i, other in enumerate(slope[0].tolist()) if i != label)
    assert certain > 795
    assert 200 < rising < 600


def test_a_polynomial_without_a_slope_at_uniform_does_not_rise():
    assert not rises_at_uniform([0.0] * 8, 10)
    assert not rises_at_uniform([0.5, 0.1, 1, 1, 1, 0, 0, 1], 10)
    assert rises_at_uniform([0, 0, 0, 0, 0, 1e-6, 0, 0], 10)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ([0] * 8, "0"),
        ([0.5, 0.3, 0, 0, 0, 0, 0, 0], "0"),
        ([0, 0, 1, 0, 0, 0, 0, 0], "f"),
        ([0, 0.3, 0, 2, 0, 0, 0, 0], "(f - 0.3)²"),
        ([0, -0.3, 0, 0, 6, 0, 0, 0], "(f + 0.3)³"),
        ([0, 0, 0, 0, 0, -1, 0, 0], "-y·f"),
        ([1, 0.25, -0.5, 0, 0, 0, 3, -4], "-0.5·(f - 0.25) + 1.5·(y - 1)·(f - 0.25)² - 2·(y - 1)²·(f - 0.25)"),
    ],
)
def test_the_formula_reads_as_the_polynomial(parameters, text):
    assert TaylorLoss(parameters, task_type="regression").formula(digits=4) == text


@pytest.mark.parametrize("digits", [None, 12])
@pytest.mark.parametrize("task_type", ["classification", "regression"])
def test_the_printed_formula_computes_what_the_loss_computes(task_type, digits):
    python = str.maketrans({"·": "*", "²": "**2", "³": "**3"})
    for number, parameters in enumerate(_draws(40, seed=4)):
        scale = 1.0 if number % 2 else 0.37
        given = [theta if (number >> place) % 3 else 0.0 for place, theta in enumerate(parameters)]
        loss = TaylorLoss(given, task_type=task_type, scale=scale).double()
        computed = eval(loss.formula(digits).translate(python), {"y": 0.7, "f": -0.4})
        y, f = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[-0.4]], dtype=torch.float64)
        assert computed == pytest.approx(scale * loss.per_class(y, f).item(), rel=1e-9, abs=1e-11)


def test_latex_and_signs_of_a_classification_loss():
    loss = TaylorLoss([1, 0.5, 1, 0, 0, -1e-6, 0, 0], task_type="classification", scale=2)
    assert loss.formula(digits=3) == "2·(-(f - 0.5) + 1e-06·(y - 1)·(f - 0.5))"
    centred = r"\left(f_\theta(x) - 0.5\right)"
    assert loss.latex() == rf"2 \left(-{centred} + 1 \cdot 10^{{-6}}\,\left(y - 1\right)\,{centred}\right)"


def test_a_small_scale_is_a_power_of_ten_in_latex():
    loss = TaylorLoss([0, 0, 0, 2, 0, 0, 0, 0], task_type="regression", scale=1e-5)
    assert loss.formula(digits=3) == "1e-05·(f²)"
    assert loss.latex() == r"1 \cdot 10^{-5} \left(f_\theta(x)^2\right)"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([1.0] * 7, "a Taylor loss has 8 weights but those given have shape [7]; give a flat list"),
        ([[1.0] * 4] * 2, "a Taylor loss has 8 weights but those given have shape [2, 4]; give a flat list"),
        (1.0, "a Taylor loss has 8 weights but those given have shape []; give a flat list"),
        ([0.0] * 7 + [math.nan], "the weights of a Taylor loss hold a number that is not finite; give finite ones"),
        ([0.0] * 7 + [1e39], "the weights of a Taylor loss hold a number that is not finite; give finite ones"),
        (["a"] * 8, "the weights of a Taylor loss are not numbers; give a flat list of 8"),
    ],
)
def test_odd_parameters_are_refused(parameters, message):
    with pytest.raises(SettingError) as caught:
        TaylorLoss(parameters, task_type="regression")
    assert str(caught.value) == message


def test_parameters_are_a_copy_and_none_means_zeros():
    given = torch.ones(8)
    loss = evomal.TaylorLoss(given, task_type="classification")
    given.zero_()
    assert loss.coefficients == [1.0] * 8
    assert (loss.weights.shape, loss.weights.dtype, loss.weights.requires_grad) == ((8,), torch.float32, True)
    assert TaylorLoss(task_type="regression").coefficients == [0.0] * 8
    loss.coefficients = range(8)
    assert loss.weights.tolist() == list(range(8))


def test_the_file(tmp_path):
    loss = TaylorLoss([0, 1, 2, 3, 4, 5, 6, 0.1], task_type="classification", scale=0.5)
    loss.info = {"seed": 4}
    loss.save(tmp_path / "loss.json")
    document = json.loads((tmp_path / "loss.json").read_text())
    assert document == {
        **{"format": "evomal-loss", "version": 1, "family": "taylor", "task_type": "classification"},
        **{"weights": loss.weights.tolist(), "scale": 0.5, "seed": 4},
    }
    other = evomal.load_loss(tmp_path / "loss.json")
    assert isinstance(other, TaylorLoss)
    assert torch.equal(other.weights, loss.weights)
    assert (other.scale, other.info, other.weights.requires_grad) == (0.5, {"seed": 4}, False)
