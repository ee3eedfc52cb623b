"""Forward mode with recorded values, against torch's own."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from evomal.local_search.functional import FunctionalModel
from evomal.local_search.replay import Recording, Replay
from helpers import zoo


def _jvp(model, x, tangents, mode):
    with torch.no_grad(), forward_ad.dual_level(), mode:
        duals = [forward_ad.make_dual(p, t) for p, t in zip(model.parameters, tangents, strict=True)]
        return forward_ad.unpack_dual(model(duals, x))


MODELS = {
    "bias alone": lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 5)),
    "no bias": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 5)
    ),
    "padded by name, grouped": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, groups=2), nn.AvgPool2d(3), nn.Flatten()
    ),
    "overwritten": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Hardtanh(-0.1, 0.1, inplace=True), nn.AvgPool2d(6)),
    "pooled first": lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 4, 2), nn.Softsign(), nn.MaxPool2d(3)),
    "lenet": lambda: zoo.ZOO["convolution"][0](),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_and_derivatives_are_those_of_torch(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    if name == "bias alone":
        model[0].weight.requires_grad_(False)
    functional, x = FunctionalModel(model), torch.randn(3, 1, 8, 8).double()
    tangents = [torch.randn_like(p) for p in functional.parameters]
    with Recording() as recording:
        model(x)
    assert recording.values
    expected = _jvp(functional, x, tangents, torch.enable_grad())
    for mode in (Replay(recording.values), Replay()):
        ours = _jvp(functional, x, tangents, mode)
        torch.testing.assert_close(ours.primal, expected.primal)
        torch.testing.assert_close(ours.tangent, expected.tangent)


def test_recorded_values_are_not_computed_again():
    model = FunctionalModel(MODELS["lenet"]().double())
    x = torch.randn(3, 1, 8, 8).double()
    with Recording() as recording:
        model(model.parameters, x)
    zeros = [torch.zeros_like(p) for p in model.parameters]
    for value, _ in recording.values:
        value.data.fill_(7.0)  # as `data` it keeps its version: the replay cannot know
    seen = _jvp(model, x, zeros, Replay(recording.values)).primal
    assert not torch.allclose(seen, model(model.parameters, x))


def test_a_convolution_called_by_keywords_keeps_the_order():
    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x):
            h = torch.conv2d(input=x, weight=self.first.weight, bias=self.first.bias)
            return self.second(h).flatten(1)

    torch.manual_seed(0)
    functional, x = FunctionalModel(Keywords().double()), torch.randn(3, 1, 8, 8).double()
    tangents = [torch.randn_like(p) for p in functional.parameters]
    with Recording() as recording:
        functional(functional.parameters, x)
    ours = _jvp(functional, x, tangents, Replay(recording.values))
    torch.testing.assert_close(ours.tangent, _jvp(functional, x, tangents, torch.enable_grad()).tangent)
