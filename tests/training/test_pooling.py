"""Average pooling by matrix products against PyTorch's own layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evomal.training.pooling import WIDEST, fast_pooling

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3))
def test_values_and_gradients_are_pytorchs(window, count, batch, channels):
    layer = nn.AvgPool2d(window)
    shape = (batch, channels, window[0] * count[0], window[1] * count[1])
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    slow = layer(x)
    (wanted,) = torch.autograd.grad(slow.square().sum(), x)
    with fast_pooling(layer):
        fast = layer(x)
        assert "AvgPool" not in type(fast.grad_fn).__name__
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(fast.square().sum(), x)[0], wanted)
    assert "forward" not in vars(layer)


def test_every_kind_of_derivative():
    layer = nn.AvgPool2d(2)
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with fast_pooling(layer):
        assert torch.autograd.gradcheck(layer, x, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(layer, x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.AvgPool2d(2, stride=1), (1, 1, 4, 4)),
        (nn.AvgPool2d(2, padding=1), (1, 1, 4, 4)),
        (nn.AvgPool2d(2, divisor_override=1), (1, 1, 4, 4)),
        (nn.AvgPool2d(2), (1, 1, 5, 4)),
        (nn.AvgPool2d(2), (1, 1, 4, 5)),
        (nn.AvgPool2d(2, ceil_mode=True), (1, 1, 5, 5)),
        (nn.AvgPool2d(2), (1, 4, 4)),
        (nn.AvgPool2d(2), (1, 1, 2, 2 * WIDEST)),
    ],
)
def test_what_does_not_suit_is_left_to_pytorch(layer, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with fast_pooling(layer):
        assert type(layer(x).grad_fn).__name__ == "AvgPool2DBackward0"
        assert torch.equal(layer(x), nn.AvgPool2d.forward(layer, x))


def test_another_memory_layout_type_or_autocast_is_left_to_pytorch():
    layer = nn.AvgPool2d(2)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with fast_pooling(layer):
        assert torch.equal(layer(x.bfloat16()), nn.AvgPool2d(2)(x.bfloat16()))
        last = x.to(memory_format=torch.channels_last)
        assert layer(last).is_contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.float32


def test_layers_of_others_stay_theirs():
    class Mine(nn.AvgPool2d):
        def forward(self, x):
            return super().forward(x) + 1

    mine, patched = Mine(2), nn.AvgPool2d(2)
    patched.forward = lambda x: x
    with fast_pooling(nn.Sequential(mine, patched)):
        assert "forward" not in vars(mine)
        assert torch.equal(patched(torch.ones(1)), torch.ones(1))
    assert torch.equal(patched(torch.ones(1)), torch.ones(1))


def test_layers_are_changed_back_after_an_error():
    layer = nn.AvgPool2d(2)
    with pytest.raises(IndexError), fast_pooling(layer):
        layer(torch.ones(2))
    assert "forward" not in vars(layer)
