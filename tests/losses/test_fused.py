"""Formulas as one kernel against `Levels`, tables against the compiled formulas; kernels by Triton's interpreter."""

import os
import random
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from evomal.expressions import OPERATORS, finished, parse, ramped_half_and_half
from evomal.losses.batched_families import stack
from evomal.losses.compiled import compile_expression
from evomal.losses.fused_formulas import EVERYTHING, SLOT, SOURCES, can_fuse, instructions
from evomal.losses.symbolic import SymbolicLoss

NAMES = list(OPERATORS)


def _trees(count=30):
    draw = random.Random(1)
    return [finished(tree, tree, draw, 10) for tree in ramped_half_and_half(draw, count)]


def _run(rows, y, f, phi):
    """What the table says, step by step."""
    leaves = {SOURCES["y"]: y, SOURCES["f"]: f, SOURCES["1"]: torch.ones_like(f), SOURCES["-1"]: -torch.ones_like(f)}
    results = []
    for code, *arguments in rows:
        operator = OPERATORS[NAMES[code]]
        taken = [arguments[5 * k : 5 * k + 3] for k in range(operator.arity)]
        values = [phi[edge] * (results[slot] if source == SLOT else leaves[source]) for source, slot, edge in taken]
        results.append(operator.torch(*values))
    return results[-1]


@pytest.mark.parametrize("tree", [*_trees(), *map(parse, EVERYTHING)], ids=str)
def test_a_table_computes_its_formula(tree):
    draw = torch.Generator().manual_seed(0)
    y, f = torch.rand(2, 5, generator=draw, dtype=torch.float64)
    phi = torch.rand(tree.edges, generator=draw, dtype=torch.float64)
    expected = compile_expression(tree)(y, f, phi).expand_as(f)
    torch.testing.assert_close(_run(instructions(tree), y, f, phi), expected)


def test_each_operator_is_in_the_formulas_that_kernels_are_tried_with():
    assert {node.symbol for text in EVERYTHING for node in parse(text).preorder() if node.children} == set(OPERATORS)


def test_what_moves_and_what_gradients_reach():
    """Source, slot, edge, moves, live: nothing below a sign is reached, and it moves nothing above."""
    assert instructions(parse("add(sign(sub(f, y)), f)")) == [
        [NAMES.index("sub"), 2, 0, 2, 1, 0, 1, 0, 3, 0, 0],
        [NAMES.index("sign"), 0, 0, 1, 1, 0, 3, 0, 0, 0, 0],
        [NAMES.index("add"), 0, 1, 0, 0, 1, 2, 0, 4, 1, 1],
    ]


def test_without_triton_there_are_levels():
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("kernels are interpreted here")
    assert not can_fuse(torch.device("cpu"))


CASES = """
import torch, warnings
warnings.simplefilter("ignore")
from evomal.losses import SymbolicLoss, formula_kernels
from evomal.losses.batched_families import stack
from evomal.losses.fused_formulas import COLUMNS, EVERYTHING, SOURCES, fusing
from evomal.expressions import OPERATORS

assert [getattr(formula_kernels, name.upper()).value for name in OPERATORS] == list(range(len(OPERATORS)))
assert formula_kernels.COLUMNS.value == COLUMNS
assert [formula_kernels.Y.value, formula_kernels.F.value, formula_kernels.ONE.value] == list(SOURCES.values())[:3]

def compare(losses, outputs, targets):
    found = []
    for allowed in (False, True):
        with fusing(allowed):
            stacked = stack(losses)
        assert (stacked._fused is not None) == allowed
        phi = stacked.coefficients().requires_grad_()
        values, slopes = stacked.slopes(outputs, targets, phi, create_graph=True)
        u = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(3), dtype=outputs.dtype)
        found.append((values, slopes.detach(), stacked.slope_gradients(slopes, u, phi)))
        plain = stacked.slopes(outputs, targets, phi)
        assert not plain[1].requires_grad and torch.equal(plain[1], found[-1][1])
    for ours, theirs in zip(*found):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)

torch.set_default_dtype(torch.float64)
for options in ({}, {"output_activation": "softplus", "scale": 2.5}, {"reduction": "sum"}):
    losses = [SymbolicLoss(text, task_type="classification", **options) for text in EVERYTHING]
    for number, loss in enumerate(losses):
        with torch.no_grad():
            loss.weights += 0.2 * torch.randn(loss.weights.shape, generator=torch.Generator().manual_seed(number))
    labels = torch.arange(9) % 5
    labels[2] = -100
    outputs = torch.randn(len(losses), 9, 5, generator=torch.Generator().manual_seed(0))
    compare(losses, outputs, labels)
draw = torch.Generator().manual_seed(0)
losses = [SymbolicLoss(text, task_type="classification", ignore_index=None) for text in EVERYTHING]
count = len(losses)
compare(losses, torch.randn(count, 9, generator=draw), torch.arange(9) % 2)
compare(losses, torch.randn(count, 9, 1, generator=draw), torch.arange(9).unsqueeze(1) % 2)
compare(losses, torch.randn(count, 4, 3, 2, 2, generator=draw), torch.arange(16).reshape(4, 2, 2) % 3)
losses = [SymbolicLoss(text, task_type="regression") for text in EVERYTHING]
compare(losses, torch.randn(count, 300, 2, generator=draw), torch.randn(300, 2, generator=draw))
compare(losses, torch.randn(count, 9, generator=draw), torch.randn(9, generator=draw))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not here")
def test_kernels_do_what_levels_do():
    """Values, slopes and their derivatives in φ: every operator, ignored labels, one logit, further dimensions."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CASES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_loss_of_formulas_is_made_of_levels_where_nothing_else_is_there():
    both = stack([SymbolicLoss(text, task_type="regression") for text in EVERYTHING[:2]])
    outputs = torch.tensor([[0.5, 2.0], [0.5, 2.0]])
    values, slopes = both.slopes(outputs, torch.tensor([1.0, 1.0]), both.coefficients())
    assert values.shape == (2,)
    assert slopes[1].tolist() == pytest.approx([-0.5, 1.0])
