"""How far an adaptive optimiser moves each weight: measured by some steps with the task loss, then taken as fixed."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import grad

from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import FunctionalModel
from evomal.losses.criterion import LossFunction
from evomal.training.clipping import shortened
from evomal.training.optimizers import OwnOptimizer

STEPS = 5
"""Of the optimiser with the task loss; the first is on the training batch that the loss itself meets."""


def diagonal_scaling(
    model: FunctionalModel, batches: Iterable[tuple[Tensor, Tensor]], task_loss: LossFunction, step: BaseStep
) -> list[Tensor] | None:
    r"""The factor of each weight in the step of an adaptive optimiser.

    Adam and RMSprop: :math:`1 / (\sqrt{\hat v} + \epsilon)` of the second moments v that gradients of the task loss
    leave. Of an optimiser that is not known inside: the root mean square of its changes of a weight over that of the
    weight's gradients, which holds the learning rate. A weight without any gradient has the factor 0.

    Args:
        model: The model at θ0, which stays as it is.
        batches: Inputs and targets, one pair for each step.
        task_loss: L_T.
        step: The base optimiser.

    Returns:
        A tensor for each parameter; None for an optimiser that scales no weight by itself.
    """
    if not step.optimizer.adaptive:
        return None
    parameters = [p.detach().clone().requires_grad_() for p in model.parameters]
    optimizer = step.optimizer.make(parameters, step.base.lr)
    changes, slopes = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for x, y in batches:
        value = task_loss(model(parameters, x), y)
        found = model.after_hooks(grad(value, parameters, allow_unused=True))
        used = [number for number, gradient in enumerate(found) if gradient is not None]
        clipped = shortened([g for g in found if g is not None], step.base.clip)
        before = [p.detach().clone() for p in parameters]
        optimizer.zero_grad()
        for number, gradient in zip(used, clipped, strict=True):
            parameters[number].grad = gradient
            slopes[number] += gradient.square()
        optimizer.step()
        for change, parameter, old in zip(changes, parameters, before, strict=True):
            change += (parameter.detach() - old).square()
    if isinstance(step.optimizer, OwnOptimizer):
        pairs = zip(changes, slopes, strict=True)
        return [torch.where(slope > 0, (change / slope).sqrt(), 0.0) for change, slope in pairs]
    return step.optimizer.scaling(optimizer, parameters)
