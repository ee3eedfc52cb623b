"""Meta-gradients through optimisers other than plain SGD, against double backward through steps written out here."""

from itertools import cycle, islice

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import evomal
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.foundation.seeds import seeded
from evomal.local_search import meta_gradient
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.meta_trainer import MetaTrainer, TuningState
from evomal.local_search.warm_up import STEPS
from evomal.losses.batched_families import stack
from evomal.tasks import Task
from helpers import oracles, zoo

FORMULA = "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))"
RATE = 0.05


def _loss(formula=FORMULA):
    loss = evomal.SymbolicLoss(formula, task_type="classification").double()
    with torch.no_grad():
        loss.weights += 0.1 * torch.randn(loss.weights.shape, generator=torch.Generator().manual_seed(5)).double()
    return loss


def _close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert float(b.abs().max()) > 0, "the oracle's gradient is zero: the comparison shows nothing"
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def _adam(scaling, decay=0.0, decoupled=0.0, beta=0.9):
    def rule(theta, gradients, number, memory):
        moved = []
        for k, (p, g) in enumerate(zip(theta, gradients, strict=True)):
            g = g + decay * p
            memory[k] = beta * memory.get(k, 0) + (1 - beta) * g
            mean = memory[k] / (1 - beta ** (number + 1))
            moved.append(p * (1 - RATE * decoupled) - RATE * mean * scaling[k])
        return moved

    return rule


def _rmsprop(scaling, decay=0.0, momentum=0.0):
    def rule(theta, gradients, number, memory):
        moved = []
        for k, (p, g) in enumerate(zip(theta, gradients, strict=True)):
            memory[k] = momentum * memory.get(k, 0) + (g + decay * p) * scaling[k]
            moved.append(p - RATE * memory[k])
        return moved

    return rule


CASES = {
    "adam": ({"optimizer": "adam"}, torch.optim.Adam, {}, lambda d: _adam(d)),
    "adam with decay": (
        {"optimizer": "adam", "weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
        torch.optim.Adam,
        {"weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
        lambda d: _adam(d, 0.1, beta=0.5),
    ),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.2},
        torch.optim.AdamW,
        {"weight_decay": 0.2},
        lambda d: _adam(d, decoupled=0.2),
    ),
    "rmsprop": (
        {"optimizer": "rmsprop", "momentum": 0.8, "weight_decay": 0.1, "smoothing": 0.7},
        torch.optim.RMSprop,
        {"momentum": 0.8, "weight_decay": 0.1, "alpha": 0.7},
        lambda d: _rmsprop(d, 0.1, 0.8),
    ),
}


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_through_an_adaptive_optimiser_with_fixed_scaling(name, steps, clip):
    settings, theirs, options, rule = CASES[name]
    loss, (model, batches) = _loss(), zoo.make("mlp")
    warm = list(islice(cycle(batches[:steps]), STEPS))
    scaling = oracles.scaling_of(
        lambda parameters: theirs(parameters, lr=RATE, **options), model, warm, cross_entropy, clip
    )
    arguments = (loss, model, batches[:steps], batches[3])
    ours = meta_gradient(*arguments, lr=RATE, clip=clip, **settings)
    _close(ours, oracles.double_backward_through(rule(scaling), *arguments, cross_entropy, clip))


@pytest.mark.parametrize("clip", [0.02, 1e6])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("nesterov", [False, True])
def test_through_shortened_gradients(steps, clip, nesterov):
    def rule(theta, gradients, number, memory):
        moved = []
        for k, (p, g) in enumerate(zip(theta, gradients, strict=True)):
            memory[k] = 0.8 * memory.get(k, 0) + g
            moved.append(p - 0.3 * (g + 0.8 * memory[k] if nesterov else memory[k]))
        return moved

    loss, (model, batches) = _loss(), zoo.make("mlp")
    arguments = (loss, model, batches[:steps], batches[3])
    ours = meta_gradient(*arguments, lr=0.3, momentum=0.8, nesterov=nesterov, clip=clip)
    _close(ours, oracles.double_backward_through(rule, *arguments, cross_entropy, clip))
    free = meta_gradient(*arguments, lr=0.3, momentum=0.8, nesterov=nesterov)
    assert torch.equal(ours[0], free[0]) == (clip > 1)


def test_the_first_step_of_adam_itself_has_no_useful_gradient():
    """Why the scale is fixed: differentiating the step itself gives nothing but what ε leaves."""

    def rule(theta, gradients, number, memory):
        return [p - RATE * g / ((g * g).sqrt() + 1e-8) for p, g in zip(theta, gradients, strict=True)]

    loss, (model, batches) = _loss(), zoo.make("mlp")
    arguments = (loss, model, batches[:1], batches[3])
    (itself,) = oracles.double_backward_through(rule, *arguments, cross_entropy)
    (ours,) = meta_gradient(*arguments, lr=RATE, optimizer="adam")
    assert itself.norm() < 1e-3 * ours.norm()


