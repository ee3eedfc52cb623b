"""The expression: an immutable tree over operators, with terminals as its leaves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

from evomal.expressions.operators import OPERATORS, TERMINALS, Operator, take_in
from evomal.foundation.errors import ExpressionError, nearest
from evomal.foundation.serialization import by_value

MAX_DEPTH = 64
"""No expression is higher: everything that walks a tree may recurse."""

MAX_NODES = 1000
"""No expression is larger, not even one whose subtrees are shared in memory."""


@dataclass(frozen=True, slots=True, repr=False)
class Expression:
    """A formula as a tree; equal trees are equal, and hash alike.

    Nodes are numbered in pre-order, the root being 0. Each edge carries one weight φ; edges are numbered in
    pre-order of the child node, so the edge above node i is number i - 1 and the root has none (Section 3.2).

    Args:
        symbol: The name of an operator, or of a terminal such as `y`, `f`, `1`, `-1`.
        children: The arguments of an operator, as many as its arity; none for a leaf.

    Attributes:
        size: Number of nodes.
        height: Number of edges on the longest path from the root to a leaf.

    Raises:
        ExpressionError: The symbol is unknown, the number of children is wrong, or the tree is too large.

    Example:
        >>> y, f = Expression("y"), Expression("f")
        >>> error = Expression("square", (Expression("sub", (y, f)),))
        >>> str(error), error.size, error.height, error.edges
        ('square(sub(y, f))', 4, 2, 3)

    Source: Raymond et al. 2023, Section 3.1.
    """

    symbol: str
    children: tuple["Expression", ...] = ()
    size: int = field(init=False, compare=False)
    height: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arity and the limits; measure the tree."""
        _check_arity(self.symbol, len(self.children))
        object.__setattr__(self, "children", tuple(self.children))
        object.__setattr__(self, "size", 1 + sum(child.size for child in self.children))
        object.__setattr__(self, "height", max((1 + child.height for child in self.children), default=0))
        if self.height > MAX_DEPTH or self.size > MAX_NODES:
            raise too_large(self.height, self.size)

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        if not self.children:
            return self.symbol
        return f"{self.symbol}({', '.join(map(str, self.children))})"

    def __repr__(self) -> str:
        """The call that makes the tree again."""
        return f"parse({str(self)!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Expression":
        """Itself, as nothing about it can change."""
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """What is sent to other processes: operators of users go along, as they are known here alone."""
        if not (own := self.own_operators):
            return object.__reduce_ex__(self, protocol)
        return _restored, (_plain(self), by_value(own))

    @property
    def own_operators(self) -> tuple[Operator, ...]:
        """Operators of users that it holds, by name."""
        found = {node.symbol for node in self.preorder() if node.children}
        return tuple(OPERATORS[name] for name in sorted(found) if OPERATORS[name].module is not None)

    @property
    def edges(self) -> int:
        """Number of edges, that is of weights φ."""
        return self.size - 1

    @property
    def leaves(self) -> tuple["Expression", ...]:
        """The leaves, from left to right."""
        return tuple(node for node in self.preorder() if not node.children)

    @property
    def complete(self) -> bool:
        """Whether both arguments of a loss, `y` and `f`, are there (Section 3.1.3)."""
        return self.contains("y") and self.contains("f")

    @property
    def has_gradient(self) -> bool:
        """Whether some `f` has nothing above it that never changes, as `sign`; else no φ gives a gradient (D10)."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.symbol == "f":
                return True
            if node.children and OPERATORS[node.symbol].tangent is not None:
                stack.extend(node.children)
        return False

    @property
    def extras(self) -> tuple[str, ...]:
        """Terminals beside `y` and `f` whose values come with every call, in the order of the table."""
        found = {node.symbol for node in self.preorder() if not node.children}
        return tuple(name for name, terminal in TERMINALS.items() if name in found and terminal.default is not None)

    def contains(self, symbol: str) -> bool:
        """Whether some node is `symbol`."""
        return any(node.symbol == symbol for node in self.preorder())

    def preorder(self) -> Iterator["Expression"]:
        """All nodes as subtrees, each before its children, children from left to right."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def at(self, index: int) -> "Expression":
        """The subtree at a node.

        Args:
            index: The node's number in pre-order.

        Returns:
            The subtree.

        Raises:
            ExpressionError: There is no such node.

        Example:
            >>> str(Expression("abs", (Expression("y"),)).at(1))
            'y'
        """
        self._check_index(index)
        node = self
        while index > 0:
            position, index = node._child_holding(index)
            node = node.children[position]
        return node

    def replace(self, index: int, subtree: "Expression") -> "Expression":
        """A new tree in which one subtree is exchanged.

        Args:
            index: The number, in pre-order, of the node where the old subtree starts.
            subtree: What comes in its place.

        Returns:
            The new tree; this one stays as it is.

        Raises:
            ExpressionError: There is no such node, or the new tree is too large.

        Example:
            >>> str(Expression("abs", (Expression("y"),)).replace(1, Expression("f")))
            'abs(f)'
        """
        self._check_index(index)
        if index == 0:
            return subtree
        position, index = self._child_holding(index)
        changed = self.children[position].replace(index, subtree)
        return Expression(self.symbol, (*self.children[:position], changed, *self.children[position + 1 :]))

    def _child_holding(self, index: int) -> tuple[int, int]:
        """Which child holds node `index` > 0, and that node's number within the child."""
        index -= 1
        for position, child in enumerate(self.children):
            if index < child.size:
                return position, index
            index -= child.size
        raise AssertionError("an index below the size lies in some child")

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise ExpressionError(
                f"'{shortened(str(self))}' has no node {index}: its nodes are numbered 0 to {self.size - 1}"
            )


