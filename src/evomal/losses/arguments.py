"""What a criterion is called with: outputs, targets and weights, under our names or PyTorch's, as tensors."""

from typing import Any

import torch
from torch import Tensor

from evomal.foundation.errors import DataError, one_line


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


def first_place(flags: Tensor) -> str:
    """Where the first of some flags [B, ...] is true, in words.

    Example:
        >>> first_place(torch.tensor([False, True])), first_place(torch.tensor([[False, True]]))
        ('in row 1', 'in row 0, at [1]')
    """
    row, *rest = flags.nonzero()[0].tolist() or [0]
    return f"in row {row}" + (f", at {rest}" if rest else "")
