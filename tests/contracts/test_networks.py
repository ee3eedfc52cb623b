"""Every network of the paper through all that a search does with it, on 32×32 images, thin ones for the time's sake."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

import evomal
from evomal.config import BaseSettings, LocalSearchSettings, learn_settings
from evomal.local_search import tune
from evomal.local_search.batched_tune import tune_lanes
from evomal.search import EvoMAL, Watcher
from evomal.tasks import MODELS
from evomal.tasks.models import ModelFactory
from evomal.training import evaluate
from helpers import oracles

WIDTHS = {
    "alexnet": 0.03,
    "vgg16": 0.03,
    "allcnnc": 0.03,
    "squeezenet": 0.06,
    "resnet18": 0.03,
    "preresnet101": 0.03,
    "wideresnet28-10": 0.02,
    "pyramidnet110": 0.13,
}


def network(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name]((3, 32, 32), 3, WIDTHS[name])


def batch(seed, count=4):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 32, 32, generator=draw), torch.arange(count) % 3


def task(name, count=12):
    """Bright, dark and striped images."""
    x, y = batch(1, 3 * count)
    x[y == 1] += 1
    x[y == 2, :, ::2] -= 1
    splits = [(x[part * count : (part + 1) * count], y[part * count : (part + 1) * count]) for part in range(3)]
    return evomal.Task(ModelFactory(name, (3, 32, 32), 3, WIDTHS[name]), *splits, name=f"stripes/{name}")


def settings(**flat):
    small = {
        "population_size": 2,
        "generations": 1,
        "meta_steps": 1,
        "partial_steps": 2,
        "rejection": False,
        "gradient_equivalence": False,
        "lr": 0.05,
        "momentum": 0.9,
        "nesterov": True,
        "batch_size": 4,
        "seed": 1,
    }
    return learn_settings(**small | flat)


def test_every_network_is_here():
    assert set(WIDTHS) == set(MODELS) - {"linear", "mlp", "lenet5"}


@pytest.mark.parametrize("name", WIDTHS)
def test_forward_and_backward(name):
    model, (x, y) = network(name), batch(0)
    before = x.clone()
    functional.cross_entropy(model(x), y).backward()
    assert torch.equal(x, before)  # nothing is done in place to what others use
    for kept, parameter in model.named_parameters():
        assert parameter.grad is not None, kept
        assert parameter.grad.isfinite().all(), kept
    with torch.no_grad():
        together, alone = (model.eval()(part) for part in (x, x[:1]))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)  # batch statistics have no part any more


@pytest.mark.parametrize("name", WIDTHS)
def test_one_meta_gradient_is_that_of_double_backward(name):
    model = network(name).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the oracle draws in another order
    buffers = {kept: buffer.clone() for kept, buffer in model.named_buffers()}
    (x, y), (xv, yv) = batch(0), batch(1)
    train, valid = [(x.double(), y)], (xv.double(), yv)
    loss = evomal.SymbolicLoss("abs(log(mul(y, f)))", task_type="classification").double().requires_grad_()
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    ours = evomal.meta_gradient(loss, model, train, valid, **options)
    theirs = oracles.double_backward(loss, model, train, valid, functional.cross_entropy, **options)
    assert ours[0].abs().max() > 1e-4
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, their, rtol=1e-8, atol=1e-12)
    assert all(torch.equal(buffer, buffers[kept]) for kept, buffer in model.named_buffers())


@pytest.mark.parametrize("name", WIDTHS)
def test_a_search_of_two_candidates(name):
    seen = _Members()
    result = EvoMAL(settings(lanes=2)).learn(task(name), watcher=seen)
    assert len(seen.candidates) == 2
    assert all(0 <= candidate.fitness <= 1 for candidate in seen.candidates)
    assert result.fitness == min(candidate.fitness for candidate in seen.candidates)


class _Members(Watcher):
    def __init__(self):
        self.candidates = []

    def member(self, candidate, best):
        self.candidates.append(candidate)


def _tuned(way, name):
    losses = [
        evomal.SymbolicLoss(text, task_type="classification", ignore_index=None)
        for text in ("abs(log(mul(y, f)))", "square(sub(y, f))")
    ]
    search = LocalSearchSettings(meta_steps=3, meta_lr=0.01)
    base = BaseSettings(lr=0.05, momentum=0.9, nesterov=True, batch_size=4)
    if way is tune:
        outcomes = tune(losses, task(name), search, base, 1)
    else:
        outcomes = tune_lanes(losses, task(name), search, base, 1)
    assert [outcome.steps for outcome in outcomes] == [3, 3]
    return [loss.weights.detach() for loss in losses]


@pytest.mark.parametrize("name", ["allcnnc", "squeezenet"])
def test_batch_norm_and_dropout_are_tuned_alike_one_by_one_and_batched(name):
    """SqueezeNet has both, All-CNN-C drops units of the images too: every candidate sees the same masks."""
    kinds = {type(module) for module in network(name).modules()}
    assert nn.Dropout in kinds
    assert (nn.BatchNorm2d in kinds) == (name == "squeezenet")
    for one, many in zip(_tuned(tune, name), _tuned(tune_lanes, name), strict=True):
        assert (one - 1).abs().max() > 0.005  # it moved
        # Where gradients are near zero, Adam's three steps of 0.01 follow last bits, which lanes round otherwise.
        torch.testing.assert_close(one, many, rtol=0, atol=5e-3)


class _StopAfter(Watcher):
    def __init__(self, members):
        self.left = members

    def member(self, candidate, best):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def _journal(folder):
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if "seconds" not in name} for record in records]


def test_a_search_with_batch_norm_and_dropout_goes_on_to_the_bit(tmp_path):
    some = settings(generations=2, lanes=2)
    EvoMAL(some).learn(task("squeezenet"), tmp_path / "whole")
    stopped = EvoMAL(some).learn(task("squeezenet"), tmp_path / "parts", watcher=_StopAfter(2))
    assert stopped.interrupted
    EvoMAL(some).learn(task("squeezenet"), tmp_path / "parts", resume=True)
    assert _journal(tmp_path / "parts") == _journal(tmp_path / "whole")


def test_evaluation_takes_running_statistics_and_no_dropout():
    made = task("squeezenet")
    model = made.make_model(0)
    first, again = (evaluate(model, made.valid, made.metric) for _ in range(2))
    assert first == again
    assert all(module.training for module in model.modules())
    chunks = [evaluate(model, made.valid.subset(torch.tensor([row])), made.metric) for row in range(len(made.valid))]
    assert first == pytest.approx(sum(chunks) / len(chunks))
