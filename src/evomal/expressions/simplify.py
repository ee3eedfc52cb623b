"""Formulas made shorter by SymPy, in a child process that can be stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomal.expressions.evaluate import check_weights
from evomal.expressions.formula import to_formula, to_latex
from evomal.expressions.operators import EPSILON, OPERATORS, TERMINALS
from evomal.expressions.tree import Expression

__all__ = ["Simplified", "simplify", "to_latex", "to_sympy"]

TIMED_OUT = 3
"""Exit status of a child that its own clock stopped."""

CHILD = "evomal.expressions._simplify_child"
"""The module that the child runs."""

START_UP = 60.0
"""Seconds that a child may take to start, import SymPy and stop by itself; after that it is killed."""


@dataclass(frozen=True, slots=True)
class Simplified:
    """A formula for display.

    Attributes:
        text: The formula in Python's notation, `y` and `f` as they are.
        latex: The same in LaTeX, `f` as the base model's output.
        note: What was left out or went wrong, such as ``"ε omitted"``; empty if nothing did.
    """

    text: str
    latex: str
    note: str


def to_sympy(expression: Expression, weights: Sequence[float] | None = None, epsilon: float = EPSILON) -> Any:
    """The expression in SymPy, built from the operator table; no text is read.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node; None is φ = 1.
        epsilon: The ε of the protected operators; 0 leaves it out.

    Returns:
        A SymPy expression in the real symbols `y` and `f`, and in `prior` and `progress`, which are never negative.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> to_sympy(parse("square(sub(y, f))"), [2, 0.5, 1.5])
        (-3.0*f + 1.0*y)**2
    """
    import sympy

    numbers = None if weights is None else iter(check_weights(expression, weights))
    protection = sympy.Float(epsilon) if epsilon else sympy.Integer(0)
    leaves: dict[str, Any] = {}
    for name, terminal in TERMINALS.items():
        # What a user says is never below 0: a share of labels, or of steps.
        kind = {"real": True} if terminal.default is None else {"nonnegative": True}
        fixed = terminal.constant
        leaves[name] = sympy.Symbol(name, **kind) if fixed is None else sympy.Integer(int(fixed))
    return _built(expression, numbers, leaves, protection)


def _built(node: Expression, weights: Iterator[float] | None, leaves: dict[str, Any], epsilon: Any) -> Any:
    import sympy

    if not node.children:
        return leaves[node.symbol]
    arguments = []
    for child in node.children:
        weight = None if weights is None else sympy.Float(next(weights))
        value = _built(child, weights, leaves, epsilon)
        arguments.append(value if weight is None else weight * value)
    return OPERATORS[node.symbol].sympy(sympy, epsilon, *arguments)


def simplify(
    expression: Expression, weights: Sequence[float] | None = None, digits: int = 3, time_limit: float = 3.0
) -> Simplified:
    """The formula, shortened by SymPy where that succeeds in time; for display only.

    SymPy sometimes hangs, raises or lengthens, and treats points such as 0 in sign(x)·|x| loosely, so it
    works in a child process with a clock, the shorter of the plain and the simplified formula is kept, a
    result of another value is dropped, and training always uses the original expression.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node; None is φ = 1.
        digits: Significant digits of the numbers shown; the algebra is done on the weights as they are.
        time_limit: Seconds that SymPy may take, not counting its import.

    Returns:
        The formula as text and LaTeX, with a note on what was left out (ε, digits) or went wrong.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> simplify(parse("abs(square(sub(y, f)))"), time_limit=30.0).text
        '(f - y)**2'
    """
    numbers = None if weights is None else check_weights(expression, weights)
    own = expression.own_operators
    answers, stopped = ([], False) if own else _ask_child(expression, numbers, digits, time_limit)
    plain = {
        "text": to_formula(expression, numbers, digits, ascii=True),
        "latex": to_latex(expression, numbers, digits),
    }
    best: dict[str, Any] = next((answer for answer in reversed(answers) if "text" in answer), plain)
    notes = list(best.get("notes", []))
    if numbers is not None and any(float(f"{number:.{digits}g}") != number for number in numbers):
        notes.append(f"numbers rounded to {digits} digits")
    if stopped:
        notes.append(f"simplification stopped after {time_limit:g} s")
    elif own:
        notes.append(f"SymPy does not know {', '.join(operator.name for operator in own)}")
    elif not answers or not answers[-1].get("done"):
        notes.append("simplification failed")
    return Simplified(best["text"], best["latex"], "; ".join(notes))


def _ask_child(
    expression: Expression, weights: Sequence[float] | None, digits: int, time_limit: float
) -> tuple[list[dict[str, Any]], bool]:
    """What the child said, one JSON object a line, and whether it was stopped before its end."""
    request = {"formula": str(expression), "weights": weights, "digits": digits, "time_limit": time_limit}
    # The child finds this very package, wherever the parent got it from; -P keeps the working directory out.
    found_at = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (found_at, os.environ.get("PYTHONPATH"))))
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        encoding="utf-8",
    )
    try:
        said, _ = child.communicate(json.dumps(request), timeout=time_limit + START_UP)
        stopped = child.returncode == TIMED_OUT
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
        stopped = True
    return [json.loads(line) for line in said.splitlines() if line.endswith("}")], stopped
