"""Expression → straight-line tensor code, built once per formula."""

import operator
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, fx

from evomal.expressions import OPERATORS, Expression

LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@lru_cache(maxsize=1024)
def compile_expression(expression: Expression) -> LossFunction:
    """A function ``(y, f, φ) -> values`` that computes the expression with an edge weight on every edge.

    The value of a node is its operator applied to its children, each times the weight of its edge (the meta-loss
    network of Section 3.2); the root's value is not weighted. The code is assembled as a `torch.fx` graph from the
    operator table, never from text, so calling it walks no tree. Weights on constants are folded: 1·w is w, -1·w is -w.

    Args:
        expression: The formula.

    Returns:
        A function of y and f (any shapes that broadcast, same dtype) and φ (shape [edges], same dtype), giving the
        broadcast shape. Autograd of any order, forward mode and `torch.func` pass through it.

    Example:
        >>> from evomal.expressions import parse
        >>> square = compile_expression(parse("square(sub(y, f))"))
        >>> square(torch.tensor([1.0]), torch.tensor([0.5]), torch.ones(3))
        tensor([0.2500])
    """
    graph = fx.Graph()
    inputs = {name: graph.placeholder(name) for name in ("y", "f")}
    weights = graph.call_method("unbind", (graph.placeholder("phi"),))
    edge = iter(range(expression.edges))

    def value(node: Expression) -> fx.Node:
        return graph.call_function(OPERATORS[node.symbol].torch, tuple(weighted(c) for c in node.children))

    def weighted(child: Expression) -> fx.Node:
        # The edge's number is taken before descending: φ is in pre-order of the child node.
        weight = graph.call_function(operator.getitem, (weights, next(edge)))
        if child.symbol == "1":
            return weight
        if child.symbol == "-1":
            return graph.call_function(torch.neg, (weight,))
        inner = inputs[child.symbol] if child.symbol in inputs else value(child)
        return graph.call_function(torch.mul, (weight, inner))

    leaves: dict[str, fx.Node | float] = {**inputs, "1": 1.0, "-1": -1.0}
    graph.output(value(expression) if expression.children else leaves[expression.symbol])
    function: LossFunction = fx.GraphModule(torch.nn.Module(), graph).forward
    return function
