"""Linearisation shared by all candidates of a generation: traced once, its primal part run once per meta step.

Initialisation and batches are common to all candidates (D3), so f_θ0(X), its graph and its linearisation are too. The
forward-mode program of the model is traced into one graph and cut in two: the primal part (predictions and what the
derivative needs, once per meta step) and the tangent part (Jv, once per candidate).
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.autograd import forward_ad, grad
from torch.fx.experimental.proxy_tensor import make_fx

from evomal.foundation.seeds import random_state, set_random_state
from evomal.local_search.functional import FunctionalModel
from evomal.local_search.one_step import Linearisation, adjoint, linearise
from evomal.local_search.replay import Replay


class TracedLinearisation:
    """Linearises a model on batches of one shape; built by `trace_linearisation`.

    Args:
        primal: (θ, frozen parameters and buffers, X) → predictions and the intermediate values of the tangent part.
        tangent: (intermediate values, tangents) → Jv.
    """

    def __init__(
        self,
        primal: Callable[..., Sequence[Tensor]],
        tangent: Callable[..., Tensor],
    ) -> None:
        self._primal = primal
        self._tangent = tangent

    def __call__(self, model: FunctionalModel, x: Tensor) -> Linearisation:
        """Predictions of the model for x and their derivatives in both directions."""
        parameters = model.parameters
        # Run under autograd, the primal part's own graph serves vjp: one forward pass, one dropout mask.
        outputs, *between = self._primal(*parameters, *model.fresh(), x)
        constants = [b.detach() for b in between]

        def vjp(cotangent: Tensor) -> Sequence[Tensor]:
            return grad(outputs, parameters, cotangent, retain_graph=True, materialize_grads=True)

        def jvp(tangents: Sequence[Tensor]) -> Tensor:
            with torch.no_grad():
                return self._tangent(*constants, *tangents)

        return Linearisation(outputs.detach(), vjp, jvp)


def trace_linearisation(
    model: FunctionalModel, x: Tensor, other: FunctionalModel | None = None
) -> TracedLinearisation | None:
    """Trace the forward-mode program of a model for inputs of x's shape.

    Args:
        model: The model; the values of its parameters and buffers do not enter the program.
        x: Inputs [B, ...].
        other: The model with another initialisation, to compare the program on; None takes `model` itself.

    Returns:
        The program, or None where the model's operations have no forward mode, branch on values, write in place in
        a way that cutting the program in two would disturb, or use random tensors that are no buffers. Every
        program is compared once with `evomal.local_search.one_step.linearise` before it is trusted.
    """
    count, extra = len(model.parameters), len(model.fixed)

    def program(*values: Tensor) -> tuple[Tensor, Tensor]:
        parameters, rest, tangents = values[:count], values[count : count + extra + 1], values[-count:]
        with forward_ad.dual_level(), Replay():
            duals = [forward_ad.make_dual(p, t) for p, t in zip(parameters, tangents, strict=True)]
            primal, tangent = forward_ad.unpack_dual(model(duals, rest[-1], rest[:-1]))
        return primal, torch.zeros_like(primal) if tangent is None else tangent

    device, state = x.device, random_state(x.device)
    direction = [torch.randn(p.shape, generator=torch.Generator().manual_seed(0)).to(p) for p in model.parameters]
    inputs = [p.detach() for p in model.parameters] + list(model.fresh()) + [x]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch deprecates inside itself
            graph = _without_checks(make_fx(program)(*inputs, *direction).graph)
        traced = TracedLinearisation(*_cut(graph, tangents=count))
        set_random_state(state, device)
        ours = traced(other or model, x)
        set_random_state(state, device)
        reference = linearise(other or model, x, keep=True)
        if _agree(ours, reference, direction) and adjoint(reference):
            return traced
    except Exception:  # whatever an operation does while traced, the untraced way remains
        return None
    finally:
        set_random_state(state, device)
    return None


def _without_checks(graph: fx.Graph) -> fx.Graph:
    """Leave out what forward mode adds: questions about sizes, answered while tracing, and other names for values."""
    questions = (torch.ops.aten.is_same_size.default, torch.ops.aten._has_same_storage_numel.default)
    for node in reversed(list(graph.nodes)):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target in questions and not node.users:
            graph.erase_node(node)
    return graph


def _cut(graph: fx.Graph, tangents: int) -> tuple[Callable[..., Sequence[Tensor]], Callable[..., Tensor]]:
    """Cut a traced program at the first dependence on the tangents, its last `tangents` inputs."""
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    moving = set(inputs[-tangents:])
    for node in graph.nodes:
        if any(argument in moving for argument in node.all_input_nodes):
            moving.add(node)
    (output,) = (node for node in graph.nodes if node.op == "output")
    predictions, derivative = output.args[0]
    fixed = [n for n in graph.nodes if n not in moving and n.op not in ("placeholder", "output")]
    needed = {a for node in moving if node is not output for a in node.all_input_nodes if a not in moving}
    if derivative not in moving:  # a tangent that is the same whatever the direction: zero
        needed.add(derivative)
    crossing = [n for n in graph.nodes if n in needed]
    primal = _part(graph, inputs[:-tangents], fixed, (predictions, *crossing))
    later = [n for n in graph.nodes if n in moving and n.op not in ("placeholder", "output")]
    return primal, _part(graph, [*crossing, *inputs[-tangents:]], later, derivative)


def _part(
    whole: fx.Graph,
    inputs: Sequence[fx.Node],
    nodes: Sequence[fx.Node],
    result: fx.Node | tuple[fx.Node, ...],
) -> Callable[..., Any]:
    """Code of some nodes of a traced program, as a function of `inputs`."""
    part = fx.Graph()
    values = {node: part.placeholder(f"value_{i}") for i, node in enumerate(inputs)}
    for node in nodes:
        values[node] = part.node_copy(node, values.__getitem__)
    part.output(fx.map_arg(result, values.__getitem__))
    constants = whole.owning_module or torch.nn.Module()
    return fx.GraphModule(constants, part).forward


def _agree(ours: Linearisation, reference: Linearisation, direction: Sequence[Tensor]) -> bool:
    cotangent = torch.ones_like(ours.outputs)
    pairs = [
        (ours.outputs, reference.outputs),
        (ours.jvp(direction), reference.jvp(direction)),
        *zip(ours.vjp(cotangent), reference.vjp(cotangent), strict=True),
    ]
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()) + 1e-7) for a, b in pairs)
