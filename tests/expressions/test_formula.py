"""What is printed is what is computed."""

import random

import numpy as np
import pytest
import torch

from evomal.expressions import evaluate, grow, parse, repair, to_formula, to_latex
from evomal.expressions.formula import scaled, scaled_latex
from evomal.foundation.errors import ExpressionError

NUMPY = {"abs": np.abs, "log": np.log, "sqrt": np.sqrt, "sign": np.sign, "tanh": np.tanh}
NUMPY |= {"min": np.minimum, "max": np.maximum}


def _numpy_value(formula: str, y: float, f: float) -> float:
    # Our own generated text, in a namespace of NumPy functions: an evaluator that shares nothing with ours.
    return float(eval(formula, {"__builtins__": {}}, NUMPY | {"y": np.float64(y), "f": np.float64(f)}))


@pytest.mark.parametrize("weighted", [True, False])
def test_numpy_reads_the_printed_formula_as_torch_computes_it(weighted: bool) -> None:
    rng = random.Random(8)
    for _ in range(300):
        tree = repair(grow(rng, 1, 5), rng)
        weights = [rng.gauss(0.5, 1.5) for _ in range(tree.edges)] if weighted else None
        y, f = rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5)
        formula = to_formula(tree, weights, ascii=True)
        expected = evaluate(
            tree, torch.tensor(y, dtype=torch.float64), torch.tensor(f, dtype=torch.float64), weights
        ).item()
        if np.isfinite(expected):
            assert _numpy_value(formula, y, f) == pytest.approx(expected, rel=1e-9, abs=1e-12), formula


@pytest.mark.parametrize(
    ("text", "weights", "expected"),
    [
        ("abs(log(mul(y, f)))", [1.02, 0.98, 1.1, 0.97], "abs(1.02·log(abs(0.98·((1.1·y)·(0.97·f))) + ε))"),
        ("mul(y, f)", None, "y·f"),
        ("mul(add(y, f), sub(1, -1))", None, "(y + f)·(1 - (-1))"),
        ("sub(y, sub(y, f))", None, "y - (y - f)"),
        ("square(square(y))", None, "(y²)²"),
        ("square(mul(y, -1))", [0.5, 1.0, 3.0], "(0.5·(y·(-3)))²"),
        ("div(square(y), add(f, 1))", None, "y²/√(1 + (f + 1)²)"),
        ("add(y, f)", [-2.0, 1e-05], "(-2·y) + 1e-05·f"),
        ("max(-1, sqrt(f))", [1.0, 1.0, 1.0], "max(-1, √(abs(f) + ε))"),
    ],
)
def test_readable_formulas(text: str, weights: list[float] | None, expected: str) -> None:
    assert to_formula(parse(text), weights) == expected


def test_digits_round_and_no_digits_round_trip() -> None:
    tree = parse("abs(f)")
    assert to_formula(tree, [0.1 + 0.2]) == "abs(0.30000000000000004·f)"
    assert to_formula(tree, [1.23456], digits=3) == "abs(1.23·f)"
    assert to_formula(tree, [1.0004], digits=3) == "abs(f)"


@pytest.mark.parametrize("write", [to_formula, to_latex])
def test_weights_that_do_not_fit_are_refused(write: object) -> None:
    with pytest.raises(ExpressionError, match="has 2 edges and needs as many weights"):
        write(parse("mul(y, f)"), [1.0, 1.0, 1.0])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "weights", "expected"),
    [
        ("sub(y, f)", [1.5, -0.25], r"1.5\,y - \left(-0.25\,f_\theta(x)\right)"),
        ("square(mul(y, f))", None, r"\left(y \cdot f_\theta(x)\right)^2"),
        ("div(y, f)", None, r"\frac{y}{\sqrt{1 + f_\theta(x)^2}}"),
        ("square(div(y, f))", None, r"\left(\frac{y}{\sqrt{1 + f_\theta(x)^2}}\right)^2"),
        ("log(f)", [0.00001234], r"\log\left(\left|1.23 \cdot 10^{-5}\,f_\theta(x)\right| + \epsilon\right)"),
        (
            "sqrt(sign(f))",
            None,
            r"\sqrt{\left|\operatorname{sign}\left(f_\theta(x)\right)\right| + \epsilon}",
        ),
        ("min(y, tanh(f))", None, r"\min\left(y, \tanh\left(f_\theta(x)\right)\right)"),
    ],
)
def test_latex(text: str, weights: list[float] | None, expected: str) -> None:
    assert to_latex(parse(text), weights) == expected


@pytest.mark.parametrize(
    ("scale", "digits", "text", "latex"),
    [
        (1.0, 3, "f", "f"),
        (1, None, "f", "f"),
        (2.0, None, "2·(f)", r"2 \left(f\right)"),
        (0.123456, 3, "0.123·(f)", r"0.123 \left(f\right)"),
        (1e-5, 3, "1e-05·(f)", r"1 \cdot 10^{-5} \left(f\right)"),
        (1.2345e-5, 2, "1.2e-05·(f)", r"1.2 \cdot 10^{-5} \left(f\right)"),
        (2.5e17, None, "2.5e+17·(f)", r"2.5 \cdot 10^{17} \left(f\right)"),
    ],
)
def test_a_scale_stands_before_the_formula(scale: float, digits: int | None, text: str, latex: str) -> None:
    assert scaled("f", scale, digits) == text
    assert scaled_latex("f", scale, digits) == latex
