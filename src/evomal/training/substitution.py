"""A module called with other tensors in place of its own, under all the names that each of them has."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

from evomal.foundation.errors import ModelError
from evomal.foundation.seeds import random_state, set_random_state

RECOMPUTES = (
    "the model keeps its activations by hooks on saved tensors, as gradient checkpointing does, which would compute "
    "them anew from other weights; switch that off while losses are tuned"
)
PAST = (
    "the model reaches {which} past the module that holds it (in a list, a closure, a view or a cache), where no other "
    "value can be put in its place; let it use the module's own attribute"
)


SCRIPTED = (
    "the model is a TorchScript program, which computes with no other parameters than its own; leave torch.jit.script "
    "or torch.jit.trace out of its factory"
)


class Substitution:
    """Which tensors a module is made of, each of them once, and the module called with others in their place.

    A layer may stand in a module under two names, and a parameter in two layers: every place gets the same tensor,
    and a layer is visited once, as putting back what was there before would else go wrong.

    Args:
        model: The module.

    Attributes:
        parameters: Its trainable parameters, in the order of ``model.parameters()``.
        frozen: Parameters that require no gradient.
        buffers: Its buffers.

    Raises:
        ModelError: ``model.parameters()`` gives one that no module in it holds, or the model is a TorchScript program.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> twice = Substitution(nn.Sequential(layer, nn.Linear(1, 2), layer))
        >>> len(twice.parameters), twice([torch.zeros_like(p) for p in twice.parameters], (), torch.ones(1, 2))
        (4, tensor([[0.]]))
    """

    def __init__(self, model: nn.Module) -> None:
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelError(SCRIPTED)
        self.model = model
        self._names: dict[int, list[str]] = {}
        buffers: dict[int, Tensor] = {}
        for prefix, module in model.named_modules():
            for name, tensor in chain(module._parameters.items(), module._buffers.items()):
                if tensor is not None:
                    self._names.setdefault(id(tensor), []).append(f"{prefix}.{name}" if prefix else name)
            buffers |= {id(b): b for b in module._buffers.values() if b is not None}
        known = list(model.parameters())
        if any(id(p) not in self._names for p in known):
            raise ModelError("the model has a parameter that none of its modules holds; make it an attribute of one")
        self.parameters: tuple[Tensor, ...] = tuple(p for p in known if p.requires_grad)
        self.frozen: tuple[Tensor, ...] = tuple(p for p in known if not p.requires_grad)
        ours = {id(p) for p in known}
        self.buffers: tuple[Tensor, ...] = tuple(b for number, b in buffers.items() if number not in ours)

    def __call__(
        self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, frozen: Sequence[Tensor] = ()
    ) -> Tensor:
        """The module's outputs for x with other tensors.

        Args:
            parameters: In place of `parameters`.
            buffers: In place of `buffers`, or none, which leaves them; a forward pass may write into them.
            x: Inputs.
            frozen: In place of `frozen`, or none.

        Raises:
            ModelError: It checkpoints its activations.
        """
        pairs = [*zip(self.parameters, parameters, strict=True)]
        pairs += zip(self.buffers, buffers, strict=True) if buffers else ()
        pairs += zip(self.frozen, frozen, strict=True) if frozen else ()
        values = {name: value for own, value in pairs if own is not value for name in self._names[id(own)]}
        try:
            with disable_saved_tensors_hooks(RECOMPUTES):
                # Every name is given, so that nothing is to be tied.
                outputs: Tensor = functional_call(self.model, values, (x,), tie_weights=False)
        except RuntimeError as error:
            if RECOMPUTES in str(error):
                raise ModelError(RECOMPUTES) from None
            raise
        return outputs

    def require_reached(self, outputs: Tensor, parameters: Sequence[Tensor]) -> None:
        """Refuse outputs that hang on the module's own parameters though others were in their place.

        Args:
            outputs: What the module gave.
            parameters: What was in the place of its parameters.

        Raises:
            ModelError: The graph of the outputs ends in one of its own, or hides what it ends in.
        """
        own = {id(p): p for p in self.parameters} if outputs.requires_grad else {}
        replaced = {id(p) for p in parameters}
        seen = {p.grad_fn for p in parameters if p.grad_fn is not None}
        waiting = [outputs.grad_fn]
        while own and waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node.name().startswith("CheckpointFunction"):  # it hides the parameters from the graph
                raise ModelError(RECOMPUTES)
            variable = id(getattr(node, "variable", None))
            if variable in own and variable not in replaced:
                raise ModelError(PAST.format(which=f"parameter '{self._names[variable][0]}'"))
            waiting += [following for following, _ in node.next_functions]

    def require_followed(self, x: Tensor) -> None:
        """Refuse a module whose outputs are others when its parameters are moved in place than when they are replaced.

        That finds what leaves no trace in a graph, such as a detached view. Parameters are back, to the bit, when it
        returns, as are the random generators.

        Args:
            x: Inputs.

        Raises:
            ModelError: They are.
        """
        draw = torch.Generator().manual_seed(0)
        before = [p.detach().clone() for p in self.parameters]
        moved = [p + 0.1 * (p.abs().mean() + 0.1) * torch.randn(p.shape, generator=draw).to(p) for p in before]
        state = random_state(x.device)

        def outputs(parameters: Sequence[Tensor]) -> Tensor:
            set_random_state(state, x.device)
            return self(parameters, [b.clone() for b in self.buffers], x.clone())

        try:
            with torch.no_grad():
                replaced = outputs(moved)
                try:
                    _write(self.parameters, moved)
                    in_place = outputs(self.parameters)
                finally:
                    _write(self.parameters, before)
                # One whose passes differ by themselves shows nothing by it.
                odd = not _close(replaced, in_place) and _close(replaced, outputs(moved))
        except Exception:  # of the model; where it is called in earnest it will say so
            return
        finally:
            set_random_state(state, x.device)
        if odd:
            raise ModelError(PAST.format(which="a parameter"))


def _write(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Write values in place; past autograd's counter, as nothing has changed in the end."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data.copy_(value)


def _close(one: Tensor, other: Tensor) -> bool:
    half = one.dtype in (torch.float16, torch.bfloat16)
    tolerance = 1e-2 if half else 1e-4
    scale = float(one.abs().nan_to_num().max()) if one.numel() else 0.0
    return one.shape == other.shape and torch.allclose(
        one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