def _plain(node: Expression) -> tuple[Any, ...]:
    return (node.symbol, *map(_plain, node.children))


def _built(plain: tuple[Any, ...]) -> Expression:
    return Expression(plain[0], tuple(map(_built, plain[1:])))


def _restored(plain: tuple[Any, ...], operators: tuple[Operator, ...]) -> Expression:
    """An expression in another process, where the operators that came with it may not be known yet."""
    for operator in operators:
        if operator.name not in OPERATORS:
            take_in(operator)
    return _built(plain)


def shortened(text: str, limit: int = 60) -> str:
    """`text`, or its beginning if it is long, for use in a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def unknown_symbol(symbol: str) -> str:
    """What is wrong with a symbol that does not exist, with the nearest one that does."""
    known = (*OPERATORS, *TERMINALS)
    near = nearest(symbol[:40], known, cutoff=0.6)
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(known)}"
    return f"unknown name '{shortened(symbol, 40)}'; {hint}"


def arity_mismatch(symbol: str, count: int) -> str:
    """What is wrong with the number of arguments of a known symbol; empty if nothing is."""
    if symbol in TERMINALS:
        return f"leaf '{symbol}' takes no arguments" if count else ""
    arity = OPERATORS[symbol].arity
    noun = "argument" if arity == 1 else "arguments"
    return "" if count == arity else f"operator '{symbol}' takes {arity} {noun}, not {count}"


def too_large(height: int, size: int) -> ExpressionError:
    """The error for a formula past `MAX_DEPTH` or `MAX_NODES`."""
    if height > MAX_DEPTH:
        return ExpressionError(f"the formula is nested {height} deep; at most {MAX_DEPTH} levels are allowed")
    return ExpressionError(f"the formula has {size} nodes; at most {MAX_NODES} are allowed")


def _check_arity(symbol: str, count: int) -> None:
    if symbol not in OPERATORS and symbol not in TERMINALS:
        raise ExpressionError(unknown_symbol(symbol))
    if wrong := arity_mismatch(symbol, count):
        raise ExpressionError(wrong)
