r"""The meta-gradients of many losses from one initialisation and one set of batches, as one batched program.

With one base step the lanes share :math:`f_{\theta_0}(X)`: see `evomal.local_search.one_step` for the formula. Its
passes over the model become ``vmap(vjp)`` at θ0, a vmapped gradient at the lanes' θ1, and ``vmap(jvp)`` at θ0. With
several, the training is unrolled on stacked parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd import grad
from torch.func import jvp

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.seeds import random_state
from evomal.local_search.base_step import BaseStep, inner_of_lanes
from evomal.local_search.functional import FunctionalModel, batch_statistics, plain_kernels, replayed
from evomal.local_search.meta_batches import MetaBatches
from evomal.local_search.one_step import Batch
from evomal.local_search.resident import ResidentCourse, resident_course
from evomal.local_search.unroll import require_twice_differentiable
from evomal.losses.batched import BatchedLosses, BatchingError, finite_lanes, only_batching_errors
from evomal.losses.criterion import LossFunction
from evomal.tasks import Task
from evomal.training.batched_model import BatchedModel, Lanes, require_faithful
from evomal.training.optimizer import State


class BatchedMetaTrainer:
    """What all lanes share while they are tuned on a task: batches, initialisations, the way to the meta-gradient.

    Args:
        task: The task.
        settings: Base steps, and the batch that the task loss is taken on.
        base: The base optimiser.
        seed: Of the initialisations and batches.
    """

    def __init__(self, task: Task, settings: LocalSearchSettings, base: BaseSettings, seed: int) -> None:
        self.task, self.batches = task, MetaBatches(task, settings, base, seed)
        self.trusted = False
        self.draws = False
        self._resident: ResidentCourse | None = None

    def reside(self, steps: int) -> bool:
        """Put all that meta steps need onto the device, for `meta_step_at`; after a first `meta_step`.

        Args:
            steps: Number of meta steps.

        Returns:
            Whether that can be: a single base step of an optimiser that needs no warm-up, a model that draws nothing,
            data that lie on the device, and room.
        """
        simple = self.batches.count == 1 and not self.batches.step.optimizer.adaptive
        if simple and self.trusted and not self.draws and self._resident is None:
            self._resident = resident_course(self.batches, steps)
        return self._resident is not None

    def meta_step_at(self, number: Tensor, losses: BatchedLosses, phi: Tensor) -> tuple[Tensor, Tensor]:
        """What `meta_step` gives, without a look at the device or a copy to it, so that a CUDA graph may hold it.

        Args:
            number: Number of the meta step, int64 [1] on the device.
            losses: The losses.
            phi: Their coefficients [N, E], a leaf.
        """
        assert self._resident is not None
        train, valid = self._resident.at(number)
        model = self._resident.model
        with only_batching_errors("the meta-gradient cannot be had"), batch_statistics(model):
            return self._one_step(
                BatchedModel(model), losses, phi, train, valid, replace(self.batches.step, lanes=True)
            )

    def meta_step(self, step: int, losses: BatchedLosses, phi: Tensor) -> tuple[Tensor, Tensor]:
        """The meta-gradient of every lane.

        Args:
            step: Number of the meta step.
            losses: The losses.
            phi: Their coefficients [N, E], a leaf.

        Returns:
            Whether each lane's losses and slopes are finite, bool [N]; and dL_T/dφ [N, E].

        Raises:
            BatchingError: The model cannot be had in lanes.
        """
        (train, valid), model = self.batches.batches(step), self.batches.model(step)
        with only_batching_errors("the meta-gradient cannot be had"), batch_statistics(model):
            if not self.trusted:
                require_faithful(model, train[0][0], self.batches.noise(step))
            stacked = BatchedModel(model)
            base_step = replace(self.batches.step_at(step, FunctionalModel(model), train), lanes=True)
            self.batches.draw(step)
            if self.batches.count == 1:
                result = self._one_step(stacked, losses, phi, train[0], valid, base_step)
            else:
                with plain_kernels():
                    result = self._unrolled(stacked, losses, phi, train, valid, base_step)
        self.trusted = True
        return result

    def _one_step(
        self, model: BatchedModel, losses: BatchedLosses, phi: Tensor, train: Batch, valid: Batch, base_step: BaseStep
    ) -> tuple[Tensor, Tensor]:
        """The meta-gradients through one base step, with second derivatives in the formulas only."""
        at = self._at_start(model, losses.lanes, train[0])
        values, slopes = losses.slopes(at.outputs, train[1], phi, create_graph=True)
        good = finite_lanes(values, [slopes])
        cotangents = torch.where(_per_lane(good, slopes), slopes.detach(), 0.0)
        pulled = at.pull(cotangents)
        start = Lanes(tuple(base_step.first(model.parameters, pulled)), model.fresh(losses.lanes))
        directions = base_step.pullback(pulled, task_gradients(model, start, valid, self.task.task_loss))
        pushed = at.push(directions)
        if not self.trusted:
            _require_adjoint(cotangents, pushed, pulled, directions)
        return good, -base_step.first_rate * losses.slope_gradients(slopes, pushed, phi)

    def _at_start(self, model: BatchedModel, count: int, x: Tensor) -> "_Start":
        """The model at θ0, whose outputs all lanes share, and the ways back and forward from there."""
        if self._resident is not None:  # on a GPU a backward pass of many parameters is quicker than of many cotangents
            lanes = model.lanes(count)
            many = model(lanes, x)
            return _Start(
                many.detach(),
                lambda cotangents: list(grad(many, lanes.parameters, cotangents, materialize_grads=True)),
                lambda directions: push(model, x, directions),
            )
        before, chain = random_state(x.device), model.linearised(x)
        outputs = model.alone(model.parameters, x) if chain is None else chain.outputs
        if not self.trusted:
            now = random_state(x.device)
            self.draws = not all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
        shared = outputs.detach().expand(count, *outputs.shape)
        if chain is not None:
            return _Start(shared, chain.pull, chain.push)

        def pushed(directions: Sequence[Tensor]) -> Tensor:
            with replayed(before, x.device):
                return push(model, x, directions)

        return _Start(shared, lambda cotangents: pull(outputs, model.parameters, cotangents), pushed)

    def _unrolled(
        self,
        model: BatchedModel,
        losses: BatchedLosses,
        phi: Tensor,
        train: Sequence[Batch],
        valid: Batch,
        base_step: BaseStep,
    ) -> tuple[Tensor, Tensor]:
        """The meta-gradients through several base steps."""
        lanes = model.lanes(losses.lanes)
        theta: Sequence[Tensor] = lanes.parameters
        state: State | None = None
        good = torch.ones(losses.lanes, dtype=torch.bool, device=phi.device)
        for x, y in train:
            outputs = model(Lanes(tuple(theta), model.fresh(losses.lanes)), x, twice=True)
            values = losses.values(outputs, y, phi)
            gradients = grad(values.sum(), theta, create_graph=True, materialize_grads=True)
            good = good & finite_lanes(values, gradients)
            if not self.trusted:
                require_twice_differentiable(gradients)
            theta, state = base_step.following(theta, gradients, state)
        outputs = model(Lanes(tuple(theta), model.fresh(losses.lanes)), valid[0], twice=True)
        results = _task_losses(self.task.task_loss, outputs, valid[1])
        (found,) = grad(results.sum(), phi, allow_unused=True, materialize_grads=True)
        return good, found


@dataclass(frozen=True, slots=True)
class _Start:
    """The outputs [N, B, ...] that meta steps start from, outside any graph, and their derivative in both directions.

    Args:
        outputs: Of every lane.
        pull: A cotangent for each lane → its gradient.
        push: A direction for each lane → the derivative of its outputs.
    """

    outputs: Tensor
    pull: Callable[[Tensor], list[Tensor]]
    push: Callable[[Sequence[Tensor]], Tensor]


def pull(outputs: Tensor, parameters: Sequence[Tensor], cotangents: Tensor) -> list[Tensor]:
    """The gradient at θ0 for each lane's cotangent, [N, ...] for each parameter; zeros where it has no part."""
    found = grad(outputs, parameters, cotangents, is_grads_batched=True, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return [p.new_zeros(len(cotangents), *p.shape) if pulled is None else pulled for pulled, p in pairs]


def push(model: BatchedModel, x: Tensor, directions: Sequence[Tensor]) -> Tensor:
    """The derivative of the outputs at θ0 along each lane's direction, [N, B, ...]."""
    theta = tuple(p.detach() for p in model.parameters)

    def one(direction: tuple[Tensor, ...]) -> Tensor:
        def outputs(*parameters: Tensor) -> Tensor:
            return model.alone(parameters, x)

        tangent: Tensor = jvp(outputs, theta, direction)[1]
        return tangent

    with torch.no_grad():
        pushed: Tensor = torch.vmap(one, randomness="same")(tuple(directions))
    return pushed


def task_gradients(model: BatchedModel, at: Lanes, batch: Batch, task_loss: LossFunction) -> Sequence[Tensor]:
    """The gradient v = ∇θ L_T of every lane at its own parameters."""
    leaves = tuple(p.detach().requires_grad_() for p in at.parameters)
    results = _task_losses(task_loss, model(Lanes(leaves, at.buffers), batch[0]), batch[1])
    return grad(results.sum(), leaves, materialize_grads=True)


def _task_losses(task_loss: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """The task loss of every lane [N]; one after the other where it cannot be had at once."""

    def one(own: Tensor) -> Tensor:
        return task_loss(own, targets)

    try:
        results: Tensor = torch.vmap(one)(outputs)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        results = torch.stack([one(own) for own in outputs])
    return results


def _per_lane(flags: Tensor, like: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (like.dim() - 1))


def _require_adjoint(u: Tensor, pushed: Tensor, pulled: Sequence[Tensor], v: Sequence[Tensor]) -> None:
    """Refuse a model whose forward mode is not the transpose of its gradient: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ in every lane."""
    one, other = _inner([u], [pushed]), _inner(pulled, v)
    lengths = (_inner(pulled, pulled) * _inner(v, v)).sqrt()
    tolerance = 1e-3 if u.dtype == torch.float64 or not torch.backends.cuda.matmul.allow_tf32 else 1e-2
    agree = (one - other).abs() <= tolerance * torch.maximum(one.abs(), lengths) + 1e-30
    if not bool((agree | ~lengths.isfinite()).all()):
        raise BatchingError("forward mode and the gradient of the model do not agree")


def _inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The inner products of all lanes [N]."""
    return torch.stack([inner_of_lanes(a, b) for a, b in zip(first, second, strict=True)]).sum(0)
