"""Many expressions as one kernel on a GPU: the same numbers as `Levels`, by two launches instead of hundreds.

What the kernels read is a table, so that other formulas need no other code: nothing is compiled during a search.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from evomal.expressions import OPERATORS, TABLE_1, Expression, parse
from evomal.foundation.contexts import Switch

CODES = {name: code for code, name in enumerate(TABLE_1)}
SLOT, SOURCES = 0, {"y": 1, "f": 2, "1": 3, "-1": 4}
COLUMNS = 11
"""Operator; then for each argument: source, slot, edge, whether it moves with f, whether gradients reach it."""
BLOCK = 256  # elements that one program instance works on
ROOM = 16  # slots and edges come in multiples, so that kernels need not be built anew for every generation

Row = list[int]

fusing = Switch()
"""Whether formulas are one kernel where Triton is there."""


def can_fuse(device: torch.device) -> bool:
    """Whether formulas on a device may be one kernel: there is Triton, and it does there what `Levels` does."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    possible = (device.type == "cuda" or interpreted) and find_spec("triton") is not None
    return fusing.on and possible and _faithful(device)


def in_table(expression: Expression) -> bool:
    """Whether the kernels know everything in a formula: the operators and terminals of the paper.

    Example:
        >>> in_table(parse("mul(y, log(f))")), in_table(parse("mul(prior, mul(y, log(f)))"))
        (True, False)
    """
    return all(node.symbol in (CODES if node.children else SOURCES) for node in expression.preorder())


class FusedFormulas:
    """Expressions of all lanes with their derivative along f.

    Args:
        expressions: A formula for each lane; the root of each is an operator.
        device: Where it is computed.

    Attributes:
        lanes: Number of formulas.
        slots: Instructions that each lane has room for.
    """

    def __init__(self, expressions: Sequence[Expression], device: torch.device) -> None:
        programs = [instructions(expression) for expression in expressions]
        self.lanes = len(programs)
        self.slots = -(-max(map(len, programs)) // ROOM) * ROOM
        table = torch.zeros(self.lanes, self.slots, COLUMNS, dtype=torch.int32)
        for lane, rows in enumerate(programs):
            table[lane, : len(rows)] = torch.tensor(rows, dtype=torch.int32)
        self.code = table.to(device)
        self.counts = torch.tensor([len(rows) for rows in programs], dtype=torch.int32, device=device)

    def __call__(self, y: Tensor, f: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Values and tangents ∂T/∂f of every lane's expression, [N, B, C, ...] each; both have a graph to φ alone.

        Args:
            y: Targets [B, C, ...] of all lanes.
            f: Predictions [N, B, C, ...], outside any graph.
            phi: Coefficients [N, width], of the same dtype as f or not.
        """
        found: tuple[Tensor, Tensor] = _Dual.apply(  # type: ignore[no-untyped-call]
            y.contiguous(), f.contiguous(), phi.to(f.dtype).contiguous(), self
        )
        return found


def instructions(expression: Expression) -> list[Row]:
    """A formula as rows of the table, arguments before what they are arguments of.

    Example:
        >>> instructions(parse("square(sub(y, f))"))
        [[1, 1, 0, 1, 0, 1, 2, 0, 2, 1, 1], [7, 0, 0, 0, 1, 1, 3, 0, 0, 0, 0]]
    """
    rows: list[Row] = []

    def lay(node: Expression, edge: int, live: bool) -> Row:
        """Lay out a node; gives source, slot, edge, moving and live, as whoever takes it notes them."""
        if not node.children:
            return [SOURCES[node.symbol], 0, edge, int(node.symbol == "f"), int(live)]
        below, following = [], edge + 1
        reached = live and OPERATORS[node.symbol].tangent is not None
        for child in node.children:
            below.append(lay(child, following, reached))
            following += child.size
        moving = reached_by_f(node)
        unused = [SOURCES["1"], 0, 0, 0, 0]
        rows.append([CODES[node.symbol], *below[0], *(below[1] if len(below) > 1 else unused)])
        return [SLOT, len(rows) - 1, edge, int(moving), int(live)]

    lay(expression, -1, True)
    return rows


def reached_by_f(node: Expression) -> bool:
    """Whether a node changes with f."""
    if not node.children:
        return node.symbol == "f"
    return OPERATORS[node.symbol].tangent is not None and any(map(reached_by_f, node.children))


class _Dual(torch.autograd.Function):
    """(y, f, φ) → values and tangents; differentiable in φ, once."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, f: Tensor, phi: Tensor, formulas: FusedFormulas) -> tuple[Tensor, Tensor]:
        from evomal.losses import formula_kernels

        values, tangents = (f.new_empty(formulas.lanes, formulas.slots, y.numel()) for _ in range(2))
        value, tangent = torch.empty_like(f), torch.empty_like(f)
        given = (y, f, phi, formulas.code, formulas.counts, values, tangents)
        formula_kernels.forward[_grid(formulas, y)](
            *given, value, tangent, y.numel(), formulas.slots, phi.shape[1], BLOCK=BLOCK
        )
        ctx.save_for_backward(*given)
        ctx.formulas = formulas
        return value, tangent

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> tuple[None, None, Tensor, None]:
        from evomal.losses import formula_kernels

        given, formulas = ctx.saved_tensors, ctx.formulas
        y, phi, values = given[0], given[2], given[5]
        grid = _grid(formulas, y)
        parts = phi.new_zeros(formulas.lanes, grid[1], phi.shape[1])
        formula_kernels.backward[grid](
            *given, *(bar.contiguous() for bar in bars), torch.empty_like(values), torch.empty_like(values), parts,
            y.numel(), formulas.slots, phi.shape[1], BLOCK=BLOCK,
        )  # fmt: skip
        return None, None, parts.sum(1), None


def _grid(formulas: FusedFormulas, y: Tensor) -> tuple[int, int]:
    return formulas.lanes, -(-y.numel() // BLOCK)


EVERYTHING = (
    "mul(y, log(f))", "square(sub(y, f))", "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))", "abs(sub(sqrt(f), y))",
    "div(min(f, y), max(f, sub(y, -1)))", "add(sign(sub(f, y)), div(f, add(y, f)))", "tanh(div(y, sqrt(mul(f, f))))",
)  # fmt: skip
"""Formulas that hold every operator."""


@lru_cache(maxsize=8)
def _faithful(device: torch.device) -> bool:
    """Whether values, tangents and the tangents' derivatives in φ are those of `Levels`; not where anything fails."""
    from evomal.losses.batched_formulas import Levels

    try:
        trees = [parse(text) for text in EVERYTHING]
        draw = torch.Generator().manual_seed(0)
        levels, fused = Levels(trees, device), FusedFormulas(trees, device)
        y = torch.rand(30, 10, generator=draw).to(device)
        f = torch.rand(len(trees), 30, 10, generator=draw).to(device)
        phi = (0.5 + torch.rand(len(trees), levels.width, generator=draw)).to(device).requires_grad_()
        with torch.enable_grad():
            leaf = f.clone().requires_grad_()
            value = levels(y, leaf, phi)
            (tangent,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
            expected = [value, tangent, *torch.autograd.grad((tangent * f).sum(), phi)]
            value, tangent = fused(y, f, phi)
            found = [value, tangent, *torch.autograd.grad((tangent * f).sum(), phi)]
        return all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(found, expected, strict=True))
    except Exception:  # whatever Triton cannot do here, PyTorch can
        return False
