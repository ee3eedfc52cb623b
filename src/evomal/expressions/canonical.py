"""The canonical form, in which `a + b` and `b + a` meet."""

from evomal.expressions.operators import LEAVES, OPERATORS
from evomal.expressions.tree import Expression

_RANK = {symbol: rank for rank, symbol in enumerate((*LEAVES, *OPERATORS))}


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


def _order(expression: Expression) -> tuple[int, tuple[int, ...]]:
    # Arities are fixed, so the symbols in pre-order tell any two trees apart: the order is total.
    return expression.size, tuple(_RANK[node.symbol] for node in expression.preorder())
