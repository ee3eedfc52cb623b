"""A formula made short has the value that it had, and says it in fewer numbers."""

import random

import numpy as np
import pytest
import torch

from evomal import SymbolicLoss
from evomal.expressions import evaluate, grow, parse, repair, to_formula, to_short
from evomal.foundation.errors import ExpressionError
from expressions.test_formula import _numpy_value


def _values(tree, weights, y, f, **style):
    """As NumPy reads the short form, and as Torch computes the expression."""
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (y, f)]
    return _numpy_value(to_short(tree, weights, digits=17, ascii=True, **style), y, f), evaluate(
        tree, *numbers, weights
    ).item()


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_numpy_reads_the_short_formula_as_torch_computes_the_long_one(weighted, classes):
    rng = random.Random(9)
    compared = 0
    for _ in range(2000):
        tree = repair(grow(rng, 1, 6), rng)
        weights = [rng.gauss(0.5, 1.5) for _ in range(tree.edges)] if weighted else None
        if "sign" in str(tree) and ("log" in str(tree) or "sqrt" in str(tree)):
            continue  # sign(log(1 + ε)) is 1: a jump where an ε that was left out tells
        y = rng.choice([0.0, 1.0, 0.3]) if classes else rng.uniform(-1.5, 1.5)
        f = rng.uniform(0.05, 0.95) if classes else rng.uniform(-1.5, 1.5)
        with np.errstate(all="ignore"):
            short, expected = _values(tree, weights, y, f, classes=classes)
        if abs(expected) < 13:  # of next to nothing a logarithm is all ε: log(log(1 + ε) + ε) is -15.4
            compared += 1
            assert short == pytest.approx(expected, rel=1e-4, abs=1e-3), (str(tree), weights, y, f)
    assert compared > 1200


def test_it_is_never_longer_than_what_is_computed():
    rng = random.Random(3)
    lengths = []
    for _ in range(200):
        tree = repair(grow(rng, 3, 8), rng)
        weights = [rng.gauss(0.5, 1.5) for _ in range(tree.edges)]
        lengths.append((len(to_short(tree, weights)), len(to_formula(tree, weights, digits=4))))
    assert all(short <= long + 2 for short, long in lengths)  # a bracket
    assert sum(short for short, _ in lengths) < 0.7 * sum(long for _, long in lengths)


@pytest.mark.parametrize(
    ("text", "weights", "classes", "expected"),
    [
        ("mul(-1, mul(y, log(f)))", None, True, "-y·log(f)"),
        ("mul(-1, mul(y, log(f)))", [2.0, 3.0, 1.0, 0.5, 0.01], True, "-3·y·log(0.01·f)"),
        # A target may be 0, and so may a prediction that is no probability: ε counts there.
        ("log(mul(y, f))", None, True, "log(y·f + ε)"),
        ("log(f)", [-2.0], False, "log(2·abs(f) + ε)"),
        ("sqrt(square(sub(y, f)))", None, False, "√((y - f)² + ε)"),
        ("sqrt(square(f))", [4.0, 1.0], True, "2·f"),
        ("square(sub(y, f))", [3.0, 2.0, 1.0], False, "36·(y - 0.5·f)²"),
        ("sub(sub(y, f), sub(f, y))", None, False, "2·y - 2·f"),
        ("sub(f, f)", None, False, "0"),
        ("mul(y, mul(y, square(square(y))))", None, False, "y⁶"),
        ("abs(mul(y, square(f)))", [-2.0, 1.0, 1.0, 1.0], False, "2·f²·abs(y)"),
        ("div(y, f)", [2.0, 3.0], False, "2·y/√(1 + 9·f²)"),
        ("square(div(y, f))", None, False, "y²/(1 + f²)"),
        ("div(y, 1)", [2.0, 0.0], False, "2·y"),
        ("max(f, mul(f, y))", [2.0, 3.0, 1.0, 1.0], False, "2·max(f, 1.5·f·y)"),
        ("min(y, f)", [-2.0, 3.0], False, "2·min(-y, 1.5·f)"),
        ("sign(sign(y))", [-2.0, 3.0], False, "-sign(y)"),
        ("sign(mul(f, f))", [-2.0, 3.0, 1.0], True, "-1"),
        ("tanh(add(1, 1))", [1.0, 2.0, 0.5], False, "0.9866"),
        ("add(1, mul(f, -1))", [1.0, 2.0, 1.0, 1.0], False, "1 - 2·f"),
    ],
)
def test_short_formulas(text, weights, classes, expected):
    assert to_short(parse(text), weights, classes=classes) == expected


def test_a_scale_is_multiplied_in_and_stays_outside_of_an_activation():
    options = {"weights": [2.0, 0.5, 1.0], "task_type": "regression", "scale": 3.0}
    assert SymbolicLoss("square(sub(y, f))", **options).short() == "3·(y - 2·f)²"
    soft = SymbolicLoss("square(sub(y, f))", output_activation="softplus", **options)
    assert soft.short() == "3·(softplus((y - 2·f)²))"


def test_numbers_that_overflow_or_vanish_are_kept_where_they_are():
    tree = parse("add(mul(y, f), f)")
    assert to_short(tree, [1e-200, 1e-200, 1e-200, 1e200]) == "1e+200·f"
    assert to_short(parse("max(y, f)"), [0.0, 2.0]) == "max(0·y, 2·f)"
    assert to_short(tree, [0.0, 1.0, 1.0, 0.0]) == "0"


def test_weights_must_fit():
    with pytest.raises(ExpressionError, match="weights"):
        to_short(parse("abs(f)"), [1.0, 2.0])


def test_an_operator_of_a_user_stays_a_function_of_its_arguments():
    from evomal.expressions import forget_operator, register_operator

    register_operator("cube", 1, lambda x: x**3)
    try:
        assert to_short(parse("mul(1, cube(f))"), [2.0, 3.0, 0.5], classes=True) == "6·cube(0.5·f)"
    finally:
        forget_operator("cube")
