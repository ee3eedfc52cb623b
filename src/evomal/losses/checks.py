"""Checks of the weights that a learned loss is given, with one text for every family."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evomal.errors import SettingError


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
