"""How a task is sent to another process: data as arrays that workers can share, code by value."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


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
