"""Triton kernels for convolutions of many lanes: inputs and weights of a lane belong together, all lanes in one launch.

Libraries call this a grouped convolution, and for its gradients launch one small kernel for every group. Here it is an
implicit matrix product: columns of images are gathered while they are multiplied, and never written down.
"""

# mypy: ignore-errors
# Triton reads the code of kernels by itself: names of torch's kind of typing would mean something else in it.
# ruff: noqa: ANN201

import triton
import triton.language as tl

# No size needs code of its own: building it takes seconds.
SIZES = ("images", "channels", "filters", "height", "width", "rows", "columns", "kernel_h", "kernel_w")
SIZES += ("stride_h", "stride_w", "pad_h", "pad_w")


@triton.jit(do_not_specialize=SIZES)
def forward(
    x_at, w_at, b_at, y_at, xn, xb, xc, xh, xw,
    images, channels, filters, height, width, rows, columns, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
    BIAS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """From x [N, B, C, H, W] by its strides, w [N, O, C, kh, kw] and b [N, O] to y [N, B, O, R, S]."""
    lane = tl.program_id(2).to(tl.int64)
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    pixels, depth = rows * columns, channels * kernel_h * kernel_w
    image, pixel = m // pixels, m % pixels
    top, left = pixel // columns * stride_h - pad_h, pixel % columns * stride_w - pad_w
    is_m, is_n = m < images * pixels, n < filters
    x_m = x_at + lane * xn + image.to(tl.int64) * xb + top * xh + left * xw
    w_n = w_at + (lane * filters + n) * depth
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, depth, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_k = k < depth
        channel, place = k // (kernel_h * kernel_w), k % (kernel_h * kernel_w)
        down, right = place // kernel_w, place % kernel_w
        inside = is_m[:, None] & is_k[None, :]
        at_row, at_column = top[:, None] + down[None, :], left[:, None] + right[None, :]
        inside &= (at_row >= 0) & (at_row < height) & (at_column >= 0) & (at_column < width)
        x = tl.load(x_m[:, None] + (channel * xc + down * xh + right * xw)[None, :], mask=inside, other=0.0)
        w = tl.load(w_n[None, :] + k[:, None], mask=is_k[:, None] & is_n[None, :], other=0.0)
        total = tl.dot(x, w, total, input_precision=PRECISION)
    if BIAS:
        total += tl.load(b_at + lane * filters + n, mask=is_n, other=0.0)[None, :]
    y = y_at + ((lane * images + image) * filters * pixels + pixel)[:, None] + (n * pixels)[None, :]
    tl.store(y, total.to(y_at.dtype.element_ty), mask=is_m[:, None] & is_n[None, :])


@triton.jit(do_not_specialize=SIZES)
def to_inputs(
    g_at, w_at, dx_at,
    images, channels, filters, height, width, rows, columns, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
    EVERY: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The inputs' gradient: g [N, B, O, R, S], w [N, O, C, kh, kw] → dx [N, B, C, H, W]; EVERY: the stride is 1."""
    lane = tl.program_id(2).to(tl.int64)
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    whole, pixels, window = height * width, rows * columns, kernel_h * kernel_w
    image, place = m // whole, m % whole
    down_m, right_m = place // width + pad_h, place % width + pad_w
    is_m, is_n = m < images * whole, n < channels
    g_m = g_at + (lane * images + image) * filters * pixels
    w_n = w_at + lane * filters * channels * window + n * window
    depth = filters * window
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, depth, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_k = k < depth
        filter_k, within = k // window, k % window
        down, right = within // kernel_w, within % kernel_w
        far_down, far_right = down_m[:, None] - down[None, :], right_m[:, None] - right[None, :]
        inside = is_m[:, None] & is_k[None, :] & (far_down >= 0) & (far_right >= 0)
        if EVERY:
            row, column = far_down, far_right
        else:
            row, column = far_down // stride_h, far_right // stride_w
            inside &= (row * stride_h == far_down) & (column * stride_w == far_right)
        inside &= (row < rows) & (column < columns)
        g = tl.load(g_m[:, None] + (filter_k * pixels)[None, :] + row * columns + column, mask=inside, other=0.0)
        w = tl.load(
            w_n[None, :] + (filter_k * channels * window + within)[:, None],
            mask=is_k[:, None] & is_n[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(g, w, total, input_precision=PRECISION)
    dx = dx_at + ((lane * images + image) * channels * whole + place)[:, None] + (n * whole)[None, :]
    tl.store(dx, total.to(dx_at.dtype.element_ty), mask=is_m[:, None] & is_n[None, :])


@triton.jit(do_not_specialize=(*SIZES, "share"))
def to_weights(
    g_at, x_at, parts_at, xn, xb, xc, xh, xw, share,
    images, channels, filters, height, width, rows, columns, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
    PRECISION: tl.constexpr, FILTER_BLOCKS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The weights' gradient, a part for each share of the pixels: g, x by its strides → [parts, N, O, C·kh·kw]."""
    lane, part = tl.program_id(2).to(tl.int64), tl.program_id(1)
    k = tl.program_id(0) // FILTER_BLOCKS * BLOCK_K + tl.arange(0, BLOCK_K)
    n = tl.program_id(0) % FILTER_BLOCKS * BLOCK_N + tl.arange(0, BLOCK_N)
    pixels, depth = rows * columns, channels * kernel_h * kernel_w
    channel, place = k // (kernel_h * kernel_w), k % (kernel_h * kernel_w)
    down, right = place // kernel_w, place % kernel_w
    is_k, is_n = k < depth, n < filters
    x_k = x_at + lane * xn + channel * xc + down * xh + right * xw
    total = tl.zeros((BLOCK_K, BLOCK_N), dtype=tl.float32)
    end = tl.minimum((part + 1) * share, images * pixels)
    for start in range(part * share, end, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        is_m = m < end
        image, pixel = m // pixels, m % pixels
        top, left = pixel // columns * stride_h - pad_h, pixel % columns * stride_w - pad_w
        inside = is_k[:, None] & is_m[None, :]
        at_row, at_column = top[None, :] + down[:, None], left[None, :] + right[:, None]
        inside &= (at_row >= 0) & (at_row < height) & (at_column >= 0) & (at_column < width)
        x_m = image.to(tl.int64) * xb + top * xh + left * xw
        x = tl.load(x_k[:, None] + x_m[None, :], mask=inside, other=0.0)
        g_m = g_at + (lane * images + image) * filters * pixels + pixel
        g = tl.load(g_m[:, None] + (n * pixels)[None, :], mask=is_m[:, None] & is_n[None, :], other=0.0)
        total = tl.dot(x, g, total, input_precision=PRECISION)
    out = parts_at + ((part * tl.num_programs(2) + lane) * filters + n)[None, :] * depth + k[:, None]
    tl.store(out, total, mask=is_k[:, None] & is_n[None, :])
