"""The canonical form, in which `a + b` and `b + a` meet."""

from collections.abc import Iterator, Sequence

from evomal.expressions.evaluate import check_weights
from evomal.expressions.operators import OPERATORS, TERMINALS
from evomal.expressions.tree import Expression

_RANK = {symbol: rank for rank, symbol in enumerate((*TERMINALS, *OPERATORS))}


def canonical(expression: Expression) -> Expression:
    """The same formula with the arguments of commutative operators sorted (D7).

    Smaller arguments come first, equally large ones in the order of the table. Nothing else is changed: no
    algebra, so the value and the gradients stay the same.

    Args:
        expression: The formula.

    Returns:
        Its canonical form; equal for formulas that differ only in the order of commutative arguments.

    Example:
        >>> from evomal.expressions import parse
        >>> str(canonical(parse("add(mul(f, y), 1)")))
        'add(1, mul(y, f))'
    """
    children = tuple(canonical(child) for child in expression.children)
    if children and OPERATORS[expression.symbol].commutative:
        children = tuple(sorted(children, key=_order))
    return expression if children == expression.children else Expression(expression.symbol, children)


def canonical_weighted(expression: Expression, weights: Sequence[float]) -> tuple[Expression, tuple[float, ...]]:
    """The canonical form of a formula with coefficients, each of which goes where its edge goes.

    Arguments of one formula are sorted by their coefficients, so that here, too, `a + b` and `b + a` meet.

    Args:
        expression: The formula.
        weights: One number per edge, in pre-order of the child node.

    Returns:
        The canonical form, as `canonical` gives it, and its weights.

    Raises:
        ExpressionError: The weights do not fit the expression.

    Example:
        >>> from evomal.expressions import parse
        >>> canonical_weighted(parse("add(mul(f, y), 1)"), [2, 3, 4, 5])
        (parse('add(1, mul(y, f))'), (5.0, 2.0, 4.0, 3.0))
    """
    return _sorted(expression, iter(check_weights(expression, weights)))


def _sorted(node: Expression, weights: Iterator[float]) -> tuple[Expression, tuple[float, ...]]:
    """A subtree and the weights below it, sorted; takes those weights, in pre-order."""
    arguments = []
    for child in node.children:
        weight = next(weights)
        tree, below = _sorted(child, weights)
        arguments.append((tree, (weight, *below)))
    if arguments and OPERATORS[node.symbol].commutative:
        arguments.sort(key=lambda argument: (*_order(argument[0]), argument[1]))
    children = tuple(tree for tree, _ in arguments)
    return Expression(node.symbol, children), tuple(weight for _, own in arguments for weight in own)


def _order(expression: Expression) -> tuple[int, tuple[tuple[int, str], ...]]:
    # Arities are fixed, so the symbols in pre-order tell any two trees apart: the order is total. Operators that users
    # add come after all others, by name, in whatever order they were added.
    return expression.size, tuple((_RANK.get(node.symbol, len(_RANK)), node.symbol) for node in expression.preorder())
