import copy
import random

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import evomal
from evomal.foundation.errors import ModelError, SettingError
from evomal.local_search import meta_gradient
from helpers import oracles, zoo

FORMULAS = [
    "abs(log(mul(y, f)))",
    "square(sub(y, f))",
    "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))",
    "div(sub(f, y), sqrt(add(f, 1)))",
]
SGD_GRID = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.05},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
]


def _loss(formula, dtype=torch.float64, task_type="classification"):
    loss = evomal.SymbolicLoss(formula, task_type=task_type).to(dtype)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        loss.weights += 0.1 * torch.randn(loss.weights.shape, generator=draw, dtype=dtype)
    return loss


def _close(ours, theirs, rtol=1e-9):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert float(b.abs().max()) > 0, "the oracle's gradient is zero: the comparison shows nothing"
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("sgd", SGD_GRID, ids=str)
@pytest.mark.parametrize("formula", FORMULAS)
def test_agrees_with_double_backward_and_finite_differences(formula, sgd, steps):
    loss = _loss(formula)
    model, batches = zoo.make("mlp")
    arguments = (batches[:steps], batches[3])
    ours = meta_gradient(loss, model, *arguments, lr=0.3, **sgd)
    _close(ours, oracles.double_backward(loss, model, *arguments, cross_entropy, lr=0.3, **sgd))
    differences = oracles.finite_differences(loss, model, *arguments, cross_entropy, lr=0.3, **sgd)
    torch.testing.assert_close(ours[0], differences, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", sorted(zoo.ZOO))
def test_every_kind_of_layer(name, steps):
    loss = _loss(FORMULAS[2])
    model, batches = zoo.make(name)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    ours = meta_gradient(loss, model, batches[:steps], batches[3], lr=0.3)
    torch.manual_seed(3)  # the same dropout masks
    reference = copy.deepcopy(model)
    _close(ours, oracles.double_backward(loss, reference, batches[:steps], batches[3], cross_entropy, lr=0.3))
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, msg=f"{key} was changed")
    assert all(p.grad is None for p in model.parameters())


def test_batch_norm_in_evaluation_mode_uses_its_running_statistics():
    loss = _loss(FORMULAS[0])
    model, batches = zoo.make("batch_norm")
    model(batches[2][0])  # statistics that differ from the batch's
    in_training = meta_gradient(loss, model, batches[:1], batches[3], lr=0.3)
    model.eval()
    ours = meta_gradient(loss, model, batches[:1], batches[3], lr=0.3)
    _close(ours, oracles.double_backward(loss, model, batches[:1], batches[3], cross_entropy, lr=0.3))
    assert not torch.allclose(in_training[0], ours[0], rtol=1e-3)


def test_regression_and_a_task_loss_by_function():
    loss = _loss("square(sub(y, f))", task_type="regression")
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    draw = torch.Generator().manual_seed(0)
    train, valid = (
        (
            torch.randn(7, 4, generator=draw, dtype=torch.float64),
            torch.randn(7, generator=draw, dtype=torch.float64),
        )
        for _ in range(2)
    )

    def flat_mse(outputs, targets):
        return mse_loss(outputs.squeeze(1), targets)

    by_name = meta_gradient(loss, model, [train], valid, task_loss="mse", lr=0.1)
    by_function = meta_gradient(loss, model, [train], valid, task_loss=flat_mse, lr=0.1)
    _close(by_name, by_function)
    _close(by_name, oracles.double_backward(loss, model, [train], valid, flat_mse, lr=0.1))


def test_a_loss_of_the_user_with_several_parameters():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
            self.scale = nn.Parameter(torch.tensor([0.7, 1.1, 1.0, 0.9, 1.2], dtype=torch.float64))

        def forward(self, outputs, targets):
            return cross_entropy(outputs * self.scale / self.temperature, targets)

    loss = Mixed()
    model, batches = zoo.make("mlp")
    ours = meta_gradient(loss, model, batches[:1], batches[3], lr=0.3)
    assert [g.shape for g in ours] == [p.shape for p in loss.parameters()]
    _close(ours, oracles.double_backward(loss, model, batches[:1], batches[3], cross_entropy, lr=0.3))


