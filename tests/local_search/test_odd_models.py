"""Models and callers that would get wrong numbers without a word: right, or refused."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

import evomal
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import ModelError
from evomal.local_search import meta_gradient, tune
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import HandcraftedLoss, SymbolicLoss, TaylorLoss
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import stack
from evomal.losses.slopes import slope
from evomal.tasks import Batches, Task
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from helpers import oracles

both = pytest.mark.parametrize("steps", [1, 2])
BASE = BaseSettings(lr=0.3, batch_size=12)


def _batches(dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    pairs = [
        (torch.randn(9, 6, generator=draw, dtype=dtype), torch.randint(0, 3, (9,), generator=draw)) for _ in range(4)
    ]
    return pairs[:3], pairs[3]


def _loss(dtype=torch.float64, **settings):
    weights = [1.1, 0.9, 0.8]
    return SymbolicLoss("square(sub(y, f))", weights, task_type="classification", **settings).to(dtype)


def _task(model, **settings):
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 6, generator=draw), torch.randint(0, 3, (60,), generator=draw)
    return Task(model, (x, y), (x[:20], y[:20]), (x, y), name="odd", model_name="odd", **settings)


def _made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind().double()


class OneName(nn.Module):
    """A layer that is applied twice."""

    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        for _ in range(2):
            x = torch.tanh(self.norm(self.body(x)))
        return self.head(x)


class TwoNames(OneName):
    """The same, the layer under two names; that of a normalisation, with its buffers, too."""

    def __init__(self):
        super().__init__()
        self.again, self.other_norm = self.body, self.norm

    def forward(self, x):
        x = torch.tanh(self.norm(self.body(x)))
        return self.head(torch.tanh(self.other_norm(self.again(x))))


class InAList(OneName):
    """The same, in a list of modules that holds it twice."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(self.body, self.norm), nn.Sequential(self.body, self.norm)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


class WeightInTwo(nn.Module):
    """Two layers with one weight: of words and of what is said about them, as in language models."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class WeightAsBuffer(OneName):
    """A parameter that is a buffer as well."""

    def __init__(self):
        super().__init__()
        self.register_buffer("known", self.body.weight)

    def forward(self, x):
        return self.head(torch.tanh(linear(torch.tanh(self.body(x)), self.known, self.body.bias)))


@both
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("kind", [TwoNames, InAList])
def test_a_layer_under_two_names_is_one_layer(kind, mode, steps):
    train, valid = _batches()
    model, plain = _made(kind).train(mode), _made(OneName).train(mode)
    before, state = dict(model.named_parameters(remove_duplicate=False)), copy.deepcopy(model.state_dict())
    (expected,) = meta_gradient(_loss(), plain, train[:steps], valid, lr=0.5)
    for _ in range(2):
        (found,) = meta_gradient(_loss(), model, train[:steps], valid, lr=0.5)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        after = dict(model.named_parameters(remove_duplicate=False))
        assert after.keys() == before.keys()
        assert all(after[name] is p for name, p in before.items())
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@both
@pytest.mark.parametrize("kind", [TwoNames, InAList, WeightInTwo, WeightAsBuffer])
def test_shared_parameters_agree_with_finite_differences_of_training(kind, steps):
    train, valid = _batches()
    model = _made(kind).eval()
    (found,) = meta_gradient(_loss(), model, train[:steps], valid, lr=0.5)
    expected = oracles.finite_differences(_loss(), model, train[:steps], valid, cross_entropy, lr=0.5)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-7)


@both
@pytest.mark.parametrize("way", [tune, tune_lanes])
def test_tuning_of_a_shared_layer(way, steps):
    settings = LocalSearchSettings(meta_steps=3, base_steps=steps, meta_lr=0.1)
    tuned = []
    for kind in (OneName, TwoNames):
        losses = [_loss(torch.float32), SymbolicLoss("abs(log(mul(y, f)))", task_type="classification")]
        outcomes = way(losses, _task(kind), settings, BASE, 0)
        assert [(o.steps, o.reason, o.note) for o in outcomes] == [(3, None, None)] * 2
        tuned.append([loss.coefficients for loss in losses])
    assert tuned[0] == tuned[1]


def test_training_of_a_shared_layer_in_lanes():
    metrics = []
    for kind in (OneName, TwoNames):
        task = _task(kind)
        batches = Batches(len(task.train), 12, 0, task.key, "full", "batches")
        trained = fit_lanes(task.make_model(1), stack([_loss(torch.float32)] * 2), task.train, batches, 8, BASE, 0)
        alone = task.make_model(1)
        assert fit(alone, _loss(torch.float32), task.train, batches, 8, BASE, 0).reason is None
        for own, one in zip(trained.lanes.parameters, alone.parameters(), strict=True):
            torch.testing.assert_close(own[1], one.detach(), rtol=1e-4, atol=1e-5)
        metrics.append([p.tolist() for p in trained.lanes.parameters])
    assert metrics[0] == metrics[1]


def test_a_search_over_a_shared_layer_is_that_over_one_name(tmp_path):
    seen = []
    for kind in (OneName, TwoNames):
        settings = {"population_size": 3, "generations": 1, "meta_steps": 3, "base_steps": 2, "partial_steps": 5}
        search = evomal.EvoMAL(**settings, lr=0.1, rejection=False, seed=0)
        search.learn(_task(kind), out=tmp_path / kind.__name__)
        lines = map(json.loads, (tmp_path / kind.__name__ / "journal.jsonl").read_text().splitlines())
        seen.append(sorted((line["index"], line["outcome"], line["fitness"], line["weights"]) for line in lines))
    assert seen[0] == seen[1]
    assert all(outcome != "failed" for _, outcome, _, _ in seen[0])


class ByList(nn.Module):
    """Its second layer's weight comes out of a list."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)
        self.weights = [self.second.weight]

    def forward(self, x):
        return linear(torch.tanh(self.first(x)), self.weights[0], self.second.bias)


