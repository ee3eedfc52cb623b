"""How a change of the arguments changes the result of each operator: the forward-mode rules of the operator table.

Every rule is called as ``rule(result, arguments, tangents)``; a tangent is None where an argument does not change, and
the rule is only called when one does. Where an operator has a kink, the rule gives what autograd gives there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Values: TypeAlias = "tuple[Tensor, ...]"
Tangents: TypeAlias = "tuple[Tensor | None, ...]"
Rule: TypeAlias = "Callable[[Tensor, Values, Tangents], Tensor]"


def add(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of a + b: a′ + b′."""
    return _sum(*tangents)


def sub(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of a - b: a′ - b′."""
    a, b = tangents
    return _sum(a, None if b is None else -b)


def mul(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of a·b: a′·b + a·b′."""
    (a, b), (da, db) = arguments, tangents
    return _sum(None if da is None else da * b, None if db is None else a * db)


def div(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of a/h with h = √(1 + b²): a′/h - (a/h)·(b/h)·(b′/h)."""
    (_, b), (da, db) = arguments, tangents
    h = b.hypot(b.new_ones(()))
    return _sum(None if da is None else da / h, None if db is None else -(result * (b / h) * (db / h)))


def minimum(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """The smaller one's tangent; half of each where they are equal."""
    return _chosen(arguments, tangents, sign=-1.0)


def maximum(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """The greater one's tangent; half of each where they are equal."""
    return _chosen(arguments, tangents, sign=1.0)


def square(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of x²: 2·x·x′."""
    return _only(tangents) * (2.0 * arguments[0])


def absolute(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of |x|: sign(x)·x′."""
    return _only(tangents) * arguments[0].sign()


def log(epsilon: float) -> Rule:
    """Of the protected logarithm: sign(x)·x′ / (|x| + ε)."""

    def rule(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
        (x,) = arguments
        return _only(tangents) * (x.sign() / (x.abs() + epsilon))

    return rule


def sqrt(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of the protected root: sign(x)·x′ / (2·√(|x| + ε))."""
    return _only(tangents) * (arguments[0].sign() / (2.0 * result))


def tanh(result: "Tensor", arguments: Values, tangents: Tangents) -> "Tensor":
    """Of the hyperbolic tangent, x′ times one minus the squared result."""
    return _only(tangents) * (1.0 - result * result)


def _only(tangents: Tangents) -> "Tensor":
    (tangent,) = tangents
    assert tangent is not None  # a rule is only called when an argument changes
    return tangent


def _sum(a: "Tensor | None", b: "Tensor | None") -> "Tensor":
    if a is None or b is None:
        return _only((b if a is None else a,))
    return a + b


def _chosen(arguments: Values, tangents: Tangents, sign: float) -> "Tensor":
    (a, b), (da, db) = arguments, tangents
    first = 0.5 + (0.5 * sign) * (a - b).sign()  # 1, ½ or 0
    return _sum(None if da is None else first * da, None if db is None else (1.0 - first) * db)
