"""Networks of linear layers and element-wise functions, one after the other: many of them at once by a few products.

`torch.vmap` makes of a first layer, whose inputs are the same in every lane, a product for each lane; here it is one,
``[N·units, features] @ [features, B]``. Values lie as [N, units, B], so that products of later layers need no copies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.autograd.function import once_differentiable
from torch.nn import functional

from evomal.losses.untouched import untouched
from evomal.tasks.models import MLP, Linear

ELEMENTWISE: dict[type[nn.Module], Callable[[Tensor], Tensor] | None] = {
    nn.ReLU: torch.relu_, nn.Tanh: torch.tanh_, nn.Sigmoid: torch.sigmoid_, nn.Identity: None, nn.Dropout: None,
    nn.LeakyReLU: None, nn.ELU: None, nn.SELU: None, nn.CELU: None, nn.GELU: None, nn.SiLU: None, nn.Mish: None,
    nn.Softplus: None, nn.Softsign: None, nn.ReLU6: None, nn.Hardtanh: None, nn.Hardswish: None, nn.Hardsigmoid: None,
}  # fmt: skip
"""Layers that compute number by number, with what computes the same in place where there is that."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A linear layer and what follows it up to the next one."""

    layer: nn.Linear
    following: tuple[nn.Module, ...]

    @property
    def kind(self) -> tuple[type[nn.Module], ...]:
        return tuple(type(layer) for layer in self.following)


class LinearChain:
    """A chain of linear layers, called with the parameters of many lanes.

    Its tensors are those of `evomal.training.batched_model`: parameters [N, ...] in the order of
    ``model.parameters()``, inputs [B, ...] of all lanes, outputs [N, B, C].

    Args:
        model: The network, which `recognised` knows.
        before: Layers before the first linear one, which compute the same in all lanes.
        stages: The others.
    """

    def __init__(self, model: nn.Module, before: Sequence[nn.Module], stages: Sequence[_Stage]) -> None:
        self.model, self._before, self.stages = model, tuple(before), tuple(stages)
        self._type, self._features = stages[0].layer.weight.dtype, stages[0].layer.in_features
        self._back = all(stage.kind in BACK for stage in stages)

    def suits(self, x: Tensor) -> bool:
        """Whether inputs are rows of features as the first layer takes them, on a CPU, in the weights' precision."""
        flat = x.dim() == 2 or (x.dim() > 2 and any(type(layer) is nn.Flatten for layer in self._before))
        fits = flat and len(x) > 0 and x[0].numel() == self._features and x.dtype == self._type
        return fits and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def __call__(self, parameters: Sequence[Tensor], x: Tensor, twice: bool = False) -> Tensor:
        """The outputs of all lanes; `twice`: differentiable more than once."""
        h = self._inputs(x).t()
        if self._back and not twice:
            outputs: Tensor = _Passes.apply(h, self, *parameters)  # type: ignore[no-untyped-call]
            return outputs
        for stage, weight, bias in self.pairs(parameters):
            h = _product(weight, bias, h)
            for following in stage.following:
                h = _followed(following, h)
        return h.transpose(1, 2).contiguous()

    def pairs(self, parameters: Sequence[Tensor]) -> "Iterator[tuple[_Stage, Tensor, Tensor | None]]":
        """Each stage with its weight and bias."""
        own = iter(parameters)
        for stage in self.stages:
            yield stage, next(own), None if stage.layer.bias is None else next(own)

    def linearised(self, x: Tensor) -> "Linearised":
        """The outputs [B, C] at the module's own parameters, and what is needed to go back and forward from there."""
        with torch.no_grad():
            h = self._inputs(x).t().contiguous()
        inputs: list[Tensor] = []
        slopes: list[Tensor | None] = []
        for stage in self.stages:
            inputs.append(h)
            layer = stage.layer
            with torch.no_grad():
                h = layer.weight @ h if layer.bias is None else torch.addmm(layer.bias.unsqueeze(1), layer.weight, h)
            slopes.append(None)
            if stage.following:
                with torch.enable_grad():
                    leaf = h.requires_grad_()
                    h = leaf.clone()
                    for following in stage.following:
                        h = _followed(following, h)
                    (slopes[-1],) = grad(h.sum(), leaf)
                h = h.detach()
        return Linearised(h.t().contiguous(), [stage.layer for stage in self.stages], inputs, slopes)

    def _inputs(self, x: Tensor) -> Tensor:
        for layer in self._before:
            x = layer(x)
        return x


def _product(weight: Tensor, bias: Tensor | None, h: Tensor) -> Tensor:
    """A layer of all lanes: weight [N, units, features], bias [N, units], h [N, features, B] or [features, B]."""
    if h.dim() == 3:
        return torch.bmm(weight, h) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, h)
    flat = weight.flatten(0, 1)
    found = flat @ h if bias is None else torch.addmm(bias.reshape(-1, 1), flat, h)
    return found.view(*weight.shape[:2], -1)


def _followed(layer: nn.Module, h: Tensor) -> Tensor:
    """An element-wise layer on [..., units, B], perhaps in place; dropout draws once what it draws for [B, units]."""
    if type(layer) is not nn.Dropout:
        in_place = ELEMENTWISE[type(layer)]
        result: Tensor = layer(h) if in_place is None else in_place(h)
        return result
    if not layer.training or layer.p == 0:
        return h
    ones = torch.ones(h.shape[-1], h.shape[-2], dtype=h.dtype)
    return h * functional.dropout(ones, layer.p).t()


