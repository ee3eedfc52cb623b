"""`evomal.meta_gradient`: how the task loss after base training changes with the coefficients of the loss."""

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from evomal.config import BaseSettings, validated
from evomal.foundation.contexts import exclusive, recording
from evomal.foundation.errors import ModelError
from evomal.foundation.seeds import random_state, set_random_state
from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import FunctionalModel, batch_statistics, plain_kernels
from evomal.local_search.given import read_batches, read_loss, read_model, read_task_loss
from evomal.local_search.one_step import Batch, completed, linearise, one_step
from evomal.local_search.unroll import unrolled
from evomal.local_search.warm_up import STEPS, diagonal_scaling
from evomal.losses.checks import checked_rates
from evomal.losses.criterion import LossFunction
from evomal.tasks.factories import NOTHING_OWN, OptimizerFactory, UserOptimizer, floats_of
from evomal.tasks.inputs import Outputs, adapted
from evomal.training.pooling import fast_pooling
from evomal.training.substitution import RECOMPUTES

# Models that were seen to follow the values that are put in the place of their parameters.
_followed: WeakSet[nn.Module] = WeakSet()


@recording()
def meta_gradient(
    loss: nn.Module,
    model: nn.Module,
    train_batches: Iterable[Batch],
    valid_batch: Batch,
    task_loss: str | LossFunction = "cross_entropy",
    lr: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    *,
    optimizer: str | OptimizerFactory = "sgd",
    outputs: Outputs | None = None,
    **base: Any,
) -> list[Tensor]:
    r"""The gradient of the task loss after base steps with respect to the loss's parameters φ.

    :math:`\nabla_\phi\,\mathcal{L}_T\big(y, f_{\theta_{new}(\phi)}(x)\big)` with
    :math:`\theta_{new} = \theta - \alpha\nabla_\theta\mathcal{M}_\phi(y, f_\theta(x))` for each training batch in turn
    (Equations 3 to 7). One base step costs less than three training steps (see `evomal.local_search.one_step`); more
    are unrolled. The model is left as it was, buffers included, and is used in the mode that it is in: in training
    mode, normalisation layers use batch statistics. Kernels without the derivatives that are needed (fused attention,
    fused recurrent layers) are replaced by plain ones for the call.

    Args:
        loss: M_φ, any module called as ``loss(outputs, targets) -> scalar``.
        model: The base model; parameters that do not require a gradient stay fixed.
        train_batches: One (inputs, targets) for each base step, in a list, a generator or a `DataLoader`; tensors,
            or arrays, of which float64 becomes the default dtype, or stays where the model computes in it. Several
            inputs are a tuple, or a dict by their names.
        valid_batch: The (inputs, targets) on which the task loss is taken.
        task_loss: Name of a handcrafted loss, or a function of (outputs, targets).
        lr: Base learning rate α.
        momentum: Momentum of the base optimiser, which starts from rest.
        nesterov: Nesterov momentum.
        weight_decay: Weight decay of the base optimiser.
        optimizer: Its name, or a function ``optimizer(parameters, lr)`` that makes it. An adaptive one scales each
            weight by fixed factors, which some steps with the task loss on the training batches in turn have left (see
            `evomal.local_search.warm_up`).
        outputs: Picks the raw outputs from what the model gives, such as ``lambda out: out["logits"]``.
        **base: Further settings of the base optimiser: ``clip``, ``betas``, ``smoothing``, ``eps``.

    Returns:
        A tensor for each of ``loss.parameters()``, of its shape; zeros where a parameter has no influence.

    Raises:
        SettingError: There is no training batch, the loss has nothing to tune or gives more than one number, or a
            rate is odd.
        ModelError: The model has no trainable parameter, or an operation that cannot be differentiated twice; it
            reaches a parameter past the module that holds it, checkpoints its activations, or was made in
            ``torch.inference_mode``.
        NotFiniteError: The loss or its gradient at the predictions is not finite (an ArithmeticError).

    Example:
        >>> import evomal, torch
        >>> criterion = evomal.SymbolicLoss("square(sub(y, f))", task_type="regression")
        >>> batch = torch.ones(4, 2), torch.ones(4)
        >>> [g.shape for g in meta_gradient(criterion, torch.nn.Linear(2, 1), [batch], batch, task_loss="mse")]
        [torch.Size([3])]

    Source:
        Raymond et al., 2023, Section 3.2; Grefenstette et al., "Generalized Inner Loop Meta-Learning", 2019.
    """
    model, loss, function = read_model(model), read_loss(loss), read_task_loss(task_loss)
    checked_rates(lr=lr, momentum=momentum, weight_decay=weight_decay)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    train_batches, valid_batch, form = read_batches(train_batches, valid_batch, device, floats_of(model))
    named = {"optimizer": optimizer if isinstance(optimizer, str) else "own"}
    given = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    settings = validated(BaseSettings, base | given | named)
    step = BaseStep(settings, NOTHING_OWN if isinstance(optimizer, str) else UserOptimizer(optimizer))
    with exclusive(), batch_statistics(model), fast_pooling(model):
        functional = FunctionalModel(adapted(model, form, outputs))
        if not functional.parameters:
            raise ModelError("the model has no parameter that requires a gradient; there is nothing to train")
        state = random_state(device)
        batches = islice(cycle(train_batches), STEPS)
        step = step.scaled(diagonal_scaling(functional, batches, function, step))
        set_random_state(state, device)
        found = _robust(loss, functional, train_batches, valid_batch, function, step)
        if model not in _followed:
            functional.require_followed(train_batches[0][0])
            _followed.add(model)
        return found


def _robust(
    loss: nn.Module,
    model: FunctionalModel,
    train_batches: Sequence[Batch],
    valid_batch: Batch,
    task_loss: LossFunction,
    step: BaseStep,
) -> list[Tensor]:
    """The cheapest way that the model's operations allow."""

    def cheap() -> list[Tensor]:
        x, y = train_batches[0]
        linearisation = linearise(model, x, keep=False)
        return completed(one_step(loss, model, linearisation, y, valid_batch, task_loss, step, check=True))

    def general() -> list[Tensor]:
        return unrolled(loss, model, train_batches, valid_batch, task_loss, step)

    device = train_batches[0][0].device
    state = random_state(device)
    if len(train_batches) == 1 and not model.hooked:
        try:
            return cheap()
        except RuntimeError:  # an operation without a forward-mode derivative, or with a wrong one
            set_random_state(state, device)
    try:
        with plain_kernels():
            return general()
    except RuntimeError as error:
        if "torch.utils.checkpoint" in str(error):
            raise ModelError(RECOMPUTES) from error
        if "differentiab" not in str(error) and "derivative" not in str(error):
            raise  # of the model, the loss or their shapes
        first = str(error).splitlines()[0]
        raise ModelError(
            f"the model holds an operation that cannot be differentiated as meta-gradients need: {first}"
        ) from error
