"""Checks of what losses are given, with one text for every family: weights, labels, functions and their values."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evomal.foundation.errors import SettingError


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