class _Passes(torch.autograd.Function):
    """Forward and back through a chain of the commonest kinds, written out: a sixth quicker than by a graph."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, network: LinearChain, *parameters: Tensor) -> Tensor:
        values = [h]
        for stage, weight, bias in network.pairs(parameters):
            h = _product(weight, bias, h)
            for following in stage.following:
                h = _followed(following, h)
            values.append(h)
        ctx.save_for_backward(*values, *parameters)
        ctx.network = network
        return h.transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.network.stages) + 1
        values, stages = ctx.saved_tensors[:count], list(ctx.network.pairs(ctx.saved_tensors[count:]))
        g = gradient.transpose(1, 2).contiguous()
        found: list[list[Tensor]] = []
        for place, (stage, weight, bias) in reversed(list(enumerate(stages))):
            before = values[place]
            for back in BACK[stage.kind]:
                back(g, values[place + 1])
            flat = g.flatten(0, 1) @ before.t() if place == 0 else torch.bmm(g, before.transpose(1, 2))
            found.append([flat.view(weight.shape), *(() if bias is None else (g.sum(2),))])
            if place:
                g = torch.bmm(weight.transpose(1, 2), g)
        return (None, None, *chain.from_iterable(reversed(found)))


BACK: dict[tuple[type[nn.Module], ...], tuple[Callable[[Tensor, Tensor], object], ...]] = {
    (): (),
    (nn.ReLU,): (lambda g, value: torch.ops.aten.threshold_backward.grad_input(g, value, 0, grad_input=g),),
    (nn.Tanh,): (lambda g, value: torch.ops.aten.tanh_backward.grad_input(g, value, grad_input=g),),
    (nn.Sigmoid,): (lambda g, value: torch.ops.aten.sigmoid_backward.grad_input(g, value, grad_input=g),),
}
"""What follows a linear layer, and how gradients come back through it, in place, from its own results."""


@dataclass(frozen=True, slots=True)
class Linearised:
    """A chain at one set of parameters, with its derivative in both directions for many lanes.

    Args:
        outputs: [B, C].
        layers: The linear layers.
        inputs: What goes into each, [features, B].
        slopes: The derivative of what follows each, [units, B]; None where nothing does.
    """

    outputs: Tensor
    layers: Sequence[nn.Linear]
    inputs: Sequence[Tensor]
    slopes: Sequence[Tensor | None]

    @torch.no_grad()
    def pull(self, cotangents: Tensor) -> list[Tensor]:
        """The gradient for each lane's cotangent [N, B, C] of the outputs: [N, ...] for each parameter."""
        found: list[list[Tensor]] = []
        g = cotangents.transpose(1, 2).contiguous()
        for place in range(len(self.layers) - 1, -1, -1):
            layer, h, slope = self.layers[place], self.inputs[place], self.slopes[place]
            g = g if slope is None else g * slope
            lanes, units, count = g.shape
            own = [(g.reshape(lanes * units, count) @ h.t().contiguous()).view(lanes, units, -1)]
            found.append(own if layer.bias is None else [*own, g.sum(2)])
            if place:
                g = torch.bmm(layer.weight.t().expand(lanes, -1, -1), g)
        return list(chain.from_iterable(reversed(found)))

    @torch.no_grad()
    def push(self, directions: Sequence[Tensor]) -> Tensor:
        """The derivative of the outputs along each lane's direction, [N, B, C]."""
        own = iter(directions)
        moved: Tensor | None = None
        for layer, h, slope in zip(self.layers, self.inputs, self.slopes, strict=True):
            direction = next(own)
            lanes, units, features = direction.shape
            step = (direction.reshape(lanes * units, features) @ h).view(lanes, units, -1)
            if layer.bias is not None:
                step += next(own).unsqueeze(2)
            if moved is not None:
                step = torch.baddbmm(step, layer.weight.expand(lanes, -1, -1), moved)
            moved = step if slope is None else step.mul_(slope)
        assert moved is not None
        return moved.transpose(1, 2).contiguous()


def recognised(model: nn.Module) -> LinearChain | None:
    """A network as a chain of linear layers; None where it is something else, or may be.

    Known are networks of the package and `torch.nn.Sequential` of layers of PyTorch's own classes: nothing may be
    overridden, hooked, parametrised or shared, and all parameters are trained.

    Example:
        >>> layers = nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)
        >>> recognised(nn.Sequential(*layers)) is not None, recognised(nn.Sequential(*layers, nn.Softmax(1))) is None
        (True, True)
    """
    layers = list(_flat(model))
    if not all(_known(layer) for layer in layers):
        return None
    first = next((place for place, layer in enumerate(layers) if type(layer) is nn.Linear), None)
    if first is None or any(type(layer) is nn.Flatten for layer in layers[first:]):
        return None
    stages: list[_Stage] = []
    for layer in layers[first:]:
        if isinstance(layer, nn.Linear):
            stages.append(_Stage(layer, ()))
        else:
            stages[-1] = _Stage(stages[-1].layer, (*stages[-1].following, layer))
    known = [p for stage in stages for p in stage.layer.parameters()]
    ours = list(model.parameters())
    same = len(known) == len(ours) and all(one is other for one, other in zip(known, ours, strict=True))
    alike = len({(p.dtype, p.device) for p in ours}) == 1 and all(p.requires_grad for p in ours)
    return LinearChain(model, layers[:first], stages) if same and alike else None


def _flat(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a network in the order in which they are called; what is not known comes as it is."""
    if not untouched(model, nested=True):
        yield nn.Module()
    elif type(model) is nn.Sequential:
        for layer in model:
            yield from _flat(layer)
    elif type(model) is MLP:
        yield from (nn.Flatten(), *_flat(model.layers))
    elif type(model) is Linear:
        yield from (nn.Flatten(), *_flat(model.layer))
    else:
        yield model


def _known(layer: nn.Module) -> bool:
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return type(layer) is nn.Linear or type(layer) in ELEMENTWISE