@pytest.mark.parametrize("steps", [1, 3])
def test_through_an_optimiser_of_the_user(steps):
    """Plain SGD by another name is measured to be plain SGD; what is not known inside has the scale of its changes."""
    loss, (model, batches) = _loss(), zoo.make("mlp")
    arguments = (loss, model, batches[:steps], batches[3])
    ours = meta_gradient(*arguments, lr=0.3, optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr))
    _close(ours, meta_gradient(*arguments, lr=0.3))
    other = meta_gradient(*arguments, lr=0.01, optimizer=lambda parameters, lr: torch.optim.NAdam(parameters, lr))
    assert torch.isfinite(other[0]).all()
    assert float(other[0].norm()) > 0


def test_warm_up_changes_neither_the_model_nor_the_random_numbers():
    loss, (model, batches) = _loss(), zoo.make("dropout")
    before = [p.clone() for p in model.parameters()]
    torch.manual_seed(3)
    first = meta_gradient(loss, model, batches[:1], batches[3], lr=RATE, optimizer="adam")
    torch.manual_seed(3)
    assert torch.equal(first[0], meta_gradient(loss, model, batches[:1], batches[3], lr=RATE, optimizer="adam")[0])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_weight_without_gradients_stays_where_it_is():
    """Its second moment is 0, and 1/ε would throw it away."""
    loss, (_, batches) = _loss(), zoo.make("mlp")
    batches = [(torch.cat([x, torch.zeros_like(x)], 1), y) for x, y in batches]  # half of the inputs are always 0
    torch.manual_seed(0)
    model = nn.Linear(12, 5).double()
    (ours,) = meta_gradient(loss, model, batches[:1], batches[3], lr=RATE, optimizer="adam")
    assert torch.isfinite(ours).all()
    assert float(ours.norm()) < 1


def test_what_cannot_be_is_said():
    loss, (model, batches) = _loss(), zoo.make("mlp")
    with pytest.raises(UnknownNameError, match=r"^unknown optimizer 'adamm'; did you mean 'adam'\?"):
        meta_gradient(loss, model, batches[:1], batches[3], optimizer="adamm")
    with pytest.raises(SettingError, match=r"^setting 'betas': input should be less than 1"):
        meta_gradient(loss, model, batches[:1], batches[3], optimizer="adam", betas=(0.9, 1.0))
    with pytest.raises(SettingError, match=r"^the task's optimizer gives a float; return a torch.optim.Optimizer"):
        meta_gradient(loss, model, batches[:1], batches[3], optimizer=lambda parameters, lr: lr)


def _task(**own):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(90, 6, generator=draw)
    return Task(lambda: nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)), (x, (x[:, 0] > 0).long()), **own)


TUNED = [
    {"optimizer": "adamw", "clip": 0.3},
    {"optimizer": "rmsprop", "momentum": 0.5},
    {"clip": 0.05, "momentum": 0.5},
]


@pytest.mark.parametrize("base_steps", [1, 2])
@pytest.mark.parametrize("options", TUNED, ids=str)
def test_tuning_in_lanes_is_tuning_alone(options, base_steps):
    _lanes_as_alone(_task(), BaseSettings(**({"lr": 0.02, "batch_size": 16} | options)), base_steps)


def test_tuning_with_an_optimiser_of_the_user():
    task = _task(optimizer=lambda parameters, lr: torch.optim.NAdam(parameters, lr))
    _lanes_as_alone(task, BaseSettings(lr=0.02, batch_size=16, optimizer="own"), 1)


def _lanes_as_alone(task, base, base_steps):
    losses = [evomal.SymbolicLoss(f, task_type="classification") for f in (FORMULA, "square(sub(y, f))")]
    settings = LocalSearchSettings(base_steps=base_steps)
    alone, lanes, stacked = (
        MetaTrainer(task, settings, base, 0),
        BatchedMetaTrainer(task, settings, base, 0),
        stack(losses),
    )
    with seeded(0):
        for number in range(2):
            good, gradients = lanes.meta_step(number, stacked, stacked.coefficients().requires_grad_())
            assert good.tolist() == [True, True]
            pupils = [TuningState(loss) for loss in losses]
            alone.meta_step(number, pupils)
            assert [pupil.outcome.reason for pupil in pupils] == [None, None]
            for lane, loss in enumerate(losses):
                expected, loss.weights.grad = loss.weights.grad, None
                size = float(expected.abs().max())
                assert size > 0
                torch.testing.assert_close(
                    gradients[lane, : len(expected)], expected, rtol=1e-3, atol=1e-3 * size
                )  # float32