@pytest.mark.parametrize("steps", [1, 2])
def test_parameters_without_influence_get_zeros(steps):
    model, batches = zoo.make("mlp")
    flat = evomal.SymbolicLoss("sub(y, sign(f))", task_type="classification").double()
    (gradient,) = meta_gradient(flat, model, batches[:steps], batches[3], lr=0.3)
    assert gradient.tolist() == [0.0] * 3
    partly = evomal.SymbolicLoss("add(square(sub(y, f)), tanh(y))", task_type="classification").double()
    (gradient,) = meta_gradient(partly, model, batches[:steps], batches[3], lr=0.3)
    assert (gradient == 0).tolist() == [False, False, False, False, True, True]


def test_float32_agrees_with_float64():
    gradients = []
    for dtype in (torch.float32, torch.float64):
        model, batches = zoo.make("convolution", torch.float64)
        batches = [(x.to(dtype), y) for x, y in batches]
        (gradient,) = meta_gradient(_loss(FORMULAS[2], dtype), model.to(dtype), batches[:1], batches[3], lr=0.3)
        gradients.append(gradient.double())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_what_cannot_be_done_is_said_in_one_sentence():
    model, batches = zoo.make("mlp")
    loss = _loss(FORMULAS[0])
    with pytest.raises(SettingError, match=r"^train_batches holds no pairs; give one \(inputs, targets\) for each"):
        meta_gradient(loss, model, [], batches[0])
    with pytest.raises(ModelError, match=r"^the model has no parameter that requires a gradient"):
        meta_gradient(loss, model.requires_grad_(False), batches[:1], batches[3])


class _OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g


def test_an_operation_that_can_be_differentiated_only_once():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 5)

        def forward(self, x):
            return _OnceDifferentiable.apply(self.layer(x))

    _, batches = zoo.make("mlp", torch.float32)
    with pytest.raises(
        ModelError,
        match=r"^the model holds an operation that cannot be differentiated as meta-gradients need",
    ):
        meta_gradient(_loss(FORMULAS[0], torch.float32), Odd(), batches[:1], batches[3])


class _Hooked(nn.Module):
    """Its gradient is not the derivative of its outputs: a hook changes it on the way back."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 7), nn.Linear(7, 5)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        if h.requires_grad:
            h.register_hook(lambda g: 3 * g)
        return self.second(h)


class _Moody(nn.Module):
    """Every pass is another one, by random numbers that torch does not draw."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 5)
        self.draw = random.Random(0)

    def forward(self, x):
        return self.layer(x) * (1 + self.draw.random())


@pytest.mark.parametrize("kind", [_Hooked, _Moody])
def test_models_on_which_forward_mode_would_be_silently_wrong_are_unrolled(kind):
    _, batches = zoo.make("mlp")
    torch.manual_seed(0)
    model = kind().double()
    reference = copy.deepcopy(model)
    loss = _loss(FORMULAS[2])
    if kind is _Moody:  # the failed attempt has drawn three times
        for _ in range(3):
            reference.draw.random()
    ours = meta_gradient(loss, model, batches[:1], batches[3], lr=0.3)
    _close(ours, oracles.double_backward(loss, reference, batches[:1], batches[3], cross_entropy, lr=0.3))


def test_a_model_that_writes_into_its_inputs_is_refused():
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 5)

        def forward(self, x):
            return self.layer(x.mul_(0.5))

    _, batches = zoo.make("mlp", torch.float32)
    with pytest.raises(ModelError, match=r"^the model changes its inputs in place; let it work on a copy"):
        meta_gradient(_loss(FORMULAS[0], torch.float32), Careless(), batches[:1], batches[3])


def test_a_loss_with_nothing_to_tune_is_refused():
    model, batches = zoo.make("mlp")
    for loss in (nn.CrossEntropyLoss(), _loss(FORMULAS[0]).requires_grad_(False)):
        with pytest.raises(SettingError, match=r"^the loss has no parameter, or one that requires no gradient; call"):
            meta_gradient(loss, model, batches[:1], batches[3])
    with pytest.raises(SettingError, match=r"^train_batches holds no pairs"):
        meta_gradient(_loss(FORMULAS[0]), model, batches[0], batches[3])


def test_errors_of_the_model_keep_their_own_words():
    model, batches = zoo.make("mlp", torch.float32)
    x, y = batches[0]
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        meta_gradient(_loss(FORMULAS[0], torch.float32), model, [(x[:, :3], y)], batches[3])
