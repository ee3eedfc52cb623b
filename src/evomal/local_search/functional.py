"""A module as a pure function of its parameters, in ways that derivatives of every kind can pass through."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase

from evomal.foundation.errors import ModelError
from evomal.tasks.rng import random_state, set_random_state


class FunctionalModel:
    """A module called with other parameters than its own; its buffers stay as they are.

    Args:
        model: The module.

    Attributes:
        parameters: The trainable parameters, in the order of ``model.parameters()``.
        fixed: What else the outputs depend on: parameters that do not require a gradient, then buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.names = tuple(named)
        self.parameters: tuple[Tensor, ...] = tuple(named.values())
        frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        named_fixed = frozen | dict(model.named_buffers())
        self.fixed_names = tuple(named_fixed)
        self.fixed: tuple[Tensor, ...] = tuple(named_fixed.values())
        self._frozen = len(frozen)

    def __call__(self, parameters: Sequence[Tensor], x: Tensor, fixed: Sequence[Tensor] | None = None) -> Tensor:
        """The module's outputs for inputs x under the given parameters.

        Buffers go in as copies, so what a forward pass writes into them is thrown away and every pass starts alike.

        Raises:
            ModelError: The module writes into x, so that a second pass would see something else.
        """
        version = x._version
        outputs: Tensor
        if parameters is self.parameters and not self.fixed:
            outputs = self.model(x)  # nothing to replace
        else:
            values = dict(zip(self.names, parameters, strict=True))
            values |= zip(self.fixed_names, self.fresh() if fixed is None else fixed, strict=True)
            outputs = functional_call(self.model, values, (x,))
        if not isinstance(outputs, Tensor):
            raise ModelError(f"the model gives a {type(outputs).__name__}; let it return one tensor of raw outputs")
        if x._version != version:
            raise ModelError("the model changes its inputs in place; let it work on a copy (x = x.clone())")
        return outputs

    def fresh(self) -> tuple[Tensor, ...]:
        """`fixed` with buffers copied, so that they may be written into."""
        return self.fixed[: self._frozen] + tuple(b.clone() for b in self.fixed[self._frozen :])


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """In training mode let normalisation layers use the batch's statistics and keep no running ones.

    Running statistics are written in place, which forward-mode derivatives refuse; in training mode outputs do not
    depend on them. They are back, unchanged, when the block ends.
    """
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    layers = [m for m in model.modules() if isinstance(m, _NormBase) and m.training]
    saved = [{name: layer._buffers[name] for name in statistics} for layer in layers]
    try:
        for layer in layers:
            layer._buffers.update(dict.fromkeys(statistics))
        yield
    finally:
        for layer, buffers in zip(layers, saved, strict=True):
            layer._buffers.update(buffers)


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Use attention and recurrent kernels made of basic operations, which have derivatives of every kind."""
    # The switches alone: the `flags` contexts of these modules would set TF32 and other things as well.
    switches: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    before = [switch.enabled for switch in switches]
    try:
        for switch in switches:
            switch.enabled = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for switch, enabled in zip(switches, before, strict=True):
            switch.enabled = enabled


@contextmanager
def replayed(state: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Draw the random numbers that followed `state` once more (the same dropout mask), then go on where we were."""
    now = random_state(device)
    set_random_state(state, device)
    try:
        yield
    finally:
        set_random_state(now, device)
