"""Where the time of a meta step goes, and what its pooling and convolutions cost in other ways; target 1."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, unfold

from benchmarks.measuring import alternate, show
from benchmarks.meta_gradient import plain_step
from benchmarks.subjects import Subject, formula, lenet5
from evomal.config import BaseSettings
from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import FunctionalModel
from evomal.local_search.one_step import task_gradient
from evomal.local_search.traced import trace_linearisation
from evomal.losses.slopes import Predictions, slope_at, slope_gradient
from evomal.training.pooling import fast_pooling

Calls = Mapping[str, Callable[[int], object]]


def parts(rounds: int = 60) -> list[list[str]]:
    """Each pass of a meta step of LeNet-5, batch 128, in plain steps; then single layers in milliseconds."""
    subject, product = lenet5(), nn.AvgPool2d(2)
    module = subject.model().train()
    with fast_pooling(module), fast_pooling(product):
        times = alternate(_passes(subject, module), rounds)
        single = alternate(_layers(product), rounds)
    step = times["plain step"]
    rows = [[name, f"{1e3 * seconds:.2f}", f"{seconds / step:.3f}"] for name, seconds in times.items()]
    show("One candidate's meta step", ["LeNet-5, batch 128", "ms", "÷ plain step"], rows)
    layers = [[name, f"{1e3 * seconds:.3f}"] for name, seconds in single.items()]
    show("Layers of LeNet-5", ["batch 128", "ms"], layers)
    return [*rows, *layers]


def _passes(subject: Subject, module: nn.Module) -> Calls:
    loss, base = formula(), BaseStep(BaseSettings(lr=0.01))
    model, (x, y), valid = FunctionalModel(module), subject.batch(0), subject.valid_batch(0)
    traced = trace_linearisation(model, x)
    assert traced is not None
    shared = traced(model, x)
    at = Predictions.of(loss, shared.outputs, y)
    slope = slope_at(loss, at)[1]
    pulled = shared.vjp(slope)
    theta = base.first(model.parameters, pulled)
    direction = task_gradient(model, theta, valid, subject.task.task_loss)
    pushed, plain = shared.jvp(direction), plain_step(subject)
    return {
        "plain step": plain,
        "slope of the formula": lambda n: slope_at(loss, at),
        "back at θ0": lambda n: shared.vjp(slope),
        "base step": lambda n: base.first(model.parameters, pulled),
        "to and fro at θ1": lambda n: task_gradient(model, theta, valid, subject.task.task_loss),
        "forward mode at θ0": lambda n: shared.jvp(direction),
        "slope's derivative in φ": lambda n: slope_gradient(loss, at, pushed),
        "shared: predictions at θ0": lambda n: traced(model, x),
        "shared: a fresh network": lambda n: subject.model(),
    }


def _layers(product: nn.Module) -> Calls:
    """Both ways of the first pooling layer, and the convolutions in both memory layouts."""
    calls: dict[str, Callable[[int], object]] = {}
    x = torch.randn(128, 6, 24, 24, requires_grad=True)
    for name, layer in (("pooling, PyTorch", nn.AvgPool2d(2)), ("pooling, product", product)):
        calls[f"{name}, forward"] = lambda n, layer=layer: layer(x)
        calls[f"{name}, back"] = _back(layer(x), x)
    for name, channels, filters, size in (("first", 1, 6, 28), ("second", 6, 16, 12)):
        for layout in (torch.contiguous_format, torch.channels_last):
            images = torch.randn(128, channels, size, size).to(memory_format=layout).requires_grad_(channels > 1)
            weight = torch.randn(filters, channels, 5, 5).to(memory_format=layout).requires_grad_()
            told = f"{name} convolution, {'channels last' if layout is torch.channels_last else 'usual layout'}"
            calls[f"{told}, forward"] = lambda n, images=images, weight=weight: conv2d(images, weight)
            calls[f"{told}, back"] = _back(conv2d(images, weight), *(t for t in (images, weight) if t.requires_grad))
    images = torch.randn(128, 1, 28, 28)
    calls["first convolution, columns (im2col)"] = lambda n: unfold(images, 5)
    return calls


def _back(outputs: Tensor, *leaves: Tensor) -> Callable[[int], object]:
    cotangent = torch.ones_like(outputs)
    return lambda n: torch.autograd.grad(outputs, leaves, cotangent, retain_graph=True)
