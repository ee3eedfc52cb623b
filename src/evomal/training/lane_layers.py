"""Layers whose gradients libraries are slow at for many lanes: convolutions, and average pooling, on a GPU.

Within `quick_layers` a call of ``conv2d`` or ``avg_pool2d`` under `torch.vmap` goes to functions of ours; they compute
what PyTorch's own compute, differentiable once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evomal.foundation.contexts import Switch
from evomal.training.lane_convolution import LanesConvolution, Pair, faithful
from evomal.training.lane_pooling import TilesPooling
from evomal.training.pooling import pair

layers_allowed = Switch()
"""Whether layers take our functions where these are to be had."""


@contextmanager
def quick_layers(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block, layers under `torch.vmap` take our functions, where these are to be had.

    Args:
        model: Whose layers they are.
        device: Where they compute.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (layers_allowed.on and (device.type == "cuda" or interpreted) and find_spec("triton")):
        yield
        return
    # Tried here, as nothing can be tried within vmap.
    convolutions = {max(m.stride) > 1 for m in model.modules() if isinstance(m, nn.Conv2d)}
    with _Quick({strided for strided in convolutions if faithful(device, strided)}):
        yield


class _Quick(TorchFunctionMode):
    """Takes the layers' calls; convolutions that are strided, or are not, where they are in the set."""

    def __init__(self, strided: set[bool]) -> None:
        super().__init__()
        self._strided = strided

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or ours in its place."""
        taken = None
        if func is torch.conv2d:
            taken = _convolution(self._strided, *args, **(kwargs or {}))
        elif func is functional.avg_pool2d:
            taken = _pooling(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if taken is None else taken


def _convolution(
    strided: set[bool],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor | None:
    if not _batched(weight) or not _batched(x) or x.dim() != 4 or isinstance(padding, str):
        return None
    if groups != 1 or pair(dilation) != (1, 1) or not x.is_floating_point() or x.dtype == torch.float64:
        return None
    if torch.is_autocast_enabled(x.device.type) or (max(pair(stride)) > 1) not in strided:
        return None
    result: Tensor = LanesConvolution.apply(x, weight, bias, pair(stride), pair(padding))  # type: ignore[no-untyped-call]
    return result


def _pooling(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor | None:
    size = pair(kernel_size)
    tiles = stride is None or pair(stride) == size
    if not tiles or pair(padding) != (0, 0) or divisor_override is not None or x.dim() != 4 or not _batched(x):
        return None
    if x.shape[2] % size[0] or x.shape[3] % size[1]:
        return None
    result: Tensor = TilesPooling.apply(x, size)  # type: ignore[no-untyped-call]
    return result


def _batched(tensor: Tensor) -> bool:
    return bool(torch._C._functorch.is_batchedtensor(tensor))
