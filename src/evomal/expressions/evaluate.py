"""The plain reference for what an expression computes, which compiled losses are compared with; do weights φ fit it."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from evomal.expressions.operators import OPERATORS, TERMINALS
from evomal.expressions.tree import Expression, shortened
from evomal.foundation.errors import ExpressionError

if TYPE_CHECKING:
    from torch import Tensor


def evaluate(
    expression: Expression,
    y: "Tensor",
    f: "Tensor",
    weights: "Sequence[float] | Tensor | None" = None,
    **extras: "Tensor | float",
) -> "Tensor":
    """The value of an expression, element by element, straight from the operator table.

    Each argument of an operator is multiplied by the weight of its edge; nothing multiplies the root.

    Args:
        expression: The formula.
        y: Targets, of a floating dtype; any shape that broadcasts with `f`.
        f: Predictions f(x), of the same dtype.
        weights: One number per edge, in pre-order of the child node, or a tensor [edges]; None is φ = 1.
        **extras: Values of further terminals, such as ``prior`` and ``progress``, which broadcast with `f`; 1 where
            they are not given.

    Returns:
        The unreduced loss M_φ(y, f), of the broadcast shape; 0-dimensional if neither `y` nor `f` occurs.

    Raises:
        ExpressionError: The number of weights is not the number of edges.

    Example:
        >>> import torch
        >>> from evomal.expressions import parse
        >>> evaluate(parse("square(sub(y, f))"), torch.tensor([1.0, 0.0]), torch.tensor([0.5, 2.0]))
        tensor([0.2500, 4.0000])

    Source: Raymond et al. 2023, Section 3.2 and Fig. 3.
    """
    import torch

    if weights is not None:
        check_count(expression, len(weights))
        weights = torch.as_tensor(weights, dtype=f.dtype, device=f.device)
    leaves = {"y": y, "f": f}
    for name, terminal in TERMINALS.items():
        if name not in leaves:
            value = terminal.constant if terminal.constant is not None else extras.get(name, terminal.default)
            leaves[name] = torch.as_tensor(value, dtype=f.dtype, device=f.device)
    return _value(expression, leaves, None if weights is None else iter(weights))


def _value(node: Expression, leaves: dict[str, "Tensor"], weights: "Iterator[Tensor] | None") -> "Tensor":
    if not node.children:
        return leaves[node.symbol]
    arguments = []
    for child in node.children:
        # The edge's weight comes before those below it: taken first, used after.
        weight = None if weights is None else next(weights)
        value = _value(child, leaves, weights)
        arguments.append(value if weight is None else weight * value)
    return OPERATORS[node.symbol].torch(*arguments)


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
