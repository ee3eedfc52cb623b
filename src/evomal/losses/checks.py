"""Checks of what losses are given, with one text for every family: weights, labels, and the arguments of a call."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evomal.foundation.errors import DataError, SettingError, one_line

SHARES_SUM = 1e-4
"""By how much shares may miss a sum of 1: they may have been float32."""


def finite_numbers(
    values: Sequence[float] | Tensor, count: int, owner: str, dtype: torch.dtype | None = None
) -> Tensor:
    """Weights as a tensor of its own.

    Args:
        values: The weights, one after the other.
        count: How many there must be.
        owner: What an error calls the loss.
        dtype: Of the tensor, in which the numbers must be finite; None means the default dtype.

    Returns:
        The weights, shape [count], outside any graph.

    Raises:
        SettingError: They are not so many finite numbers.

    Example:
        >>> finite_numbers([1, 0.5], 2, "a loss")
        tensor([1.0000, 0.5000])
    """
    try:
        weights = torch.as_tensor(values, dtype=dtype or torch.get_default_dtype()).detach().clone()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise SettingError(f"the weights of {owner} are not numbers; give a flat list of {count:,}") from None
    if weights.shape != (count,):
        shape = list(weights.shape)
        raise SettingError(f"{owner} has {count:,} weights but those given have shape {shape}; give a flat list")
    if not weights.isfinite().all():
        raise SettingError(f"the weights of {owner} hold a number that is not finite; give finite ones")
    return weights


def listed_numbers(weights: Any) -> list[float]:
    """The weights that a file's entries hold.

    Raises:
        SettingError: They are no list of numbers.

    Example:
        >>> listed_numbers([1, 0.5])
        [1, 0.5]
    """
    if not isinstance(weights, list) or any(type(weight) not in (int, float) for weight in weights):
        raise SettingError("it needs weights (a list of numbers); write it anew")
    return weights


def checked_label(ignore_index: Any) -> int | None:
    """A label that does not count, or None for "every label does".

    Raises:
        SettingError: It is no whole number that a label can be.

    Example:
        >>> checked_label(255)
        255
    """
    if ignore_index is None:
        return None
    try:
        label = operator.index(ignore_index)
    except (TypeError, RuntimeError, ValueError):
        label = 2**63
    if isinstance(ignore_index, bool) or not -(2**63) <= label < 2**63:
        raise SettingError(
            f"ignore_index is {ignore_index!r}; give the label that does not count as a whole number, such as -100, "
            "or None"
        )
    return label


def first_place(flags: Tensor) -> str:
    """Where the first of some flags [B, ...] is true, in words.

    Example:
        >>> first_place(torch.tensor([False, True])), first_place(torch.tensor([[False, True]]))
        ('in row 1', 'in row 0, at [1]')
    """
    row, *rest = flags.nonzero()[0].tolist() or [0]
    return f"in row {row}" + (f", at {rest}" if rest else "")


def call_arguments(
    outputs: Any, targets: Any, sample_weight: Any, input: Any = None, target: Any = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What a criterion is called with, by our names or PyTorch's, as tensors; arrays and lists are read as such.

    Raises:
        DataError: Outputs or targets are missing, given twice, or no numbers that a loss can take.

    Example:
        >>> call_arguments(None, None, None, input=torch.tensor([1.5]), target=[1])[:2]
        (tensor([1.5000]), tensor([1]))
    """
    outputs = _either(outputs, input, "outputs", "input")
    targets = _either(targets, target, "targets", "target")
    if not isinstance(outputs, Tensor):
        raise DataError(
            f"outputs are a {type(outputs).__name__}; give the one tensor that the loss is taken of, such as "
            "outputs[0] or outputs.logits"
        )
    if not outputs.is_floating_point():
        raise DataError(f"outputs {list(outputs.shape)} are {outputs.dtype}; give real floats, as networks do")
    targets = _read(targets, "targets", outputs)
    weight = None if sample_weight is None else _read(sample_weight, "sample_weight", outputs)
    if outputs.layout is not torch.strided or targets.layout is not torch.strided:
        raise DataError("outputs or targets are sparse; make them dense with .to_dense()")
    return outputs, targets, weight


def _either(ours: Any, theirs: Any, name: str, alias: str) -> Any:
    if ours is not None and theirs is not None:
        raise DataError(f"{name} and {alias} are the same argument; give one of them")
    if ours is None and theirs is None:
        raise DataError(f"{name} are missing; call a criterion as criterion(outputs, targets)")
    return theirs if ours is None else ours


def _read(values: Any, name: str, outputs: Tensor) -> Tensor:
    """Targets or weights as a tensor where the outputs are."""
    tensor = values
    if not isinstance(tensor, Tensor):
        refuse_masked(values, name)
        try:
            tensor = torch.as_tensor(values, device=outputs.device)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise DataError(f"{name} cannot be read as numbers ({one_line(error)}); give a tensor") from None
    if tensor.is_complex():
        raise DataError(f"{name} are {tensor.dtype}; give real numbers")
    if tensor.device != outputs.device and tensor.dim() > 0:
        raise DataError(f"{name} are on {tensor.device} but outputs on {outputs.device}; bring both to one device")
    return tensor


