"""Chains of linear layers in lanes against the modules themselves, autograd and forward mode."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from evomal.tasks.models import MLP, Linear
from evomal.training.batched_model import BatchedModel
from evomal.training.chains import ELEMENTWISE, recognised
from evomal.training.substitution import Substitution

LANES = 3


def _layers(*following, bias=True):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5, bias=bias), *following, nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)
    )


CHAINS = {
    "relu": lambda: _layers(nn.ReLU(inplace=True)),
    "no bias": lambda: _layers(nn.Tanh(), bias=False),
    "sigmoid": lambda: _layers(nn.Sigmoid()),
    "nothing between": lambda: _layers(),
    "two functions": lambda: _layers(nn.LeakyReLU(0.2, inplace=True), nn.Softplus()),
    "dropout": lambda: _layers(nn.ReLU(), nn.Dropout(0.4)),
    "dropout first": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3), nn.Tanh()),
    "ours": lambda: MLP((2, 3), 3, hidden=(5, 4)),
    "one layer": lambda: Linear((2, 3), 3),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), nn.GELU(), nn.Linear(4, 3)),
}  # fmt: skip


def _drawn(name):
    """A chain in float64, parameters of lanes around its own, inputs, and a cotangent for each lane."""
    draw = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = CHAINS[name]().double()

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    parameters = [(p.detach() + 0.3 * normal(LANES, *p.shape)).requires_grad_() for p in model.parameters()]
    return model, parameters, normal(7, 2, 3), normal(LANES, 7, 3)


def _alone(model, parameters, lane, x):
    names = [name for name, _ in model.named_parameters()]
    return functional_call(model, {n: p[lane] for n, p in zip(names, parameters, strict=True)}, (x,))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_outputs_and_gradients_are_those_of_the_module(name, twice):
    model, parameters, x, u = _drawn(name)
    chain = recognised(model)
    assert chain is not None
    assert chain.suits(x)
    torch.manual_seed(5)
    many = chain(parameters, x, twice)
    found = torch.autograd.grad(many, parameters, u)
    for lane in range(LANES):
        torch.manual_seed(5)  # all lanes have one dropout mask
        one = _alone(model, parameters, lane, x)
        torch.testing.assert_close(many[lane], one)
        expected = torch.autograd.grad(one, parameters, u[lane])
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[lane], theirs[lane])


@pytest.mark.parametrize("name", CHAINS)
def test_both_ways_from_the_modules_own_parameters(name):
    model, parameters, x, u = _drawn(name)
    torch.manual_seed(5)
    at = recognised(model).linearised(x)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    outputs = model(x)
    assert torch.equal(after, torch.get_rng_state())  # it drew what the module draws
    torch.testing.assert_close(at.outputs, outputs.detach())
    own = list(model.parameters())
    pulled, pushed = at.pull(u), at.push([p.detach() for p in parameters])
    substitution = Substitution(model)
    for lane in range(LANES):
        expected = torch.autograd.grad(outputs, own, u[lane], retain_graph=True)
        for ours, theirs in zip(pulled, expected, strict=True):
            torch.testing.assert_close(ours[lane], theirs)
        torch.manual_seed(5)
        direction = tuple(p.detach()[lane] for p in parameters)
        _, moved = jvp(lambda *p: substitution(p, (), x), tuple(p.detach() for p in own), direction)
        torch.testing.assert_close(pushed[lane], moved)


def test_second_derivatives_are_to_be_had():
    model, parameters, x, _ = _drawn("no bias")
    stacked = recognised(model)
    torch.autograd.gradgradcheck(lambda *p: stacked(p, x, True).square().sum(), parameters)


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_every_layer_that_is_known_computes_number_by_number(kind):
    layer = kind().eval()
    x = torch.linspace(-7, 7, 24)
    assert torch.equal(layer(x.reshape(2, 3, 4)).flatten(), layer(x))


class _Own(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def _changed(change):
    model = _layers(nn.ReLU())
    change(model)
    return model


OTHERS = {
    "a subclass": lambda: nn.Sequential(_Own(6, 3)),
    "a subclass of Sequential": lambda: type("Mine", (nn.Sequential,), {})(nn.Linear(6, 3)),
    "a hook": lambda: _changed(lambda m: m[1].register_forward_hook(lambda *a: None)),
    "a hook on the whole": lambda: _changed(lambda m: m.register_forward_pre_hook(lambda *a: None)),
    "a method replaced": lambda: _changed(lambda m: setattr(m[1], "forward", lambda x: x)),
    "a parametrisation": lambda: _changed(lambda m: nn.utils.parametrizations.weight_norm(m[1])),
    "a frozen layer": lambda: _changed(lambda m: m[1].requires_grad_(False)),
    "a hook on a parameter": lambda: _changed(lambda m: m[1].weight.register_hook(lambda g: g)),
    "tied layers": lambda: nn.Sequential(*[nn.Linear(6, 6)] * 2),
    "another parameter": lambda: _changed(lambda m: m.register_parameter("extra", nn.Parameter(torch.zeros(1)))),
    "normalisation": lambda: _layers(nn.BatchNorm1d(5)),
    "softmax": lambda: _layers(nn.Softmax(1)),
    "flattened later": lambda: nn.Sequential(nn.Linear(6, 6), nn.Flatten(), nn.Linear(6, 3)),
    "nothing linear": lambda: nn.Sequential(nn.Flatten(), nn.ReLU()),
    "two types": lambda: _changed(lambda m: m[1].double()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_may_be_something_else_is_not_known(name):
    assert recognised(OTHERS[name]()) is None


def test_what_does_not_suit_goes_on_as_before():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    stacked = BatchedModel(model)
    lanes, x = stacked.lanes(2), torch.randn(5, 6, 3)  # rows of rows, which linear layers take too
    assert stacked.linearised(x) is None
    assert stacked.linearised(x[0]) is not None
    torch.testing.assert_close(stacked(lanes, x)[1], model(x))
    assert BatchedModel(model, "bf16").linearised(x[0]) is None
    before = copy.deepcopy(model.state_dict())
    stacked(lanes, x[0]).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
