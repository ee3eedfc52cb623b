"""Convolutions and pooling of many lanes against PyTorch's own, one lane after the other; by Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional

from evomal.training.lane_layers import quick_layers
from evomal.training.lane_pooling import TilesPooling

CASES = """
import warnings
warnings.simplefilter("ignore")
import torch
from torch import nn
from evomal.tasks.models import LeNet5
from evomal.training import lane_convolution
from evomal.training.batched_model import BatchedModel
from evomal.training.lane_layers import layers_allowed

assert all(lane_convolution.faithful(torch.device("cpu"), strided) for strided in (False, True))
calls = []
apply = lane_convolution._LanesConvolution.apply
lane_convolution._LanesConvolution.apply = staticmethod(lambda *given: calls.append(1) or apply(*given))

def gradients(model, x, allowed):
    lanes = BatchedModel(model).lanes(3)
    with torch.no_grad():
        for number, parameter in enumerate(lanes.parameters):
            draw = torch.Generator().manual_seed(number)
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    calls.clear()
    with layers_allowed(allowed):
        outputs = BatchedModel(model)(lanes, x)
    u = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(9))
    return [outputs, *torch.autograd.grad(outputs, lanes.parameters, u)]

def compare(model, x, taken):
    theirs = gradients(model, x, False)
    assert not calls
    ours = gradients(model, x, True)
    assert len(calls) == taken, (len(calls), taken)
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)

torch.manual_seed(0)
compare(LeNet5((1, 28, 28), 10), torch.randn(4, 1, 28, 28), 1)  # the first one's inputs are no lane's own
first = nn.Conv2d(2, 3, 1)
for second in (
    nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(3, 5, (3, 2), stride=2, padding=(0, 1), bias=False),
    nn.Conv2d(3, 70, 2, stride=(1, 2)),
):
    compare(nn.Sequential(first, second, nn.ReLU(), nn.Conv2d(second.out_channels, 4, 1)), torch.randn(3, 2, 9, 8), 2)
for left in (nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 4, 3, dilation=2), nn.Conv2d(3, 4, 3, padding="same")):
    compare(nn.Sequential(first, left), torch.randn(3, 2, 9, 8), 0)

# Where second derivatives are wanted, nothing is taken.
model, x = nn.Sequential(first, nn.Conv2d(3, 4, 2)), torch.randn(3, 2, 5, 5)
lanes = BatchedModel(model).lanes(2)
calls.clear()
outputs = BatchedModel(model)(lanes, x, True)
(gradient,) = torch.autograd.grad(outputs.square().sum(), lanes.parameters[:1], create_graph=True)
assert torch.autograd.grad(gradient.square().sum(), lanes.parameters[0])[0].any() and not calls
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not here")
def test_lanes_are_convolved_as_each_alone():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CASES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("batched_at", [0, 1, 2])
@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_windows_that_tile(size, batched_at):
    x = torch.randn(2, 4, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    shape = torch.vmap(lambda own: functional.avg_pool2d(own, size), batched_at)(x).shape
    u = torch.randn(shape, dtype=torch.float64)
    found = []
    for pool in (lambda own: functional.avg_pool2d(own, size), lambda own: TilesPooling.apply(own, size)):
        y = torch.vmap(pool, batched_at)(x)
        found.append([y, *torch.autograd.grad(y, x, u)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here")
def test_on_a_cpu_nothing_is_taken():
    with quick_layers(nn.Conv2d(1, 1, 2), torch.device("cpu")):
        outputs = torch.vmap(functional.conv2d)(torch.randn(2, 1, 1, 3, 3), torch.randn(2, 1, 1, 2, 2).requires_grad_())
    assert "Lanes" not in type(outputs.grad_fn).__name__