def refuse_masked(values: Any, name: str) -> None:
    """Refuse a NumPy array with masked entries: read as numbers, what lies under the mask would count.

    Raises:
        DataError: Something is masked.
    """
    mask = getattr(values, "mask", None) if type(values).__module__.startswith("numpy.ma") else None
    if mask is None or not mask.any():
        return
    row = f" (first in row {int(mask.reshape(len(mask), -1).any(1).nonzero()[0][0])})" if mask.ndim else ""
    raise DataError(
        f"{name}: entries are masked{row}, and a mask is not looked at; fill them in (values.filled(-100) for labels "
        "that do not count), or leave such rows out"
    )


def require_scalar(value: Any, called: str) -> Tensor:
    """The value of a loss, which must be one number.

    Args:
        value: What the loss gave.
        called: How messages call it, such as ``"the loss"``.

    Raises:
        SettingError: It is something else.

    Example:
        >>> require_scalar(torch.ones(3), "the loss")
        Traceback (most recent call last):
        evomal.foundation.errors.SettingError: the loss gives shape [3]; let it return one number (reduction='mean')
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return value
    if isinstance(value, Tensor):
        raise SettingError(f"{called} gives shape {list(value.shape)}; let it return one number (reduction='mean')")
    raise SettingError(f"{called} gives a {type(value).__name__}; let it return a tensor with one number")


def checked_rates(**rates: Any) -> None:
    """Refuse settings of an optimiser that are not finite numbers from 0 on.

    Raises:
        SettingError: One is something else.

    Example:
        >>> checked_rates(lr=float("nan"))
        Traceback (most recent call last):
        evomal.foundation.errors.SettingError: lr is nan; give a finite number, 0 or above
    """
    for name, rate in rates.items():
        try:
            number = float(rate)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if isinstance(rate, str) or not (math.isfinite(number) and number >= 0):
            raise SettingError(f"{name} is {rate!r}; give a finite number, 0 or above")


def checked_function(function: Any, setting: str) -> Any:
    """What is to be called as a loss: a function, or a loss that is built already.

    Raises:
        SettingError: It is something else, such as a class.

    Example:
        >>> checked_function(torch.dist, "task_loss") is torch.dist
        True
    """
    if isinstance(function, type):
        name = function.__name__
        raise SettingError(f"{setting} is the class {name}; give a loss that is built, such as {name}()")
    if not callable(function):
        raise SettingError(f"{setting} is {function!r}; give the name of a loss, or a function of (outputs, targets)")
    return function


def class_numbers(counts: Sequence[int] | Tensor, owner: str) -> Tensor:
    """How many labels each class has, as a tensor of its own.

    Args:
        counts: A number for each class.
        owner: What an error calls the loss.

    Returns:
        The numbers, int64 [C].

    Raises:
        SettingError: They are no whole numbers, one is below 0, or all are 0.

    Example:
        >>> class_numbers([30, 10], "a loss")
        tensor([30, 10])
    """
    try:
        given = torch.as_tensor(counts).detach()
        whole = given.long()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        given = whole = torch.empty(0)
    if given.dim() != 1 or not torch.equal(whole.to(given.dtype), given) or bool((whole < 0).any()) or not whole.any():
        raise SettingError(
            f"class_counts of {owner} must be whole numbers, none below 0 and not all 0; give the number of training "
            "labels of each class"
        )
    return whole.clone()


def class_shares(counts: Sequence[int] | Tensor, owner: str) -> Tensor:
    """The share of each class among training labels; a class without labels counts as if it had one.

    Args:
        counts: The number of labels of each class.
        owner: What an error calls the loss.

    Returns:
        Shares above 0 that sum to 1, float64 [C].

    Raises:
        SettingError: The numbers are none of labels.

    Example:
        >>> class_shares([30, 10], "a loss").tolist()
        [0.75, 0.25]
    """
    whole = class_numbers(counts, owner).clamp(min=1)
    return whole.double() / whole.sum()


def checked_shares(shares: Sequence[float] | Tensor, owner: str) -> tuple[float, ...]:
    """Shares of classes as plain numbers.

    Raises:
        SettingError: They are not one number above 0 for each class, or do not sum to 1.

    Example:
        >>> checked_shares([0.75, 0.25], "a loss")
        (0.75, 0.25)
    """
    try:
        given = torch.as_tensor(shares, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        given = torch.empty(0)
    if given.dim() != 1 or not bool((given > 0).all()) or abs(float(given.sum()) - 1) > SHARES_SUM:
        raise SettingError(
            f"prior of {owner} must be a number above 0 for each class, together 1; give the classes' shares of the "
            "training labels"
        )
    return tuple(given.tolist())
