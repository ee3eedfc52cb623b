"""A module as a pure function of its parameters, in ways that derivatives of every kind can pass through."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.attention import SDPBackend, sdpa_kernel

from evomal.foundation.errors import ModelError
from evomal.foundation.seeds import random_state, set_random_state
from evomal.losses.untouched import untouched
from evomal.training.substitution import Substitution

NORMALISATIONS = frozenset(
    {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm}
    | {nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d}
)


class FunctionalModel:
    """A module called with other parameters than its own; its buffers stay as they are.

    Args:
        model: The module.

    Attributes:
        parameters: The trainable parameters, in the order of ``model.parameters()``.
        fixed: What else the outputs depend on: parameters that do not require a gradient, then buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.substitution = Substitution(model)
        self.parameters: tuple[Tensor, ...] = self.substitution.parameters
        self.fixed: tuple[Tensor, ...] = self.substitution.frozen + self.substitution.buffers
        self._frozen = len(self.substitution.frozen)
        self._reached = False

    def __call__(self, parameters: Sequence[Tensor], x: Tensor, fixed: Sequence[Tensor] | None = None) -> Tensor:
        """The module's outputs for inputs x under the given parameters.

        Buffers go in as copies, so what a forward pass writes into them is thrown away and every pass starts alike.

        Raises:
            ModelError: The module writes into x, so that a second pass would see something else; or it reaches its own
                parameters though others are in their place, or checkpoints its activations.
        """
        version = x._version
        fixed = self.fresh() if fixed is None else fixed
        outputs = self.substitution(parameters, fixed[self._frozen :], x, fixed[: self._frozen])
        if not isinstance(outputs, Tensor):
            raise ModelError(f"the model gives a {type(outputs).__name__}; let it return one tensor of raw outputs")
        if x._version != version:
            raise ModelError("the model changes its inputs in place; let it work on a copy (x = x.clone())")
        if not self._reached and parameters is not self.parameters and outputs.requires_grad:
            self.substitution.require_reached(outputs, parameters)
            self._reached = True
        return outputs

    def gradients(self, value: Tensor, parameters: Sequence[Tensor], *, create_graph: bool = False) -> Sequence[Tensor]:
        """The gradients of a value that an optimiser would see: changed by the hooks that parameters have.

        Args:
            value: 0-dim.
            parameters: What was in the place of the model's own.
            create_graph: Let them be differentiated.

        Raises:
            ModelError: A hook gives what cannot be differentiated, or acts only where gradients are accumulated.
        """
        if self.accumulates:
            raise ModelError(
                "a hook acts on what a parameter of the model has accumulated, which a meta-gradient cannot see; use "
                "parameter.register_hook instead"
            )
        found = grad(value, parameters, create_graph=create_graph, materialize_grads=True)
        if not self.hooked:
            return found
        # Autograd runs the hooks of the parameters themselves.
        own = parameters is self.parameters
        changed = found if own else [_after_hooks(p, g) for p, g in zip(self.parameters, found, strict=True)]
        pairs = zip(changed, self.parameters, strict=True)
        if create_graph and any(p._backward_hooks and not g.requires_grad and g.any() for g, p in pairs):
            raise ModelError(
                "a gradient hook of the model gives a detached gradient; let it use differentiable operations"
            )
        return changed

    def require_followed(self, x: Tensor) -> None:
        """Refuse a model whose parameters are not all reached by their names.

        Raises:
            ModelError: See `Substitution.require_followed`.
        """
        self.substitution.require_followed(x)

    def after_hooks(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients with respect to other values of the parameters, after the hooks of the parameters themselves."""
        return [g if g is None else _after_hooks(p, g) for p, g in zip(self.parameters, gradients, strict=True)]

    @property
    def hooked(self) -> bool:
        """Whether hooks change the gradients of parameters, so that forward mode would not see what they do."""
        return self.accumulates or any(p._backward_hooks for p in self.parameters)

    @property
    def accumulates(self) -> bool:
        """Whether hooks act on accumulated gradients."""
        return any(p._post_accumulate_grad_hooks for p in self.parameters)

    def fresh(self) -> tuple[Tensor, ...]:
        """`fixed` with buffers copied, so that they may be written into."""
        return self.fixed[: self._frozen] + tuple(b.clone() for b in self.fixed[self._frozen :])


def _after_hooks(parameter: Tensor, gradient: Tensor) -> Tensor:
    for hook in (parameter._backward_hooks or {}).values():
        changed = hook(gradient)
        gradient = gradient if changed is None else changed
    return gradient


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """In training mode let normalisation layers use the batch's statistics and keep no running ones.

    Running statistics are written in place, which forward-mode derivatives refuse; in training mode outputs do not
    depend on them. They are back, unchanged, when the block ends.
    """
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    layers = [m for m in model.modules() if type(m) in NORMALISATIONS and m.training and untouched(m)]
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