class ByClosure(ByList):
    """... out of a function."""

    def __init__(self):
        super().__init__()
        second = self.second
        self.apply_second = lambda h: linear(h, second.weight * 1.0, second.bias)
        object.__setattr__(self, "second_again", nn.Linear(6, 3))
        self.second_again.weight = self.second.weight

    def forward(self, x):
        return self.second_again(torch.tanh(self.first(x)))


class ByView(ByList):
    """... as a view, made once."""

    def __init__(self):
        super().__init__()
        self.turned = self.second.weight.t()

    def forward(self, x):
        return torch.tanh(self.first(x)) @ self.turned + self.second.bias


class ByDetached(ByList):
    """... for a part of it, without a gradient: nothing in the graph tells of it."""

    def __init__(self):
        super().__init__()
        self.seen = self.second.weight.detach()

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))) / (1 + self.seen.abs().mean())


class ByScale(ByList):
    """... for its length, in a function."""

    def __init__(self):
        super().__init__()
        weight = self.second.weight
        self.length = lambda: weight.detach().norm()

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))) / self.length()


PAST = (ByList, ByClosure, ByView, ByDetached, ByScale)


@both
@pytest.mark.parametrize("kind", PAST)
def test_a_parameter_that_is_reached_past_its_module_is_found_out(kind, steps):
    train, valid = _batches()
    torch.manual_seed(2)
    with torch.random.fork_rng():
        torch.set_default_dtype(torch.float64)
        try:
            model = kind()
        finally:
            torch.set_default_dtype(torch.float32)
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(ModelError, match=r"^the model reaches .* past the module that holds it .*; let it use the"):
        meta_gradient(_loss(), model, train[:steps], valid, lr=0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("kind", PAST)
def test_neither_tuning_nor_lanes_take_such_a_model(kind):
    task, settings = _task(kind), LocalSearchSettings(meta_steps=2)
    (outcome,) = tune([_loss(torch.float32)], task, settings, BASE, 0)
    assert "past the module that holds it" in outcome.reason
    with pytest.raises(BatchingError):
        tune_lanes([_loss(torch.float32)], task, settings, BASE, 0)
    batches = Batches(len(task.train), 12, 0, task.key, "full", "batches")
    with pytest.raises(BatchingError):
        fit_lanes(task.make_model(1), stack([_loss(torch.float32)]), task.train, batches, 2, BASE, 0)


def test_a_search_refuses_such_a_model_before_it_begins():
    search = evomal.EvoMAL(population_size=3, generations=1, meta_steps=2, partial_steps=5, rejection=False, seed=0)
    with pytest.raises(ModelError, match="past the module that holds it"):
        search.learn(_task(ByList))


class Hooked(nn.Module):
    """Gradients of its first layer are masked and clipped by hooks."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)
        _hook(self)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def _hook(model):
    model.first.weight.register_hook(lambda g: g * torch.arange(6))
    model.first.weight.register_hook(lambda g: g.clamp(-0.02, 0.02))
    model.second.bias.register_hook(lambda g: None)


def _hooked_finite_differences(loss, model, train, valid, **sgd):
    """As in `oracles`, with the hooks, which a copy of a model does not have."""
    start = copy.deepcopy(model.state_dict())

    def after():
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(model.parameters(), **sgd)
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        return cross_entropy(model(valid[0]), valid[1]).item()

    slopes, weights = [], loss.coefficients
    for i in range(len(weights)):
        values = []
        for eps in (1e-5, -1e-5):
            loss.coefficients = [w + eps * (i == j) for j, w in enumerate(weights)]
            values.append(after())
        slopes.append((values[0] - values[1]) / 2e-5)
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("sgd", [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}], ids=str)
def test_hooks_of_parameters_count_in_every_base_step(sgd, steps):
    train, valid = _batches()
    (found,) = meta_gradient(_loss(), _made(Hooked), train[:steps], valid, lr=0.5, **sgd)
    expected = _hooked_finite_differences(_loss(), _made(Hooked), train[:steps], valid, lr=0.5, **sgd)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-7)


class OnAccumulated(Hooked):
    """A hook that acts when a gradient has been accumulated."""

    def __init__(self):
        super().__init__()
        self.first.bias.register_post_accumulate_grad_hook(lambda p: p.grad.zero_())


class Detaching(Hooked):
    """A hook that cuts the graph off."""

    def __init__(self):
        super().__init__()
        self.first.bias.register_hook(lambda g: 2 * g.detach())


@both
@pytest.mark.parametrize(
    ("kind", "words"),
    [(OnAccumulated, "use parameter.register_hook instead$"), (Detaching, "let it use differentiable operations$")],
)
def test_hooks_that_no_meta_gradient_can_see_are_refused(kind, words, steps):
    train, valid = _batches()
    with pytest.raises(ModelError, match=words):
        meta_gradient(_loss(), _made(kind), train[:steps], valid, lr=0.5)


@pytest.mark.parametrize("kind", [Hooked, OnAccumulated])
def test_lanes_leave_models_with_hooks_alone(kind):
    task = _task(kind)
    batches = Batches(len(task.train), 12, 0, task.key, "full", "batches")
    with pytest.raises(BatchingError, match="hooks"):
        fit_lanes(task.make_model(1), stack([_loss(torch.float32)]), task.train, batches, 2, BASE, 0)
    with pytest.raises(BatchingError):
        tune_lanes([_loss(torch.float32)], task, LocalSearchSettings(meta_steps=1), BASE, 0)


class Within(nn.Module):
    """A hook on what lies between its layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        if h.requires_grad and not torch._C._functorch.is_functorch_wrapped_tensor(h):
            h.register_hook(lambda g: 3 * g)
        return self.second(h)


def test_lanes_that_would_miss_a_hook_within_the_model_are_refused():
    task = _task(Within)
    batches = Batches(len(task.train), 12, 0, task.key, "full", "batches")
    with pytest.raises(BatchingError, match=r"do not agree$"):
        fit_lanes(task.make_model(1), stack([_loss(torch.float32)]), task.train, batches, 2, BASE, 0)


class Checkpointed(nn.Module):
    """Computes what lies in it once more on the way back."""

    def __init__(self, reentrant=False):
        super().__init__()
        self.net, self.reentrant = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), reentrant

    def forward(self, x):
        h = x.requires_grad_() if self.reentrant else x
        return checkpoint(self.net, h, use_reentrant=self.reentrant)


