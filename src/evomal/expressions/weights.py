"""Whether weights φ fit an expression."""

from collections.abc import Sequence
from math import isfinite

from evomal.expressions.tree import Expression, shortened
from evomal.foundation.errors import ExpressionError


def check_weights(expression: Expression, weights: Sequence[float]) -> tuple[float, ...]:
    """The weights φ as plain numbers, once they are known to fit the expression.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node.

    Returns:
        The same numbers as floats.

    Raises:
        ExpressionError: Their number is not the number of edges, or one is not finite.

    Example:
        >>> check_weights(Expression("abs", (Expression("y"),)), [2])
        (2.0,)
    """
    numbers = tuple(float(weight) for weight in weights)
    check_count(expression, len(numbers))
    for number, weight in enumerate(numbers):
        if not isfinite(weight):
            raise ExpressionError(
                f"weight {number} of '{shortened(str(expression))}' is {weight}: weights must be finite"
            )
    return numbers


def check_count(expression: Expression, count: int) -> None:
    """Raise an `ExpressionError` unless `count` weights are what `expression` needs."""
    if count != expression.edges:
        raise ExpressionError(
            f"'{shortened(str(expression))}' has {expression.edges} edges and needs as many weights, "
            f"in pre-order of the child node; got {count}"
        )
