"""Whatever a user holds numbers in, as tensors of the types that networks take; checks of their values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.losses.criterion import IGNORED


def as_tensor(values: Any, where: str) -> Tensor:
    """A tensor from a tensor, an array, or anything that NumPy makes an array of.

    Args:
        values: The numbers.
        where: How messages call them, such as ``"x of the training split of data set 'digits'"``.

    Returns:
        A tensor without gradient; float64 becomes PyTorch's default dtype (float32), other types are kept.

    Raises:
        DataError: These are not numbers, or rows have different shapes.

    Example:
        >>> as_tensor([[1.0, 2.0]], "x").dtype
        torch.float32
    """
    tensor = values.detach() if isinstance(values, Tensor) else _from_numpy(values, where)
    if tensor.is_complex():
        raise DataError(f"{where} holds complex numbers; give real ones")
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def _from_numpy(values: Any, where: str) -> Tensor:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where} cannot be read as an array ({error}); give rows of equal shapes") from None
    if array.dtype.kind not in "biufc":
        raise DataError(f"{where} holds {array.dtype} values; give numbers (class names as integers from 0)")
    # torch reads neither the other byte order nor negative strides, and warns about read-only memory.
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_targets(values: Tensor, task_type: str, ignore_index: int) -> Tensor:
    """Targets as losses take them: floats for regression, else int64 labels or soft labels."""
    if task_type == "regression" or values.is_floating_point():
        return values.to(torch.get_default_dtype())
    labels = values.long()
    return labels if ignore_index == IGNORED else torch.where(labels == ignore_index, IGNORED, labels)


def require_finite(values: Tensor, where: str, rows: Sequence[int] | None = None) -> None:
    """Raise a `DataError` naming the first of `rows` in which `values` [N, ...] has NaN or infinity."""
    if not values.is_floating_point():
        return
    finite = torch.isfinite(values)
    if bool(finite.all()):
        return
    row = first_row(~finite)
    value = float(values[row][~finite[row]].flatten()[0])
    named = row if rows is None else rows[row]
    raise DataError(f"{where} holds {value} (first in row {named}); remove or fill in such rows")


def first_row(flags: Tensor) -> int:
    """The first row of `flags` [N, ...] in which anything is true."""
    return int(flags.reshape(len(flags), -1).any(1).nonzero()[0, 0])
