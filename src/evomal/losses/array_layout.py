"""Where every node of many expressions lies, and in which calls they are worked out: one a height and operator."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from evomal.expressions import TERMINALS, Expression
from evomal.losses.array_operators import Array

SHARED = ("y", "1", "-1", *(name for name, terminal in TERMINALS.items() if terminal.default is not None))
"""Leaves that are the same for all lanes; each is one row. Their rows come first, then a row of f for each lane."""


@dataclass(slots=True)
class _Node:
    """A node of one lane's expression while the program is laid out."""

    expression: Expression
    lane: int
    edge: int
    arguments: "list[_Node]"
    moving: bool  # it changes with f, and a gradient comes here
    row: int = -1  # of its value
    moved: int = 0  # row of its tangent

    @property
    def pattern(self) -> tuple[bool, ...]:
        """Which arguments change with f."""
        return tuple(argument.moving for argument in self.arguments)


def _laid_out(tree: Expression, lane: int, edge: int, still: bool, into: list[_Node]) -> _Node:
    """A node of a tree, after its arguments; `still`: it lies below a sign."""
    still, following, arguments = still or tree.symbol == "sign", edge + 1, []
    for child in tree.children:
        arguments.append(_laid_out(child, lane, following, still, into))
        following += child.size
    moving = not still and (tree.symbol == "f" or any(argument.moving for argument in arguments))
    into.append(_Node(tree, lane, edge, arguments, moving))
    return into[-1]


@dataclass(frozen=True, slots=True)
class Call:
    """Nodes of one operator, of which the same arguments change: rows of results, places among what was gathered."""

    name: str
    results: slice
    arguments: tuple[slice, ...]
    tangents: slice | None  # rows of the results' tangents
    moving: tuple[slice | None, ...]  # places among the tangents that were gathered


@dataclass(frozen=True, slots=True)
class Stage:
    """All nodes of one height."""

    calls: tuple[Call, ...]
    rows: Array  # of the arguments' values
    edges: Array  # of the arguments, into the flat φ
    moved: Array  # rows of the tangents of those that change
    moved_edges: Array


class Layout:
    """Rows for the values and tangents of all nodes, and the calls that fill them.

    Args:
        expressions: A formula for each lane, of the operators of the paper; the root of each is an operator.

    Attributes:
        lanes: How many expressions there are.
        width: Coefficients of the longest one.
        rows: How many values there are.
        tangents: How many tangents: one of zeros, one of ones, and those of the nodes that change with f.
        stages: What is worked out, height by height.
        roots: Rows of the roots' values.
        moved_roots: Rows of their tangents.

    Example:
        >>> from evomal.expressions import parse
        >>> layout = Layout([parse("square(sub(y, f))"), parse("mul(y, f)")])
        >>> [[call.name for call in stage.calls] for stage in layout.stages]
        [['mul', 'sub'], ['square']]
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self.lanes, self.width = len(expressions), max(expression.edges for expression in expressions)
        self.rows, self.tangents = len(SHARED) + self.lanes, 2
        nodes: list[_Node] = []
        roots = [_laid_out(tree, lane, -1, False, nodes) for lane, tree in enumerate(expressions)]
        nodes.sort(key=lambda node: (node.expression.height, node.expression.symbol, node.pattern))
        for node in nodes:
            self._place(node)
        inner = [node for node in nodes if node.arguments]
        self.stages = tuple(self._stage(list(s)) for _, s in groupby(inner, key=lambda node: node.expression.height))
        self.roots = _numbers(node.row for node in roots)
        self.moved_roots = _numbers(node.moved for node in roots)

    def _place(self, node: _Node) -> None:
        """The rows of a node's value and tangent."""
        symbol = node.expression.symbol
        if symbol == "f":
            node.row, node.moved = len(SHARED) + node.lane, int(node.moving)
        elif not node.arguments:
            node.row = SHARED.index(symbol)
        else:
            node.row, self.rows = self.rows, self.rows + 1
            if node.moving:
                node.moved, self.tangents = self.tangents, self.tangents + 1

    def _stage(self, nodes: Sequence[_Node]) -> Stage:
        taken: list[_Node] = []
        moved: list[_Node] = []
        calls = []
        for (name, pattern), group in groupby(nodes, key=lambda node: (node.expression.symbol, node.pattern)):
            same = list(group)
            arguments, moving = [], []
            for position, changes in enumerate(pattern):
                own = [node.arguments[position] for node in same]
                arguments.append(slice(len(taken), len(taken) + len(own)))
                taken += own
                moving.append(slice(len(moved), len(moved) + len(own)) if changes else None)
                moved += own if changes else []
            first, last = same[0], same[-1]
            tangents = slice(first.moved, last.moved + 1) if first.moving else None
            calls.append(Call(name, slice(first.row, last.row + 1), tuple(arguments), tangents, tuple(moving)))

        def edges(those: Sequence[_Node]) -> Array:
            return _numbers(node.lane * self.width + node.edge for node in those)

        rows, tangent_rows = _numbers(node.row for node in taken), _numbers(node.moved for node in moved)
        return Stage(tuple(calls), rows, edges(taken), tangent_rows, edges(moved))


def _numbers(found: Iterable[int]) -> Array:
    return np.array(list(found), dtype=np.int64)
