"""One network called with the parameters of many lanes at once."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import grad

from evomal.foundation.seeds import seeded
from evomal.losses.batched import BatchingError, only_batching_errors
from evomal.training.chains import Linearised, recognised
from evomal.training.lane_layers import quick_layers
from evomal.training.precision import Precision, autocast
from evomal.training.substitution import Substitution


@dataclass(frozen=True, slots=True)
class Lanes:
    """What lanes have of their own.

    Args:
        parameters: Trainable parameters, [N, ...] each, in the order of ``model.parameters()``.
        buffers: Buffers, [N, ...] each; a forward pass may write into them.
    """

    parameters: tuple[Tensor, ...]
    buffers: tuple[Tensor, ...]

    @property
    def finite(self) -> Tensor:
        """Which lanes' parameters are all finite, bool [N]."""
        return torch.stack([p.detach().isfinite().reshape(len(p), -1).all(1) for p in self.parameters]).all(0)


class BatchedModel:
    """A module called with the parameters and buffers of many lanes, which see one batch and one dropout mask.

    By `torch.func.vmap`; a chain of linear layers, on a CPU, by the products of `evomal.training.chains`.

    Args:
        model: The module; parameters that require no gradient are common to all lanes.
        setting: How matrix products are computed.

    Attributes:
        parameters: The module's own trainable parameters.
        buffers: The module's own buffers.

    Raises:
        BatchingError: It has nothing to train.

    Example:
        >>> model = BatchedModel(nn.Linear(3, 2))
        >>> model(model.lanes(5), torch.zeros(4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, model: nn.Module, setting: Precision = "float32") -> None:
        self.model, self.setting = model, setting
        with only_batching_errors("the model cannot be computed"):
            self._substitution = Substitution(model)
        self.parameters: tuple[Tensor, ...] = self._substitution.parameters
        self.buffers: tuple[Tensor, ...] = self._substitution.buffers
        if not self.parameters:
            raise BatchingError("the model has no trainable parameter")
        self._chain = recognised(model) if setting != "bf16" else None

    def lanes(self, count: int) -> Lanes:
        """`count` copies of the model's own parameters (leaves of a graph) and buffers."""
        copies = [p.detach().expand(count, *p.shape).clone().requires_grad_() for p in self.parameters]
        return Lanes(tuple(copies), self.fresh(count))

    def fresh(self, count: int) -> tuple[Tensor, ...]:
        """`count` copies of the model's own buffers."""
        return tuple(b.detach().expand(count, *b.shape).clone() for b in self.buffers)

    def alone(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """The outputs [B, ...] under a single set of parameters; buffers are copied and stay as they are."""
        return self._call(tuple(parameters), tuple(b.clone() for b in self.buffers), x)

    def linearised(self, x: Tensor) -> Linearised | None:
        """The outputs at the module's own parameters and their derivatives, where it is a chain of linear layers."""
        return self._chain.linearised(x) if self._chain is not None and self._chain.suits(x) else None

    def __call__(self, lanes: Lanes, x: Tensor, twice: bool = False) -> Tensor:
        """The outputs of all lanes for inputs x.

        Args:
            lanes: Parameters and buffers.
            x: Inputs [B, ...] of all lanes.
            twice: Let the outputs be differentiable more than once, which on a GPU some quick layers are not.

        Returns:
            [N, B, ...].

        Raises:
            BatchingError: An operation of the model cannot be done for many lanes at once.
        """

        def one(parameters: tuple[Tensor, ...], buffers: tuple[Tensor, ...]) -> Tensor:
            return self._call(parameters, buffers, x)

        if self._chain is not None and self._chain.suits(x):
            with only_batching_errors("the model cannot be computed"):
                return self._chain(lanes.parameters, x, twice)
        quick = nullcontext() if twice else quick_layers(self.model, x.device)
        with only_batching_errors("the model cannot be computed"), quick:
            outputs: Tensor = torch.vmap(one, randomness="same")(lanes.parameters, lanes.buffers)
        return outputs

    def _call(self, parameters: tuple[Tensor, ...], buffers: tuple[Tensor, ...], x: Tensor) -> Tensor:
        with autocast(self.setting, x.device):
            return self._substitution(parameters, buffers, x)


def require_faithful(model: nn.Module, x: Tensor, seed: int) -> None:
    """Make sure that in lanes a model computes what it computes alone, random numbers (dropout masks) included.

    Accelerators may draw another mask in lanes; there the model is compared in evaluation mode.

    Args:
        model: The model, in training mode; it stays as it is.
        x: Inputs [B, ...].
        seed: For what its layers draw.

    Raises:
        BatchingError: It does not; or something changes its gradients, or reaches its parameters past their names.
    """
    if _changes_gradients(model):
        raise BatchingError("hooks of the model change its gradients")
    with only_batching_errors("the model cannot be computed"), seeded(seed):
        Substitution(model).require_followed(x)
    model = copy.deepcopy(model)
    if x.device.type != "cpu":
        model.eval()
    stacked = BatchedModel(model)
    lanes = stacked.lanes(2)
    with seeded(seed):
        many = stacked(lanes, x.clone())
    with seeded(seed):
        alone = model(x.clone())
    if many.shape != (2, *alone.shape) or not _alike(many, alone, _largest(alone)):
        raise BatchingError("the model computes something else in lanes")
    if model.training and not _slopes_alike(many, lanes.parameters, alone, stacked.parameters):
        raise BatchingError("gradients of the model alone and in lanes do not agree")


def _changes_gradients(model: nn.Module) -> bool:
    """Whether somebody asked to be told of gradients, which in lanes nobody would be."""
    told = any(m._backward_hooks or m._backward_pre_hooks for m in model.modules())
    return told or any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


def _slopes_alike(many: Tensor, lanes: Sequence[Tensor], alone: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether lanes have the gradient of a model alone, along some direction of the outputs."""
    if not alone.requires_grad:
        return not many.requires_grad
    u = torch.randn(alone.shape, generator=torch.Generator().manual_seed(0)).to(alone)
    with only_batching_errors("the gradient of the model cannot be computed"):
        ours = grad(many, lanes, u.expand_as(many), materialize_grads=True)
        theirs = grad(alone, parameters, u, materialize_grads=True)
    scale = max(
        _largest(each) for each in theirs
    )  # some are nothing but rounding, as that of a bias that norms take out
    return all(_alike(one, other, scale) for one, other in zip(ours, theirs, strict=True))


def _largest(values: Tensor) -> float:
    return float(values.detach().abs().max()) if values.numel() else 0.0


def _alike(many: Tensor, alone: Tensor, scale: float) -> bool:
    return torch.allclose(many, alone, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)
