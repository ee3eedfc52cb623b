"""The meta-gradient through any number of base steps, by differentiating through the whole unrolled training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import grad

from evomal.local_search.base_step import BaseStep
from evomal.local_search.endings import require_finite
from evomal.local_search.functional import FunctionalModel
from evomal.local_search.one_step import Batch
from evomal.losses.checks import require_scalar
from evomal.losses.criterion import LossFunction
from evomal.training.optimizer import State


def unrolled(
    loss: nn.Module,
    model: FunctionalModel,
    train_batches: Sequence[Batch],
    valid_batch: Batch,
    task_loss: LossFunction,
    step: BaseStep,
) -> list[Tensor]:
    """The meta-gradient of Equation 7 through one base step per training batch (Algorithm 1).

    Args:
        loss: The learned loss M_φ, called as ``loss(outputs, targets)``.
        model: The base model, its parameters being θ0.
        train_batches: A batch for each base step.
        valid_batch: Inputs and targets for the task loss.
        task_loss: L_T.
        step: The base optimiser.

    Returns:
        dL_T/dφ, a tensor for each of ``loss.parameters()``; zeros where φ has no part in it.

    Raises:
        NotFiniteError: The loss or its gradient at the predictions is not finite.
        ModelError: The model is none that other parameters can be put in, or its hooks hide where gradients came from.
        RuntimeError: An operation of the model can be differentiated only once.
    """
    phi = list(loss.parameters())
    theta: Sequence[Tensor] = model.parameters
    state: State | None = None
    for x, y in train_batches:
        value = require_scalar(loss(model(theta, x), y), "the loss")
        if not value.requires_grad:
            return [torch.zeros_like(p) for p in phi]
        gradients = model.gradients(value, theta, create_graph=True)
        require_finite(value, torch.stack([g.detach().sum() for g in gradients]))
        require_twice_differentiable(gradients)
        theta, state = step.following(theta, gradients, state)
    result = task_loss(model(theta, valid_batch[0]), valid_batch[1])
    return list(grad(result, phi, allow_unused=True, materialize_grads=True))


def require_twice_differentiable(gradients: Sequence[Tensor]) -> None:
    """Refuse gradients that went through an operation marked as differentiable only once.

    Autograd raises only where such an operation lies between the result and φ; elsewhere the path to φ just ends, and
    the meta-gradient would be wrong without a word.
    """
    waiting = [g.grad_fn for g in gradients]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in ("Error", "torch::autograd::Error"):
            raise RuntimeError("an operation is marked as differentiable only once")
        waiting += [following for following, _ in node.next_functions]
