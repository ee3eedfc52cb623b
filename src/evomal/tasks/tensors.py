"""Whatever a user holds numbers in, as tensors of the types that networks take, checked; tensors sent to processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError, one_line
from evomal.losses.arguments import refuse_masked
from evomal.losses.criterion import IGNORED

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_tensor(values: Any, where: str, floating: torch.dtype | None = None) -> Tensor:
    """A tensor from a tensor, an array, or anything that NumPy makes an array of.

    Args:
        values: The numbers.
        where: How messages call them, such as ``"x of the training split of data set 'digits'"``.
        floating: What all floats become, for a model that does not compute in the default type; None: see below.

    Returns:
        A tensor without gradient; float64 becomes PyTorch's default dtype (float32), other types are kept.

    Raises:
        DataError: These are not numbers, or rows have different shapes.

    Example:
        >>> as_tensor([[1.0, 2.0]], "x").dtype
        torch.float32
    """
    tensor = values.detach() if isinstance(values, Tensor) else _read(values, where)
    _require_ordinary(tensor, where)
    if floating is not None and tensor.is_floating_point():
        return tensor.to(floating)
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def _require_ordinary(tensor: Tensor, where: str) -> None:
    """Refuse tensors that have no values side by side, or none of the usual types."""
    odd = "nested" if tensor.is_nested else None
    if odd is None and tensor.layout is not torch.strided:
        odd = "sparse"
    if odd is None and tensor.is_quantized:
        odd = "quantized"
    if odd is not None:
        raise DataError(f"{where} is a {odd} tensor; give an ordinary one (such as from .to_dense() or .dequantize())")
    if tensor.is_meta:
        raise DataError(f"{where} is a tensor on the device 'meta', without values; give one that has them")
    if tensor.is_complex():
        raise DataError(f"{where} holds complex numbers; give real ones")
    if tensor.is_floating_point() and tensor.dtype not in FLOATS:
        raise DataError(f"{where} holds {tensor.dtype} values; give float32 ones")


def _read(values: Any, where: str) -> Tensor:
    """A tensor from what is none yet."""
    parts = values if isinstance(values, tuple | list) else ()
    for part in (values, *parts):
        refuse_masked(part, where)
    if isinstance(values, Mapping):
        raise DataError(f"{where} is a {type(values).__name__}; give a tensor or an array")
    if hasattr(values, "toarray"):
        raise DataError(f"{where} is sparse ({type(values).__name__}); give a dense array (.toarray())")
    if parts and all(isinstance(part, Tensor) for part in parts):
        try:
            return torch.stack([part.detach() for part in parts])
        except RuntimeError as error:
            raise DataError(f"{where} cannot be stacked ({one_line(error)}); give rows of equal shapes") from None
    return _from_numpy(values, where)


def _from_numpy(values: Any, where: str) -> Tensor:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{where} cannot be read as an array ({error}); give rows of equal shapes") from None
    if array.dtype.kind not in "biufc":
        raise DataError(f"{where} holds {array.dtype} values; give numbers (class names as integers from 0)")
    if array.dtype.kind in "fc" and array.dtype.itemsize > 8 * (1 + (array.dtype.kind == "c")):
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)  # torch has no long double
    # torch reads neither the other byte order nor negative strides, and warns about read-only memory.
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_targets(values: Tensor, task_type: str, ignore_index: int, floating: torch.dtype | None = None) -> Tensor:
    """Targets as losses take them: floats for regression and several labels, else int64 labels or soft labels."""
    if task_type != "classification" or values.is_floating_point():
        return values.to(floating or torch.get_default_dtype())
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


def pack_tensor(tensor: Tensor) -> Any:
    """A tensor as a NumPy array where its type has one; joblib maps arrays into the memory of all workers.

    Example:
        >>> unpack_tensor(pack_tensor(torch.tensor([1.0, 2.0])), "cpu")
        tensor([1., 2.])
    """
    tensor = tensor.detach().cpu()
    return tensor if tensor.dtype == torch.bfloat16 else tensor.numpy()


def unpack_tensor(packed: Any, device: torch.device | str) -> Tensor:
    """The tensor that `pack_tensor` packed, on a device."""
    tensor = torch.from_numpy(packed) if isinstance(packed, np.ndarray) else packed
    return tensor.to(device)


def known_here(device: torch.device) -> torch.device:
    """A device as this process knows it: where a worker is given one GPU of many, that has another number.

    Example:
        >>> known_here(torch.device("cpu"))
        device(type='cpu')
    """
    if device.type == "cuda" and (device.index or 0) >= max(1, torch.cuda.device_count()):
        return torch.device("cuda")
    return device
