"""ML³'s loss network against the same network built of PyTorch's layers."""

import json
import math

import pytest
import torch
from torch import nn

import evomal
from evomal.foundation.errors import SettingError
from evomal.losses.neural import NeuralLoss


def _layers(loss):
    """The network of D13, of PyTorch's own modules, with the loss's weights in the documented order."""
    h, numbers = loss.hidden, torch.tensor(loss.coefficients, dtype=torch.float64)
    layers = [nn.Linear(2, h, bias=False), nn.Linear(h, h, bias=False), nn.Linear(h, 1, bias=False)]
    start = 0
    for layer, shape in zip(layers, ((h, 2), (h, h), (1, h)), strict=True):
        part = numbers[start : start + shape[0] * shape[1]]
        layer.weight = nn.Parameter(part.reshape(shape).clone())
        start += part.numel()
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.Softplus())


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("hidden", [1, 7, 50])
def test_every_value_is_that_of_the_network_on_the_pair(hidden, shape):
    loss = NeuralLoss(task_type="regression", hidden=hidden, generator=torch.Generator().manual_seed(hidden)).double()
    network = _layers(loss)
    y, f = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = network(torch.stack([y.flatten(), f.flatten()], dim=1)).reshape(shape)
    torch.testing.assert_close(loss.per_class(y, f), expected)
    assert (loss.per_class(y, f) > 0).all()


def test_the_meta_gradient_passes_through_the_slope():
    # What local search differentiates: the slope at the predictions, by the loss's weights.
    loss = NeuralLoss(task_type="classification").double()
    network = _layers(loss)
    draw = torch.Generator().manual_seed(2)
    logits, labels = torch.randn(6, 4, generator=draw, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    along = torch.randn(6, 4, generator=draw, dtype=torch.float64)

    def plain(z, y):
        f = torch.softmax(z, dim=1)
        pairs = torch.stack([torch.eye(4, dtype=z.dtype)[y], f], dim=2)
        return network(pairs).squeeze(2).sum(1).mean()

    results = []
    for function, parameters in ((loss, loss.parameters()), (plain, network.parameters())):
        leaf = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(leaf, labels), leaf, create_graph=True)
        results.append(torch.autograd.grad((slope * along).sum(), list(parameters)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.abs().max() > 1e-6


def test_initialisation_is_xavier_uniform_and_drawn_from_the_generator_alone():
    state = torch.get_rng_state()
    loss = NeuralLoss(task_type="regression", hidden=200, generator=torch.Generator().manual_seed(1))
    for weight, inputs, outputs in ((loss.first, 2, 200), (loss.second, 200, 200), (loss.last, 200, 1)):
        bound = math.sqrt(6 / (inputs + outputs))
        assert 0.97 * bound < weight.abs().max() <= bound
        assert abs(weight.mean()) < 0.15 * bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.12)
        assert weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    same = NeuralLoss(task_type="regression", hidden=200, generator=torch.Generator().manual_seed(1))
    other = NeuralLoss(task_type="regression", hidden=200, generator=torch.Generator().manual_seed(2))
    assert same.coefficients == loss.coefficients != other.coefficients
    draw = torch.Generator().manual_seed(1)
    assert NeuralLoss(task_type="regression", generator=draw).coefficients != (
        NeuralLoss(task_type="regression", generator=draw).coefficients  # the generator went on
    )


def test_without_a_generator_two_losses_are_alike():
    torch.manual_seed(7)
    one = NeuralLoss(task_type="classification")
    torch.manual_seed(8)
    assert NeuralLoss(task_type="classification").coefficients == one.coefficients
    zero = torch.Generator().manual_seed(0)
    assert NeuralLoss(task_type="classification", generator=zero).coefficients == one.coefficients


def test_weights_are_taken_in_the_order_of_the_list():
    # By hand: relu(W1 [y, f]) = [4, 0], relu(W2 [4, 0]) = [20, 0], W3 [20, 0] = 0.9·20.
    loss = NeuralLoss([1, 2, -3, -4, 5, 6, -7, 8, 0.9, 10], task_type="regression", hidden=2)
    value = loss.per_class(torch.tensor([[2.0]]), torch.tensor([[1.0]]))
    assert value.item() == pytest.approx(math.log1p(math.exp(18.0)), rel=1e-6)
    assert loss.coefficients == pytest.approx([1, 2, -3, -4, 5, 6, -7, 8, 0.9, 10])
    assert [tuple(p.shape) for p in loss.parameters()] == [(2, 2), (2, 2), (1, 2)]


def test_the_formula_is_one_line():
    loss = NeuralLoss(task_type="classification", scale=0.25)
    assert loss.formula(digits=4) == "0.25·(softplus network 2–50–50–1 of y and f (2,650 weights))"
    assert NeuralLoss(task_type="regression", hidden=3).formula() == (
        "softplus network 2–3–3–1 of y and f (18 weights)"
    )


@pytest.mark.parametrize("hidden", [0, -1, 257, 2.0, True, "50", None])
def test_odd_widths_are_refused(hidden):
    with pytest.raises(SettingError) as caught:
        NeuralLoss(task_type="regression", hidden=hidden)
    assert str(caught.value) == f"hidden is {hidden!r}; give a whole number from 1 to 256"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.0] * 9, "a neural loss with hidden = 2 has 10 weights but those given have shape [9]; give a flat list"),
        ([0.0] * 9 + [math.inf], "the weights of a neural loss with hidden = 2 hold a number that is not finite; give "
         "finite ones"),
        (["0"] * 10, "the weights of a neural loss with hidden = 2 are not numbers; give a flat list of 10"),
    ],
)  # fmt: skip
def test_odd_weights_are_refused(weights, message):
    with pytest.raises(SettingError) as caught:
        NeuralLoss(weights, task_type="regression", hidden=2)
    assert str(caught.value) == message


@pytest.mark.parametrize("hidden", [1, 50, 180])
def test_the_file(tmp_path, hidden):
    loss = NeuralLoss(task_type="classification", hidden=hidden, generator=torch.Generator().manual_seed(3))
    loss.info = {"seed": 4}
    loss.save(tmp_path / "loss.json")
    document = json.loads((tmp_path / "loss.json").read_text())
    assert {name: document[name] for name in ("family", "hidden", "seed")} == {
        **{"family": "neural", "hidden": hidden, "seed": 4}
    }
    assert document["weights"] == loss.coefficients
    other = evomal.load_loss(tmp_path / "loss.json")
    assert isinstance(other, NeuralLoss)
    assert (other.coefficients, other.info) == (loss.coefficients, {"seed": 4})
    assert not any(parameter.requires_grad for parameter in other.parameters())
