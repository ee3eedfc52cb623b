r"""The meta-gradient through one base step, with second derivatives in the loss only.

With :math:`\theta_1 = \theta_0 - \alpha'\nabla_\theta\mathcal{M}_\phi(y, f_{\theta_0}(X))` (Equation 3) and
:math:`v = \nabla_\theta\mathcal{L}_T(\theta_1)`, Equation 7 becomes

.. math:: \frac{d\mathcal{L}_T}{d\phi} = -\alpha'\,\frac{\partial}{\partial\phi}
          \Big\langle \frac{\partial\mathcal{M}_\phi}{\partial f}, J v \Big\rangle

where :math:`Jv` is the derivative of the predictions at :math:`\theta_0` along v (along the pullback of v by the step,
where an optimiser scales weights or shortens gradients). Forward mode gives it at the price
of a forward pass, so nothing is differentiated twice through the network. The slope and its derivative in φ come from
the formula itself (`evomal.losses.slopes`), or by autograd for a loss that is no formula.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, grad

from evomal.foundation.seeds import random_state, set_random_state
from evomal.local_search.base_step import BaseStep
from evomal.local_search.endings import require_finite
from evomal.local_search.functional import FunctionalModel, replayed
from evomal.local_search.replay import Recording, Replay
from evomal.losses import SymbolicLoss
from evomal.losses.checks import require_scalar
from evomal.losses.criterion import LossFunction
from evomal.losses.slopes import Predictions, slope_at, slope_gradient
from evomal.losses.untouched import untouched

Batch = tuple[Tensor, Tensor]
Phases = Generator[None, None, list[Tensor]]


@dataclass(frozen=True, slots=True)
class Linearisation:
    """Predictions at θ0 with their derivative in both directions.

    Args:
        outputs: f_θ0(X), shape [B, C, ...].
        vjp: Cotangent of the outputs → gradient for each parameter; may be called many times.
        jvp: A tensor for each parameter → derivative of the outputs along it.
    """

    outputs: Tensor
    vjp: Callable[[Tensor], Sequence[Tensor]]
    jvp: Callable[[Sequence[Tensor]], Tensor]


def linearise(model: FunctionalModel, x: Tensor, *, keep: bool) -> Linearisation:
    """Predictions at the model's own parameters, and their derivatives by autograd and forward mode.

    Args:
        model: The model.
        x: Inputs [B, ...].
        keep: Keep the graph for several calls of `vjp`; without, its memory is free after the first.
    """
    parameters, device = model.parameters, x.device
    before = random_state(device)
    with Recording() as recording:
        outputs = model(parameters, x)

    def vjp(cotangent: Tensor) -> Sequence[Tensor]:
        return grad(outputs, parameters, cotangent, retain_graph=keep, materialize_grads=True)

    def jvp(tangents: Sequence[Tensor]) -> Tensor:
        with torch.no_grad(), replayed(before, device), forward_ad.dual_level(), Replay(recording.values):
            duals = [forward_ad.make_dual(p, t) for p, t in zip(parameters, tangents, strict=True)]
            tangent = forward_ad.unpack_dual(model(duals, x)).tangent
        return torch.zeros_like(outputs) if tangent is None else tangent

    return Linearisation(outputs.detach(), vjp, jvp)


def adjoint(linearisation: Linearisation) -> bool:
    """Whether both directions of a linearisation belong to the same linear map: ⟨u, J(Jᵀu)⟩ = ⟨Jᵀu, Jᵀu⟩.

    They do not where a backward hook changes gradients, or where a second forward pass is another one than the first
    (random numbers that torch does not draw, a counter in the model); then only unrolling tells the truth.
    """
    draw = torch.Generator().manual_seed(0)
    u = torch.randn(linearisation.outputs.shape, generator=draw).to(linearisation.outputs)
    pulled = linearisation.vjp(u)
    return _equal_products(u, linearisation.jvp(pulled), pulled, pulled)


def _equal_products(u: Tensor, pushed: Tensor, pulled: Sequence[Tensor], v: Sequence[Tensor]) -> bool:
    """Whether ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, as far as rounding lets it."""
    one, other = _inner([u], [pushed]), _inner(pulled, v)
    tolerance = 1e-2 if u.dtype in (torch.float16, torch.bfloat16) else 1e-3
    if abs(one - other) <= tolerance * abs(one):
        return True
    # The product may be small because the two are nearly at right angles: then it is their lengths that count.
    lengths = math.sqrt(_inner(pulled, pulled)) * math.sqrt(_inner(v, v))
    return abs(one - other) <= tolerance * lengths + 1e-30


def _inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return float(sum(torch.dot(a.reshape(-1), b.reshape(-1)) for a, b in zip(first, second, strict=True)))


def one_step(
    loss: nn.Module,
    model: FunctionalModel,
    linearisation: Linearisation,
    targets: Tensor,
    valid_batch: Batch,
    task_loss: LossFunction,
    step: BaseStep,
    at: Predictions | None = None,
    masks: Sequence[Tensor] | None = None,
    check: bool = False,
) -> Phases:
    """The meta-gradient through one base step from the model's own parameters.

    It pauses between its three passes over the model (back at θ0, to and fro at θ1, forward at θ0): several losses that
    take each pass together find its data in the processor's cache. `completed` runs a single one.

    Args:
        loss: The learned loss M_φ, called as ``loss(outputs, targets)``.
        model: The base model, its parameters being θ0.
        linearisation: Of the model at θ0 on the training batch; several losses may share it.
        targets: Targets of the training batch.
        valid_batch: Inputs and targets for the task loss.
        task_loss: L_T.
        step: The base optimiser.
        at: For a symbolic loss, predictions and targets as it sees them, where several losses share them.
        masks: State of the random generators for the pass at θ1 (dropout); None goes on from where they are.
        check: Make sure that ⟨∂M/∂f, Jv⟩ = ⟨Jᵀ∂M/∂f, v⟩; it costs two inner products.

    Returns:
        When the generator ends, dL_T/dφ: a tensor for each of ``loss.parameters()``, zeros where φ has no part in it.

    Raises:
        NotFiniteError: The loss or its gradient at the predictions is not finite.
        RuntimeError: The check failed.
    """
    if type(loss) is SymbolicLoss and untouched(loss):
        at = at if at is not None and at.suits(loss) else None
        slope, along = _symbolic_slope(loss, at or Predictions.of(loss, linearisation.outputs, targets))
    else:
        slope, along = _autograd_slope(loss, linearisation.outputs, targets)
    pulled = linearisation.vjp(slope)
    yield
    if masks is not None:
        set_random_state(masks, slope.device)
    direction = task_gradient(model, step.first(model.parameters, pulled), valid_batch, task_loss)
    direction = step.pullback(pulled, direction)
    yield
    pushed = linearisation.jvp(direction)
    if check and not _equal_products(slope, pushed, pulled, direction):
        raise RuntimeError("forward mode and the gradient of the model do not agree")
    if any(p._backward_hooks for p in loss.parameters()):
        return list(along(-step.first_rate * pushed))  # a hook sees what it would see of the whole gradient
    return [-step.first_rate * g for g in along(pushed)]


def completed(phases: Phases) -> list[Tensor]:
    """The result of a generator that may pause any number of times."""
    while True:
        try:
            next(phases)
        except StopIteration as ended:
            gradients: list[Tensor] = ended.value
            return gradients


Along = Callable[[Tensor], Sequence[Tensor]]


def _symbolic_slope(loss: SymbolicLoss, at: Predictions) -> tuple[Tensor, Along]:
    """The slope ∂M/∂f, and ∂⟨∂M/∂f, u⟩/∂φ as a function of u, from the formula's own derivative."""
    value, slope = slope_at(loss, at)
    require_finite(value, slope)
    return slope, lambda u: [slope_gradient(loss, at, u)]


def _autograd_slope(loss: nn.Module, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Along]:
    """The same of any module, by differentiating its own graph twice."""
    phi = list(loss.parameters())
    predictions = outputs.detach().requires_grad_()
    value = require_scalar(loss(predictions, targets), "the loss")
    slope = torch.zeros_like(predictions)
    if value.requires_grad:
        (slope,) = grad(value, predictions, create_graph=True, materialize_grads=True)
    require_finite(value, slope)

    def along(u: Tensor) -> Sequence[Tensor]:
        if not slope.requires_grad:
            return [torch.zeros_like(p) for p in phi]
        return grad((slope * u).sum(), phi, allow_unused=True, materialize_grads=True)

    return slope.detach(), along


def task_gradient(
    model: FunctionalModel, parameters: Sequence[Tensor], batch: Batch, task_loss: LossFunction
) -> Sequence[Tensor]:
    """The gradient v = ∇θ L_T at the given parameters on a batch."""
    leaves = [p.detach().requires_grad_() for p in parameters]
    return grad(task_loss(model(leaves, batch[0]), batch[1]), leaves, materialize_grads=True)
