"""Convolutions of many lanes at once and their gradients, by kernels of Triton, and whether these work here."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Pair = tuple[int, int]

SHARES = 16  # parts that the pixels are shared out into, where weights' gradients are summed


class LanesConvolution(torch.autograd.Function):
    """A convolution of one lane; under `torch.vmap` over inputs and weights, of all of them at once."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        """See ``torch.conv2d``."""
        return functional.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        """Nothing is kept: it is called for lanes only."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> tuple[Tensor, int]:
        """From x [N, B, C, H, W] and weight [N, O, C, kh, kw] to [N, B, O, R, S]."""
        x, weight = x.movedim(in_dims[0], 0), weight.movedim(in_dims[1], 0)
        if bias is not None:
            bias = bias.expand(info.batch_size, -1) if in_dims[2] is None else bias.movedim(in_dims[2], 0)
        result: Tensor = _LanesConvolution.apply(x, weight, bias, stride, padding)  # type: ignore[no-untyped-call]
        return result, 0


class _LanesConvolution(torch.autograd.Function):
    """x [N, B, C, H, W] ⋆ w [N, O, C, kh, kw] + b [N, O]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        weight = weight.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.how = stride, padding
        return convolve(x, weight, None if bias is None else bias.contiguous(), stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        (x, weight), (stride, padding) = ctx.saved_tensors, ctx.how
        gradient = gradient.contiguous()
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        return (
            input_gradient(gradient, weight, x.shape, stride, padding) if of_x else None,
            weight_gradient(gradient, x, weight.shape, stride, padding) if of_weight else None,
            gradient.sum((1, 3, 4)) if of_bias else None,
            None,
            None,
        )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """Convolutions of all lanes.

    Args:
        x: [N, B, C, H, W], of any strides.
        weight: [N, O, C, kh, kw], contiguous.
        bias: [N, O], or None.
        stride: Of rows and columns.
        padding: Of rows and columns.

    Returns:
        [N, B, O, R, S].
    """
    from evomal.training import lane_kernels

    sizes, y = _sizes(x.shape, weight.shape, stride, padding)
    images, _, filters, *_, rows, columns = sizes
    block = _block(filters)
    grid = (_parts(images * rows * columns, 128), _parts(filters, block), len(x))
    result = x.new_empty(y)
    lane_kernels.forward[grid](
        x, weight, weight if bias is None else bias, result, *x.stride(), *sizes, *weight.shape[3:], *stride, *padding,
        BIAS=bias is not None, PRECISION=_precision(), BLOCK_M=128, BLOCK_N=block, BLOCK_K=32,
    )  # fmt: skip
    return result


def input_gradient(gradient: Tensor, weight: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of `convolve` with respect to x.

    Args:
        gradient: Of the result, [N, B, O, R, S], contiguous.
        weight: [N, O, C, kh, kw], contiguous.
        shape: Of x.
        stride: Of rows and columns.
        padding: Of rows and columns.
    """
    from evomal.training import lane_kernels

    sizes, _ = _sizes(shape, weight.shape, stride, padding)
    images, channels, _, height, width, *_ = sizes
    block = _block(channels)
    grid = (_parts(images * height * width, 128), _parts(channels, block), len(gradient))
    result = gradient.new_empty(shape)
    lane_kernels.to_inputs[grid](
        gradient, weight, result, *sizes, *weight.shape[3:], *stride, *padding,
        EVERY=stride == (1, 1), PRECISION=_precision(), BLOCK_M=128, BLOCK_N=block, BLOCK_K=32,
    )  # fmt: skip
    return result


def weight_gradient(gradient: Tensor, x: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of `convolve` with respect to the weight.

    Args:
        gradient: Of the result, [N, B, O, R, S], contiguous.
        x: [N, B, C, H, W], of any strides.
        shape: Of the weight.
        stride: Of rows and columns.
        padding: Of rows and columns.
    """
    from evomal.training import lane_kernels

    sizes, _ = _sizes(x.shape, shape, stride, padding)
    images, channels, filters, *_, rows, columns = sizes
    depth, block = channels * shape[3] * shape[4], _block(filters)
    share = max(64, _parts(_parts(images * rows * columns, SHARES), 64) * 64)
    parts = _parts(images * rows * columns, share)
    blocks = _parts(filters, block)
    found = gradient.new_empty(parts, len(x), filters, depth, dtype=torch.float32)
    lane_kernels.to_weights[(_parts(depth, 64) * blocks, parts, len(x))](
        gradient, x, found, *x.stride(), share, *sizes, *shape[3:], *stride, *padding,
        PRECISION=_precision(), FILTER_BLOCKS=blocks, BLOCK_M=64, BLOCK_N=block, BLOCK_K=64,
    )  # fmt: skip
    return found.sum(0).reshape(shape).to(gradient.dtype)


def _sizes(x: torch.Size, weight: torch.Size, stride: Pair, padding: Pair) -> tuple[tuple[int, ...], list[int]]:
    """Images, channels, filters, height, width, rows, columns; and the result's shape."""
    lanes, images, channels, height, width = x
    filters = weight[1]
    rows = (height + 2 * padding[0] - weight[3]) // stride[0] + 1
    columns = (width + 2 * padding[1] - weight[4]) // stride[1] + 1
    return (images, channels, filters, height, width, rows, columns), [lanes, images, filters, rows, columns]


def _parts(whole: int, size: int) -> int:
    return -(-whole // size)


def _block(size: int) -> int:
    """How many filters, or channels, a program instance works on."""
    return 16 if size <= 16 else 32 if size <= 32 else 64


def _precision() -> str:
    """Three products of TF32 are as good as one of float32, and quicker where there are units for them."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"


@lru_cache(maxsize=16)
def faithful(device: torch.device, strided: bool) -> bool:
    """Whether convolutions of lanes and their gradients are PyTorch's; not where anything fails."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((3, 5, 6, 12, 11), (3, 16, 6, 5, 3), (3, 16))
    how = ((2, 2) if strided else (1, 1)), (1, 0)
    try:
        found = []
        with torch.enable_grad():
            leaves = [
                torch.randn(shape, generator=draw, dtype=torch.float32).to(device).requires_grad_() for shape in shapes
            ]
            ways: tuple[Callable[..., Tensor], ...] = (_one_by_one, _LanesConvolution.apply)
            for each in ways:
                y = each(*leaves, *how)
                u = torch.linspace(-1, 1, y.numel(), device=device).reshape(y.shape)
                found.append([y, *torch.autograd.grad(y, leaves, u)])
        pairs = zip(*found, strict=True)
        return all(torch.allclose(a, b, rtol=1e-2, atol=1e-2 * float(a.abs().max())) for a, b in pairs)
    except Exception:  # whatever Triton cannot do here, PyTorch can
        return False


def _one_by_one(x: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair) -> Tensor:
    each = zip(x, weight, bias, strict=True)
    return torch.stack([functional.conv2d(*own, stride=stride, padding=padding) for own in each])
