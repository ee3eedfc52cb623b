import random

import pytest
import sympy
import torch

from evomal.expressions import Expression, evaluate, grow, parse, to_sympy
from evomal.losses.compiled import compile_expression


def _phi(edges, seed, dtype=torch.float64):
    return torch.randn(edges, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_reference_to_the_bit_for_random_trees(dtype):
    rng = random.Random(1)
    y, f = _phi(7, 0, dtype), _phi(7, 1, dtype)
    for number in range(200):
        tree = grow(rng, 1, 6)
        phi = _phi(tree.edges, number, dtype)
        computed, expected = compile_expression(tree)(y, f, phi), evaluate(tree, y, f, phi)
        torch.testing.assert_close(computed, expected, rtol=0, atol=0, equal_nan=True, msg=str(tree))
        assert computed.dtype == dtype


def test_equals_sympy_for_random_trees():
    rng = random.Random(2)
    compared = 0
    for number in range(60):
        tree = grow(rng, 1, 4)
        phi = _phi(tree.edges, number)
        y, f = rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5)
        values = [torch.tensor(value, dtype=torch.float64) for value in (y, f)]
        computed = float(compile_expression(tree)(*values, phi))
        exact = to_sympy(tree, phi.tolist()).subs({sympy.Symbol(n, real=True): v for n, v in (("y", y), ("f", f))})
        if abs(computed) < 1e100:
            assert computed == pytest.approx(float(exact), rel=1e-9, abs=1e-12), tree
            compared += 1
    assert compared > 50


def test_weights_are_taken_in_preorder_of_the_child():
    # Every number is exact in binary. By hand: 2·(3y · 5f) - 7·(11f)², and no weight on the root.
    function = compile_expression(parse("sub(mul(y, f), square(f))"))
    y, f, phi = torch.tensor(0.5), torch.tensor(0.25), torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0])
    assert function(y, f, phi).item() == 2 * (3 * 0.5 * 5 * 0.25) - 7 * (11 * 0.25) ** 2 == -49.1875


def test_the_root_has_no_weight():
    tree = parse("abs(mul(y, f))")
    assert tree.edges == 3
    y, f = torch.tensor(-2.0), torch.tensor(3.0)
    assert compile_expression(tree)(y, f, torch.ones(3)).item() == 6.0
    phi = torch.tensor([5.0, 1.0, 1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(compile_expression(tree)(y, f, phi), phi)
    assert gradient.tolist() == [6.0, 30.0, 30.0]


@pytest.mark.parametrize("leaf", ["y", "f"])
def test_a_lone_leaf_is_itself(leaf):
    y, f = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    computed = compile_expression(Expression(leaf))(y, f, torch.ones(0))
    assert torch.equal(computed, {"y": y, "f": f}[leaf])


def test_weights_on_constants_are_the_constants_to_the_bit():
    y, f = torch.tensor([0.0, 1.0]), torch.tensor([0.25, 0.75])
    phi = torch.tensor([1.0, 1.0, 0.1, 0.3])
    one = compile_expression(parse("add(mul(y, f), 1)"))(y, f, phi)
    assert torch.equal(one, y * (0.1 * f) + 0.3)
    minus = compile_expression(parse("add(mul(y, f), -1)"))(y, f, phi)
    assert torch.equal(minus, y * (0.1 * f) - 0.3)


def test_shapes_broadcast_and_a_constant_keeps_no_shape():
    y, f = torch.zeros(3, 1), torch.ones(1, 4)
    assert compile_expression(parse("add(y, f)"))(y, f, torch.ones(2)).shape == (3, 4)
    assert compile_expression(parse("add(1, -1)"))(y, f, torch.tensor([5.0, 2.0])).item() == 3.0


def test_equal_expressions_share_one_function():
    assert compile_expression(parse("square(sub(y, f))")) is compile_expression(parse("square( sub(y,f) )"))


def test_a_tree_of_a_thousand_nodes():
    leaves = [Expression(name) for name in ("y", "f") * 250]
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=False)
        leaves = [Expression("add", pair) for pair in pairs] + leaves[len(leaves) // 2 * 2 :]
    tree = leaves[0]
    assert tree.size == 999
    y, f = torch.tensor(1.0), torch.tensor(2.0)
    assert compile_expression(tree)(y, f, torch.ones(998)).item() == 250 * 1.0 + 250 * 2.0
