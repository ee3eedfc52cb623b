"""Many expressions as one program over arrays laid out once: the same numbers as `Levels`, quicker on a CPU.

There, what formulas of a small network cost is calls, not arithmetic: NumPy's are the cheaper ones, and write into
memory that is there already. Nodes of equal height and operator are one call for all formulas. With every value goes
its tangent ∂T/∂f; derivatives of both in φ come from one way back through the program.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evomal.expressions import TABLE_1, Expression
from evomal.losses.array_layout import SHARED, Layout
from evomal.losses.array_memory import Room
from evomal.losses.array_operators import Array

BLOCK = 4096  # numbers of a lane that are worked on at a time


def knows(expression: Expression) -> bool:
    """Whether a formula is of the operators of the paper.

    Example:
        >>> from evomal.expressions import parse
        >>> knows(parse("mul(y, log(f))"))
        True
    """
    return all(node.symbol in TABLE_1 for node in expression.preorder() if node.children)


class ArrayFormulas:
    """Expressions of all lanes with their derivative along f.

    Args:
        expressions: A formula for each lane, of the operators of the paper; the root of each is an operator.

    Example:
        >>> from evomal.expressions import parse
        >>> both = ArrayFormulas([parse("square(sub(y, f))"), parse("mul(y, f)")])
        >>> y, f = torch.tensor([1.0]), torch.tensor([[0.5], [0.5]])
        >>> [found.flatten().tolist() for found in both(y, f, torch.ones(2, 3), {})]
        [[0.25, 0.5], [-1.0, 1.0]]
    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._layout = Layout(expressions)
        self._rooms: dict[tuple[int, str], Room] = {}

    def __call__(self, y: Tensor, f: Tensor, phi: Tensor, extras: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Values and tangents ∂T/∂f of every lane's expression, [N, B, C, ...] each; both have a graph to φ alone.

        Args:
            y: Targets [B, C, ...] of all lanes.
            f: Predictions [N, B, C, ...], taken outside any graph.
            phi: Coefficients [N, W], where W is the number of the longest formula's.
            extras: Values of further terminals for all lanes, which broadcast with `y`.
        """
        known = {"y": y, "1": f.new_ones(()), "-1": -f.new_ones(()), **extras}
        leaves = f.new_zeros(len(SHARED), *f.shape[1:])
        for row, name in zip(leaves, SHARED, strict=True):
            if name in known:
                row.copy_(known[name])
        found: tuple[Tensor, Tensor] = _Dual.apply(phi, f.detach(), leaves, self)  # type: ignore[no-untyped-call]
        return found

    def forward(self, leaves: Array, f: Array, phi: Array) -> tuple[Array, Array]:
        """Values and tangents of the roots, [N, E] each; arguments as of `_computed`."""
        room = self._computed(leaves, f, phi)
        return room.values.take(self._layout.roots, 0), room.tangents.take(self._layout.moved_roots, 0)

    def backward(self, leaves: Array, f: Array, phi: Array, value_bars: Array, tangent_bars: Array) -> Array:
        """The gradient in φ, flat, from what values and tangents of the roots count, [N, E] each."""
        room = self._computed(leaves, f, phi)
        room.bars[self._layout.roots], room.moved_bars[self._layout.moved_roots] = value_bars, tangent_bars
        gradient = np.zeros_like(phi)
        for stage, place in zip(reversed(self._layout.stages), reversed(room.places), strict=True):
            for call in place.calls:
                call.back()
            # Every edge is that of one argument, and every node the argument of one other.
            gradient[stage.edges] += np.einsum("ke,ke->k", place.own_bars, room.values.take(stage.rows, 0))
            gradient[stage.moved_edges] += np.einsum("ke,ke->k", place.moved_bars, room.tangents.take(stage.moved, 0))
            place.own_bars *= phi.take(stage.edges)[:, None]
            place.moved_bars *= phi.take(stage.moved_edges)[:, None]
            room.bars[stage.rows], room.moved_bars[stage.moved] = place.own_bars, place.moved_bars
        return gradient

    def _computed(self, leaves: Array, f: Array, phi: Array) -> Room:
        """Values and tangents of all nodes.

        Args:
            leaves: Shared leaves, in the order of `SHARED`, [..., E].
            f: [N, E].
            phi: The coefficients, flat.
        """
        room = self._room(f)
        values, tangents = room.values, room.tangents
        values[: len(leaves)], values[len(leaves) : len(leaves) + len(f)] = leaves, f
        for stage, place in zip(self._layout.stages, room.places, strict=True):
            values.take(stage.rows, 0, place.own, "clip")
            tangents.take(stage.moved, 0, place.moved, "clip")
            place.own *= phi.take(stage.edges)[:, None]
            place.moved *= phi.take(stage.moved_edges)[:, None]
            for call in place.calls:
                call.forward()
        return room

    def _room(self, f: Array) -> Room:
        key = (f.shape[1], f.dtype.str)
        if key not in self._rooms:
            self._rooms[key] = Room.of(self._layout, f)
        return self._rooms[key]


class _Dual(torch.autograd.Function):
    """(φ, f, leaves) → values and tangents; differentiable in φ, once."""

    @staticmethod
    def forward(ctx: Any, phi: Tensor, f: Tensor, leaves: Tensor, program: ArrayFormulas) -> tuple[Tensor, Tensor]:
        given = phi.detach().to(f.dtype).contiguous(), f.reshape(len(f), -1), leaves.reshape(len(leaves), -1)
        ctx.save_for_backward(*given)
        ctx.program, ctx.type = program, phi.dtype
        parts = [program.forward(rows, own, flat) for rows, own, flat in _blocks(*given)]
        whole = parts[0] if len(parts) == 1 else tuple(np.concatenate(each, 1) for each in zip(*parts, strict=True))
        value, tangent = (torch.from_numpy(each).view(f.shape) for each in whole)
        return value, tangent

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor, None, None, None]:
        phi, f, leaves = ctx.saved_tensors
        flat_bars = [bar.reshape(len(bar), -1).numpy() for bar in bars]
        gradient = np.zeros(phi.numel(), phi.numpy().dtype)
        for number, (rows, own, flat) in enumerate(_blocks(phi, f, leaves)):
            part = slice(number * BLOCK, (number + 1) * BLOCK)
            gradient += ctx.program.backward(rows, own, flat, *(bar[:, part] for bar in flat_bars))
        return torch.from_numpy(gradient).view(phi.shape).to(ctx.type), None, None, None


def _blocks(phi: Tensor, f: Tensor, leaves: Tensor) -> Iterator[tuple[Array, Array, Array]]:
    """Leaves, f and φ, piece by piece; what overflows in one lane is no error."""
    flat = phi.reshape(-1).numpy()
    with np.errstate(all="ignore"):
        for start in range(0, max(f.shape[1], 1), BLOCK):
            yield leaves[:, start : start + BLOCK].numpy(), f[:, start : start + BLOCK].numpy(), flat
