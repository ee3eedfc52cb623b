"""Many expressions as one program: nodes of equal depth and operator are computed together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evomal.expressions import OPERATORS, TERMINALS, Expression

Leaves = dict[str, Tensor]  # lanes that have such a leaf at some depth, int64 [K]
CONSTANTS = {name: terminal.constant for name, terminal in TERMINALS.items() if terminal.constant is not None}
EXTRAS = tuple(name for name, terminal in TERMINALS.items() if terminal.default is not None)
KINDS = ("y", "f", "still f", *EXTRAS, *CONSTANTS)
"""Leaves in the order in which they follow a depth's operators; no gradient reaches an `f` below a sign."""
NOTHING: Mapping[str, Tensor] = {}


@dataclass(slots=True)
class _Node:
    """A node of one lane's expression while the program is laid out."""

    expression: Expression
    lane: int
    edge: int  # -1: the root has none
    still: bool  # below a sign: no gradient comes here
    place: int = 0  # among the nodes of its depth

    @property
    def kind(self) -> str:
        symbol = self.expression.symbol
        return "still f" if symbol == "f" and self.still else symbol


@dataclass(frozen=True, slots=True)
class _Level:
    """All nodes of one depth, in the order: operators as in the table, then leaves as in `KINDS`."""

    operators: tuple[tuple[str, int], ...]  # name and number of nodes
    leaves: Leaves
    edges: Tensor  # into the flat φ, int64 [K]; empty at depth 0
    order: Tensor  # nodes in the order in which the depth above, or the caller, takes them, int64 [K]


class Levels:
    """A function ``(y, f, φ) -> values`` that computes one expression per lane.

    A node's argument lies exactly one depth below it. So every depth is one multiplication by the weights of its edges,
    one gathering, and one call for each operator that occurs there: the number of tensor operations depends on the
    depth of the formulas, not on how many there are. Lanes are independent: nothing is added up between them.

    Args:
        expressions: A formula for each lane; the root of each is an operator.
        device: Where it is computed.

    Example:
        >>> from evomal.expressions import parse
        >>> both = Levels([parse("square(sub(y, f))"), parse("mul(y, f)")], torch.device("cpu"))
        >>> both(torch.tensor([1.0]), torch.tensor([[0.5], [0.5]]), torch.ones(2, both.width)).tolist()
        [[0.25], [0.5]]
    """

    def __init__(self, expressions: Sequence[Expression], device: torch.device) -> None:
        self.width = max(expression.edges for expression in expressions)
        """Coefficients of a lane, padding included."""
        depths = [[_Node(tree, lane, -1, False) for lane, tree in enumerate(expressions)]]
        wanted = depths[0]
        levels = []
        while wanted:
            ordered = _ordered(wanted)
            levels.append(self._level(ordered, wanted, device))
            wanted = _arguments(ordered)
        self._levels = tuple(reversed(levels))  # from the deepest up
        self._sizes = [len(level.edges) for level in self._levels]
        self._edges = torch.cat([level.edges for level in self._levels])

    def _level(self, ordered: Sequence[_Node], wanted: Sequence[_Node], device: torch.device) -> _Level:
        counts = {name: sum(node.kind == name for node in ordered) for name in OPERATORS}
        lanes = {kind: [node.lane for node in ordered if node.kind == kind] for kind in KINDS}
        edges = [node.lane * self.width + node.edge for node in ordered if node.edge >= 0]
        return _Level(
            tuple((name, count) for name, count in counts.items() if count),
            {kind: torch.tensor(found, device=device) for kind, found in lanes.items() if found},
            torch.tensor(edges, dtype=torch.int64, device=device),
            torch.tensor([node.place for node in wanted], device=device),
        )

    def __call__(self, y: Tensor, f: Tensor, phi: Tensor, extras: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """The value of every lane's expression.

        Args:
            y: Targets [B, C, ...] of all lanes, or [N, B, C, ...].
            f: Predictions [N, B, C, ...].
            phi: Coefficients [N, width]; what a formula does not have is not looked at.
            extras: Values of further terminals for all lanes, which broadcast with `y`.

        Returns:
            [N, B, C, ...].
        """
        weights = phi.to(f.dtype).reshape(-1).index_select(0, self._edges).split(self._sizes)
        arguments = f
        for level, weight in zip(self._levels, weights, strict=True):
            moving = [*_operated(level, arguments), *_taken(level, y, f, extras)]
            if not len(level.edges):
                return torch.cat(moving).index_select(0, level.order)
            shape = (-1, *[1] * (f.dim() - 1))
            constants = sum(len(level.leaves.get(kind, ())) for kind in CONSTANTS)
            free = weight[: len(weight) - constants].reshape(shape)
            parts = [free * torch.cat(moving)] if moving else []
            for kind, part in _constants(level, weight):  # 1·w is w, -1·w is -w
                parts.append((part if kind == "1" else -part).reshape(shape).expand(-1, *f.shape[1:]))
            arguments = torch.cat(parts).index_select(0, level.order)
        raise AssertionError("the last level is that of the roots")


def _ordered(nodes: Sequence[_Node]) -> list[_Node]:
    """The nodes of one depth in the order in which they are computed; each gets its place."""
    rank = {kind: number for number, kind in enumerate((*OPERATORS, *KINDS))}
    ordered = sorted(nodes, key=lambda node: rank[node.kind])
    for place, node in enumerate(ordered):
        node.place = place
    return ordered


def _arguments(ordered: Sequence[_Node]) -> list[_Node]:
    """The nodes one depth below, operator by operator: first all first arguments, then all second ones."""
    below: list[_Node] = []
    for name, operator in OPERATORS.items():
        of_this = [node for node in ordered if node.kind == name]
        for position in range(operator.arity):
            for node in of_this:
                child = node.expression.children[position]
                before = sum(earlier.size for earlier in node.expression.children[:position])
                still = node.still or operator.tangent is None
                below.append(_Node(child, node.lane, node.edge + 1 + before, still))
    return below


def _operated(level: _Level, arguments: Tensor) -> list[Tensor]:
    """The results of a level's operators."""
    results, start = [], 0
    for name, count in level.operators:
        operator = OPERATORS[name]
        taken = [arguments.narrow(0, start + count * k, count) for k in range(operator.arity)]
        results.append(operator.torch(*taken))
        start += count * operator.arity
    return results


def _taken(level: _Level, y: Tensor, f: Tensor, extras: Mapping[str, Tensor]) -> list[Tensor]:
    """The level's leaves that are no constants, each of its lane."""
    found = []
    for kind, values in (("y", y), ("f", f), ("still f", f.detach())):
        lanes = level.leaves.get(kind)
        if lanes is None:
            continue
        shared = values.dim() < f.dim()
        found.append(values.expand(len(lanes), *values.shape) if shared else values.index_select(0, lanes))
    for kind in EXTRAS:
        if kind in level.leaves:
            found.append(extras[kind].expand(len(level.leaves[kind]), *f.shape[1:]))
    return found


def _constants(level: _Level, weight: Tensor) -> list[tuple[str, Tensor]]:
    """The weights of the level's constants, the last ones."""
    sizes = [(kind, len(level.leaves.get(kind, ()))) for kind in CONSTANTS]
    start = len(weight) - sum(size for _, size in sizes)
    parts = weight[start:].split([size for _, size in sizes])
    return [(kind, part) for (kind, size), part in zip(sizes, parts, strict=True) if size]
