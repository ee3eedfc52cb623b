"""The operator table against SymPy, finite differences and the promise that nothing finite breaks it (D1)."""

import random

import pytest
import sympy
import torch

from evomal.expressions import EPSILON, OPERATORS, Operator, evaluate, grow, parse, repair, to_sympy
from evomal.foundation.errors import ExpressionError

by_name = pytest.mark.parametrize("operator", OPERATORS.values(), ids=list(OPERATORS))
EXTREMES = [0.0, 1e-45, 1e-30, 1e-7, 0.5, 1.0, 3.0, 1e10, 1e20, 3e38]


def _arguments(operator: Operator, *, dtype: torch.dtype = torch.float64, count: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(operator.arity, count, generator=generator, dtype=torch.float64).to(dtype)
    return [row.clone().requires_grad_() for row in drawn]


def test_the_table_is_the_paper_s() -> None:
    names = ["add", "sub", "mul", "div", "min", "max", "sign", "square", "abs", "log", "sqrt", "tanh"]
    assert list(OPERATORS) == names
    assert [name for name in names if OPERATORS[name].arity == 2] == names[:6]
    assert [name for name in names if OPERATORS[name].commutative] == ["add", "mul", "min", "max"]
    assert all(operator.name == name for name, operator in OPERATORS.items())


@by_name
def test_values_agree_with_sympy(operator: Operator) -> None:
    arguments = _arguments(operator)
    value = operator.torch(*arguments)
    for column in range(5):
        numbers = [sympy.Float(row[column].item()) for row in arguments]
        expected = operator.sympy(sympy, sympy.Float(EPSILON), *numbers)
        assert value[column].item() == pytest.approx(float(expected), rel=1e-14)


@by_name
def test_derivatives_agree_with_finite_differences(operator: Operator) -> None:
    arguments = _arguments(operator)
    assert torch.autograd.gradcheck(
        operator.torch,
        arguments,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert torch.autograd.gradgradcheck(operator.torch, arguments, check_fwd_over_rev=True)


@by_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constants_may_be_0_dimensional(operator: Operator, dtype: torch.dtype) -> None:
    first, *rest = _arguments(operator, dtype=dtype)
    constant = torch.ones((), dtype=dtype)
    for arguments in ([first, *[constant] * len(rest)], [*[constant] * len(rest), first]):
        value = operator.torch(*arguments)
        assert value.shape == first.shape
        assert value.dtype == dtype
    batched = torch.func.vmap(lambda x: operator.torch(x, *[constant] * len(rest)))(first)
    torch.testing.assert_close(batched, operator.torch(first, *[constant] * len(rest)), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["div", "min", "max", "sign", "abs", "log", "sqrt", "tanh"])
def test_nothing_finite_breaks_an_operator_in_float32(name: str) -> None:
    operator = OPERATORS[name]
    ends = torch.tensor(EXTREMES + [-x for x in EXTREMES])
    columns = torch.cartesian_prod(*[ends] * operator.arity).reshape(-1, operator.arity).T
    arguments = [column.clone().requires_grad_() for column in columns]
    value = operator.torch(*arguments)
    gradients = torch.autograd.grad(value.sum(), arguments, create_graph=True)
    tangents = tuple(torch.ones_like(argument) for argument in arguments)
    _, forward = torch.func.jvp(operator.torch, tuple(a.detach() for a in arguments), tangents)
    assert all(torch.isfinite(tensor).all() for tensor in (value, forward, *gradients))


def test_sign_has_no_gradient_and_division_no_pole() -> None:
    f = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    assert torch.autograd.grad(OPERATORS["sign"].torch(f).sum(), f)[0].tolist() == [0, 0, 0]
    assert OPERATORS["div"].torch(torch.tensor(3.0), torch.tensor(0.0)).item() == 3.0


def test_random_trees_agree_with_sympy() -> None:
    rng = random.Random(5)
    for _ in range(60):
        tree = repair(grow(rng, 1, 4), rng)
        weights = [rng.gauss(1, 0.3) for _ in range(tree.edges)]
        y, f = rng.uniform(-2, 2), rng.uniform(-2, 2)
        formula = to_sympy(tree, weights)
        values = {symbol: {"y": y, "f": f}[symbol.name] for symbol in formula.free_symbols}
        expected = float(formula.evalf(30, subs=values))
        value = evaluate(tree, torch.tensor(y, dtype=torch.float64), torch.tensor(f, dtype=torch.float64), weights)
        assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-9), str(tree)


def test_without_weights_every_weight_is_one() -> None:
    tree = parse("div(square(sub(y, f)), log(add(f, -1)))")
    y, f = torch.rand(3, 4), torch.rand(3, 4)
    torch.testing.assert_close(evaluate(tree, y, f), evaluate(tree, y, f, [1.0] * tree.edges), rtol=0, atol=0)


def test_weights_multiply_edges_in_preorder_and_nothing_multiplies_the_root() -> None:
    y, f = torch.tensor([3.0]), torch.tensor([5.0])
    value = evaluate(parse("sub(square(y), mul(f, 1))"), y, f, torch.tensor([2.0, 7.0, 11.0, 13.0, 17.0]))
    assert value.item() == 2 * (7 * 3) ** 2 - 11 * (13 * 5) * (17 * 1)
    with pytest.raises(ExpressionError, match=r"'abs\(f\)' has 1 edges and needs as many weights.*; got 2"):
        evaluate(parse("abs(f)"), y, f, [1.0, 1.0])


def test_random_trees_are_closed_in_float32() -> None:
    rng = random.Random(11)
    generator = torch.Generator().manual_seed(0)
    y = torch.cat([torch.tensor([0.0, 1.0, 0.0, 1.0, -1.0]), 3 * torch.randn(20, generator=generator)])
    f = torch.cat([torch.tensor([0.0, 0.0, 1.0, 1.0, -1.0]), 3 * torch.randn(20, generator=generator)])
    f.requires_grad_()
    for _ in range(300):
        tree = repair(grow(rng, 1, 4), rng)
        weights = torch.tensor([rng.gauss(1, 1e-3) for _ in range(tree.edges)], requires_grad=True)
        value = evaluate(tree, y, f, weights)
        gradients = torch.autograd.grad(value.sum(), (f, weights), materialize_grads=True)
        assert all(torch.isfinite(tensor).all() for tensor in (value, *gradients)), str(tree)


def test_trees_without_gradient_have_none_for_any_weights() -> None:
    rng = random.Random(2)
    seen = set()
    for _ in range(200):
        tree = repair(grow(rng, 1, 3), rng)
        y, f = (
            torch.rand(16, dtype=torch.float64) + 0.1,
            torch.rand(16, dtype=torch.float64, requires_grad=True),
        )
        weights = [rng.gauss(1, 2) for _ in range(tree.edges)]
        (gradient,) = torch.autograd.grad(evaluate(tree, y, f, weights).sum(), f)
        seen.add(tree.has_gradient)
        assert tree.has_gradient or not gradient.any(), str(tree)
    assert seen == {True, False}
