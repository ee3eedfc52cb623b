"""How matrix products are computed on an accelerator: in float32, TF32 or bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]


@contextmanager
def precision(setting: Precision, device: torch.device) -> Iterator[None]:
    """Let matrix products and convolutions of a block use TF32 or not; what was set before is put back.

    PyTorch's own default allows TF32 in convolutions; here ``"float32"`` means float32. On a CPU nothing happens.

    Args:
        setting: ``"tf32"`` and ``"bf16"`` allow TF32 for what stays in float32.
        device: Where the block computes.

    Example:
        >>> with precision("tf32", torch.device("cuda")):
        ...     torch.backends.cuda.matmul.allow_tf32
        True
        >>> torch.backends.cuda.matmul.allow_tf32
        False
    """
    if device.type != "cuda":
        yield
        return
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = setting != "float32"
        yield
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed


def autocast(setting: Precision, device: torch.device) -> torch.autocast:
    """The context of one forward pass: bfloat16 where it is asked for, else nothing.

    Losses leave autocast by themselves and compute in float32. Weights that were cast are not kept for the next pass,
    as an optimiser has changed them by then.

    Args:
        setting: ``"bf16"`` casts.
        device: Where the model lives.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=setting == "bf16", cache_enabled=False)