@both
@pytest.mark.parametrize("lr", [0.5, 5.0])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_model_is_refused(reentrant, lr, steps):
    train, valid = _batches()
    train, valid = [(x.clone(), y) for x, y in train], (valid[0].clone(), valid[1])
    with pytest.raises(
        ModelError, match=r"as gradient checkpointing does, .*; switch that off while losses are tuned$"
    ):
        meta_gradient(_loss(), Checkpointed(reentrant).double(), train[:steps], valid, lr=lr)


def test_a_checkpointed_model_is_trained_alone_but_neither_tuned_nor_in_lanes():
    task, settings = _task(Checkpointed), LocalSearchSettings(meta_steps=1)
    (outcome,) = tune([_loss(torch.float32)], task, settings, BASE, 0)
    assert "gradient checkpointing" in outcome.reason
    batches = Batches(len(task.train), 12, 0, task.key, "full", "batches")
    with pytest.raises(BatchingError):
        fit_lanes(task.make_model(1), stack([_loss(torch.float32)]), task.train, batches, 2, BASE, 0)
    model, plain = task.make_model(1), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    plain.load_state_dict(model.net.state_dict())
    for each in (model, plain):
        fit(each, _loss(torch.float32), task.train, batches, 4, BASE, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


CONTEXTS = [torch.no_grad, torch.inference_mode]


@both
@pytest.mark.parametrize("context", CONTEXTS)
def test_meta_gradients_where_gradients_are_switched_off(context, steps):
    train, valid = _batches()
    model, loss = _made(OneName), _loss()
    expected = meta_gradient(loss, model, train[:steps], valid, lr=0.5)
    with context():
        made_here, valid_here = [(x.clone(), y.clone()) for x, y in train[:steps]], (valid[0].clone(), valid[1].clone())
        found = [
            meta_gradient(loss, model, *pair, lr=0.5) for pair in ((train[:steps], valid), (made_here, valid_here))
        ]
        assert torch.is_grad_enabled() is False
    assert all(torch.equal(each[0], expected[0]) for each in found)


def test_a_model_or_a_loss_of_inference_mode_is_refused():
    train, valid = _batches()
    with torch.inference_mode():
        model, loss = _made(OneName), _loss()
    for pair in ((loss, _made(OneName)), (_loss(), model)):
        with pytest.raises(ModelError, match=r"^the (loss|model) was made inside torch.inference_mode, so it has no"):
            meta_gradient(*pair, train[:1], valid)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_search_and_a_training_where_gradients_are_switched_off(context):
    def go():
        search = evomal.EvoMAL(
            population_size=3,
            generations=1,
            meta_steps=2,
            partial_steps=5,
            rejection_steps=20,
            rejection_lr=0.1,
            seed=0,
        )
        found = search.learn(_task(OneName, valid_fraction=0.2))
        tested = evomal.meta_test(_task(OneName), found.loss, steps=5, seeds=(0,), lrs=(0.1,))
        return found.fitness, found.loss.coefficients, tested.mean

    expected = go()
    with context():
        assert go() == expected


@pytest.mark.parametrize("context", CONTEXTS)
def test_slopes_where_gradients_are_switched_off(context):
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    for loss in (HandcraftedLoss("cross_entropy"), _loss(torch.float32)):
        expected = slope(loss, outputs, targets)
        with context():
            found = slope(loss, outputs, targets)
        assert found[1].any()
        assert torch.equal(found[1], expected[1])


class Times2(SymbolicLoss):
    def per_instance(self, outputs, targets):
        return super().per_instance(outputs, targets) * (1 + outputs.square().sum(1))


class OwnForward(SymbolicLoss):
    def forward(self, outputs, targets, sample_weight=None):
        return super().forward(outputs, targets, sample_weight) ** 2


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight * weight


def _changed(how):
    if how in (Times2, OwnForward):
        return how("square(sub(y, f))", [1.1, 0.9, 0.8], task_type="classification").double()
    loss = _loss()
    if how == "forward hook":
        loss.register_forward_hook(lambda module, given, value: value**2)
    elif how == "forward pre-hook":
        loss.register_forward_pre_hook(lambda module, given: (3 * given[0], given[1]))
    elif how == "parametrisation":
        parametrize.register_parametrization(loss, "weights", Doubled())
    elif how == "method":
        loss.per_class = lambda y, f: (f - y) ** 4 * loss.weights.sum()
    elif how == "call":
        before = loss.forward
        loss.forward = lambda outputs, targets: before(outputs, targets).exp()
    elif how == "weight hook":
        loss.weights.register_hook(lambda g: g.clamp(-0.01, 0.01))
    return loss


CHANGES = [Times2, OwnForward, "forward hook", "forward pre-hook", "parametrisation", "method", "call", "weight hook"]


@both
@pytest.mark.parametrize("how", CHANGES, ids=str)
def test_a_loss_that_somebody_changed_is_differentiated_as_it_is_called(how, steps):
    train, valid = _batches()
    loss = _changed(how)
    (found,) = meta_gradient(loss, _made(OneName).eval(), train[:steps], valid, lr=0.5)
    (expected,) = oracles.double_backward(loss, _made(OneName).eval(), train[:steps], valid, cross_entropy, lr=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    if how != "weight hook":
        (plain,) = meta_gradient(_loss(), _made(OneName).eval(), train[:steps], valid, lr=0.5)
        assert not torch.allclose(found, plain, rtol=1e-3)


@pytest.mark.parametrize("how", CHANGES, ids=str)
def test_slopes_of_a_loss_that_somebody_changed(how):
    loss, (outputs, targets) = _changed(how), (torch.randn(5, 3).double(), torch.tensor([0, 1, 2, 0, 1]))
    leaf = outputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf, targets), leaf)
    torch.testing.assert_close(slope(loss, outputs, targets)[1], expected)
    with pytest.raises(BatchingError):
        stack([loss])


