"""Average pooling of many lanes at once."""

from typing import Any

from torch import Tensor, autograd
from torch.autograd.function import once_differentiable
from torch.nn import functional


class TilesPooling(autograd.Function):
    """Average pooling by windows that tile the inputs; its gradient is one copy."""

    @staticmethod
    def forward(x: Tensor, size: tuple[int, int]) -> Tensor:
        """See ``torch.nn.functional.avg_pool2d``."""
        return functional.avg_pool2d(x, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, int]], output: Tensor) -> None:
        """Keep shapes alone."""
        ctx.size, ctx.shape = inputs[1], inputs[0].shape

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Each value of a window gets its share."""
        (height, width), shape = ctx.size, ctx.shape
        part = (gradient / (height * width))[..., :, None, :, None]
        return part.expand(*part.shape[:-3], height, part.shape[-2], width).reshape(shape), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, int]:
        """Lanes are more images, wherever they lie."""
        result: Tensor = TilesPooling.apply(x.flatten(0, -3), size)  # type: ignore[no-untyped-call]
        return result.unflatten(0, x.shape[:-2]), in_dims[0]
