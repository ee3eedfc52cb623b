"""Expression → straight-line tensor code, built once per formula."""

import operator
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, fx

from evomal.expressions import OPERATORS, TERMINALS, Expression
from evomal.expressions.operators import edition

FormulaFunction = Callable[..., Tensor]
DualFunction = Callable[..., tuple[Tensor, Tensor | None]]

KEPT = 256  # programs of each kind: some generations' worth


def compile_expression(expression: Expression) -> FormulaFunction:
    """A function ``(y, f, φ) -> values`` that computes the expression with an edge weight on every edge.

    The value of a node is its operator applied to its children, each times the weight of its edge (the meta-loss
    network of Section 3.2); the root's value is not weighted. The code is assembled as a `torch.fx` graph from the
    operator table, never from text, so calling it walks no tree. Weights on constants are folded: 1·w is w, -1·w is -w.

    Args:
        expression: The formula.

    Returns:
        A function of y and f (any shapes that broadcast, same dtype) and φ (shape [edges], same dtype), giving the
        broadcast shape; and of the formula's `extras` by name, tensors or numbers that broadcast too. Autograd of any
        order, forward mode and `torch.func` pass through it.

    Example:
        >>> from evomal.expressions import parse
        >>> square = compile_expression(parse("square(sub(y, f))"))
        >>> square(torch.tensor([1.0]), torch.tensor([0.5]), torch.ones(3))
        tensor([0.2500])
    """
    return _plain(expression, edition())


def compile_dual(expression: Expression) -> DualFunction:
    """A function ``(y, f, φ, direction) -> (values, tangent)``: the expression, and how it changes along a direction.

    As the expression works class by class, ``tangent`` is ∂T/∂f · direction. It is differentiable in φ, so that
    second derivatives of a loss need one backward pass; for a formula that no gradient reaches it is None.

    Args:
        expression: The formula.

    Returns:
        The function; its code is straight-line like that of `compile_expression`.

    Example:
        >>> from evomal.expressions import parse
        >>> square = compile_dual(parse("square(sub(y, f))"))
        >>> square(torch.tensor([1.0]), torch.tensor([0.5]), torch.ones(3), torch.tensor([1.0]))
        (tensor([0.2500]), tensor([-1.]))
    """
    return _dual(expression, edition())


@lru_cache(maxsize=KEPT)
def _plain(expression: Expression, edition: int) -> FormulaFunction:
    code = _Code(expression)
    code.take_extras(expression)
    code.graph.output(code.value(expression)[0])
    function: FormulaFunction = _function(code.graph)
    return function


@lru_cache(maxsize=KEPT)
def _dual(expression: Expression, edition: int) -> DualFunction:
    code = _Code(expression)
    direction = code.graph.placeholder("direction")
    code.take_extras(expression)
    code.graph.output(code.value(expression, direction))
    function: DualFunction = _function(code.graph)
    return function


def _function(graph: fx.Graph) -> Callable[..., Any]:
    """The code of a graph alone: the graph itself takes twenty times as much memory, and nothing asks for it again."""
    function = type(fx.GraphModule(torch.nn.Module(), graph)).forward
    # fx keeps the text of every function for tracebacks, for good; a search makes thousands.
    getattr(getattr(fx.graph_module, "_loader", None), "eval_cache", {}).pop(function.__code__.co_filename, None)
    return partial(function, None)  # it uses nothing of the module


class _Code:
    """The graph of one expression under construction."""

    def __init__(self, expression: Expression) -> None:
        self.graph = fx.Graph()
        inputs = {name: self.graph.placeholder(name) for name in ("y", "f")}
        self.weights = self.graph.call_method("unbind", (self.graph.placeholder("phi"),))
        self.leaves: dict[str, fx.Node] = {**inputs}
        self.edge = iter(range(expression.edges))

    def take_extras(self, expression: Expression) -> None:
        """Further terminals of the formula are the last arguments, with defaults."""
        for name in expression.extras:
            self.leaves[name] = self.graph.placeholder(name, default_value=TERMINALS[name].default)

    def value(self, node: Expression, direction: fx.Node | None = None) -> "tuple[fx.Node | float, fx.Node | None]":
        """The value of a node and its tangent; None where it does not change along the direction."""
        if not node.children:
            constant = TERMINALS[node.symbol].constant
            return self.leaves[node.symbol] if constant is None else constant, direction if node.symbol == "f" else None
        pairs = [self.weighted(child, direction) for child in node.children]
        values, tangents = tuple(v for v, _ in pairs), tuple(t for _, t in pairs)
        result = self.graph.call_function(OPERATORS[node.symbol].torch, values)
        rule = OPERATORS[node.symbol].tangent
        if rule is None or all(t is None for t in tangents):
            return result, None
        return result, self.graph.call_function(rule, (result, values, tangents))

    def weighted(self, child: Expression, direction: fx.Node | None) -> tuple[fx.Node, fx.Node | None]:
        """A child times the weight of its edge."""
        # The edge's number is taken before descending: φ is in pre-order of the child node.
        weight = self.graph.call_function(operator.getitem, (self.weights, next(self.edge)))
        if child.symbol == "1":
            return weight, None
        if child.symbol == "-1":
            return self.graph.call_function(torch.neg, (weight,)), None
        inner, tangent = self.value(child, direction)
        moved = None if tangent is None else self.graph.call_function(torch.mul, (weight, tangent))
        return self.graph.call_function(torch.mul, (weight, inner)), moved
