"""What a user gives to `evomal.meta_gradient`, checked and brought to one form."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evomal.foundation.errors import ModelError, SettingError, one_line
from evomal.local_search.one_step import Batch
from evomal.losses import get_handcrafted
from evomal.losses.arguments import refuse_masked
from evomal.losses.checks import checked_function, require_scalar
from evomal.losses.criterion import Criterion, LossFunction
from evomal.tasks.inputs import Form, pack
from evomal.tasks.wrappers import unwrapped


def read_batches(
    train_batches: Any, valid_batch: Any, device: torch.device, floating: torch.dtype | None = None
) -> tuple[list[Batch], Batch, Form | None]:
    """Batches from a list, a generator or a `DataLoader` of pairs, of tensors or arrays; on the model's device.

    Args:
        train_batches: Pairs of inputs, or a tuple or a dict of several, and targets.
        valid_batch: One such pair.
        device: Where batches are put.
        floating: What float64 of arrays becomes; None means the default type.

    Returns:
        The batches, and the form of several inputs, which lie in one tensor as bytes.

    Raises:
        SettingError: They are no pairs, or hold no numbers.
        DataError: Several inputs have different lengths, or other forms in other batches.

    Example:
        >>> pair = ([[1.0]], [0])
        >>> read_batches((p for p in [pair]), pair, torch.device("cpu"))[0]
        [(tensor([[1.]]), tensor([0]))]
    """
    batches = list(train_batches) if isinstance(train_batches, Iterable) else []
    if not batches or not all(_is_pair(batch) for batch in batches):
        raise SettingError("train_batches holds no pairs; give one (inputs, targets) for each base step, in a list")
    if not _is_pair(valid_batch):
        raise SettingError(f"valid_batch is a {type(valid_batch).__name__}; give one pair (inputs, targets)")
    form: Form | None = None
    found = []
    named = [(batch, f"batch {number} of train_batches") for number, batch in enumerate(batches)]
    for (x, y), where in (*named, (valid_batch, "valid_batch")):
        if _has_several_inputs(x):
            read, form = pack(x, "inputs", where, floating, form)
            read = read.to(device)
        else:
            read = _tensor(x, f"inputs of {where}", device, floating)
        found.append((read, _tensor(y, f"targets of {where}", device, floating)))
    return found[:-1], found[-1], form


def read_loss(loss: Any) -> nn.Module:
    """The loss, which must be a module with parameters to tune and give one number.

    Raises:
        SettingError: It is something else.
    """
    if not isinstance(loss, nn.Module):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise SettingError(
            f"the loss '{name}' is no torch.nn.Module, so that there is nothing to tune in it; give a SymbolicLoss, or "
            "a module that holds its coefficients as parameters"
        )
    parameters = list(loss.parameters())
    if not parameters or not all(p.requires_grad for p in parameters):
        raise SettingError(
            "the loss has no parameter, or one that requires no gradient; call loss.requires_grad_() if it has any"
        )
    _refuse_inference(parameters, "loss")
    require_reduced(loss)
    return loss


def require_reduced(loss: nn.Module) -> None:
    """Refuse a loss that gives a value for each instance: a gradient needs one number.

    Raises:
        SettingError: Its reduction is ``"none"``.
    """
    if isinstance(loss, Criterion) and loss.reduction == "none":
        raise SettingError("the loss has reduction 'none', but a gradient is taken of one number; set it to 'mean'")


def read_model(model: Any) -> nn.Module:
    """The model, out of what spreads it over devices or compiles it.

    Raises:
        ModelError: It is no module.
    """
    model = unwrapped(model)
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}; give a torch.nn.Module")
    _refuse_inference(model.parameters(), "model")
    return model


def _refuse_inference(parameters: Iterable[Tensor], what: str) -> None:
    """Refuse parameters that no gradient can ever be taken of."""
    if any(p.is_inference() for p in parameters):
        raise ModelError(f"the {what} was made inside torch.inference_mode, so it has no gradients; make it outside")


def read_task_loss(task_loss: Any) -> LossFunction:
    """The task loss by its name or as a function, which must give one number.

    Raises:
        UnknownNameError: There is no loss of that name.
        SettingError: It is nothing that can be called, or a class instead of a loss.
    """
    if isinstance(task_loss, str):
        return get_handcrafted(task_loss)
    checked_function(task_loss, "task_loss")

    def one_number(outputs: Tensor, targets: Tensor) -> Tensor:
        return require_scalar(task_loss(outputs, targets), "the task loss")

    return one_number


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2


def _has_several_inputs(x: Any) -> bool:
    """Whether x is inputs by name, or a tuple of arrays, or a list of them as a `DataLoader` makes of tuples."""
    if isinstance(x, Mapping):
        return True
    kinds = (Tensor,) if isinstance(x, list) else (Tensor, np.ndarray)
    return isinstance(x, tuple | list) and bool(x) and all(isinstance(part, kinds) and part.ndim > 0 for part in x)


def _tensor(values: Any, where: str, device: torch.device, floating: torch.dtype | None) -> Tensor:
    if isinstance(values, Tensor):
        return values.clone() if values.is_inference() else values  # which autograd would not keep
    refuse_masked(values, where)
    try:
        tensor = torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise SettingError(f"{where} cannot be read as numbers ({one_line(error)}); give a tensor") from None
    return tensor.to(floating or torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
