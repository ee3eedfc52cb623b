"""Forward mode that does not compute again what the first forward pass has computed.

A dual pass computes every value once more, beside its derivative. Convolutions are the bulk of that in convolutional
networks; they are linear in their inputs and in their weights, so their derivative does not need their value, and the
value of the first pass can be taken.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)

Recorded = tuple[Tensor, int]


class Recording(TorchFunctionMode):
    """Takes down the values of convolutions, in their order.

    Attributes:
        values: Each value with the version that it had, as it may be overwritten later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Recorded] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, and take its value down."""
        value = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS:
            self.values.append((value.detach(), value._version))
        return value


class Replay(TorchFunctionMode):
    """In forward mode, takes the values of convolutions from a recording of the same pass.

    Inputs that have no derivative are spared the convolution of zeros that forward mode would do for them.

    Args:
        values: What `Recording` took down; without, values are computed.
    """

    def __init__(self, values: Sequence[Recorded] = ()) -> None:
        super().__init__()
        self._values: Iterator[Recorded] = iter(values)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch; a convolution as described."""
        if func in CONVOLUTIONS:
            if len(args) > 2:
                return self._convolution(func, args[:3], args[3:], kwargs or {})
            self._taken()  # called by keywords: left to torch
        return func(*args, **(kwargs or {}))

    def _convolution(
        self, func: Any, factors: tuple[Any, ...], rest: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        pairs: list[tuple[Any, Any]] = [(None, None) if a is None else forward_ad.unpack_dual(a) for a in factors]
        (x, dx), (w, dw), (b, db) = pairs
        value = self._taken()
        if value is None:
            value = func(x, w, b, *rest, **kwargs)
        parts = [] if dw is None else [func(x, dw, db, *rest, **kwargs)]
        parts += [] if dx is None else [func(dx, w, None, *rest, **kwargs)]
        if dw is None and db is not None:
            parts.append(db.reshape(-1, *[1] * (w.dim() - 2)).expand_as(value))
        return forward_ad.make_dual(value, sum(parts[1:], parts[0])) if parts else value

    def _taken(self) -> Tensor | None:
        """The next recorded value, unless it was overwritten."""
        value, version = next(self._values, (None, 0))
        return value if value is not None and value._version == version else None