def test_lanes_refuse_a_polynomial_that_somebody_changed():
    class Own(TaylorLoss):
        def reduce(self, values, kept, sample_weight):
            return super().reduce(values, kept, sample_weight) ** 2

    with pytest.raises(BatchingError, match="class by class"):
        stack([Own(task_type="regression")] * 2)


def test_tuning_of_losses_that_are_not_alike():
    settings = LocalSearchSettings(meta_steps=2, meta_lr=0.1)
    losses = [
        _loss(torch.float32),
        _loss(torch.float32, reduction="sum"),
        Times2("square(sub(y, f))", task_type="classification"),
    ]
    alone = copy.deepcopy(losses)
    tune(losses, _task(OneName), settings, BASE, 0)
    for loss in alone:
        tune([loss], _task(OneName), settings, BASE, 0)
    assert [loss.coefficients for loss in losses] == [loss.coefficients for loss in alone]


class OwnNorm(nn.BatchNorm1d):
    """Looks at running statistics in training, too."""

    def forward(self, x):
        return super().forward(x) - 0.5 * self.running_mean


def test_a_normalisation_that_looks_at_its_running_statistics():
    train, valid = _batches()

    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 4), OwnNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()
        model[1].running_mean += torch.arange(4)
        return model

    with torch.random.fork_rng():
        (found,) = meta_gradient(_loss(), make(), train[:1], valid, lr=0.5)
        (expected,) = oracles.double_backward(_loss(), make(), train[:1], valid, cross_entropy, lr=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
