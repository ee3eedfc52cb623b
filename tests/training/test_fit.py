import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from evomal.config import BaseSettings
from evomal.foundation.seeds import seeded
from evomal.losses import SymbolicLoss
from evomal.tasks import Batches, Split, Task
from evomal.tasks.factories import NOTHING_OWN
from evomal.training import Fit, fit, one_thread

STEPS = 25
BASES = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.05},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
]
LOSSES = {
    "cross_entropy": cross_entropy,
    "symbolic": SymbolicLoss("sub(tanh(mul(f, y)), mul(y, log(f)))", task_type="classification"),
}


def _split():
    draw = torch.Generator().manual_seed(0)
    return Split(torch.randn(40, 5, generator=draw), torch.randint(0, 3, (40,), generator=draw))


def _model(*between, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), *between, nn.Linear(8, 3))


def _batches():
    return Batches(40, 16, 0, "task", "batches")


def _weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _fitted(model, criterion=cross_entropy, steps=STEPS, base=None, noise_seed=0, own=NOTHING_OWN):
    ended = fit(model, criterion, _split(), _batches(), steps, base or BaseSettings(lr=0.2), noise_seed, own)
    return ended, _weights(model)


def _plain_loop(criterion, base, make_scheduler=None):
    """Training as anybody would write it in PyTorch."""
    model, split, batches = _model(), _split(), _batches()
    optimizer = SGD(model.parameters(), lr=0.2, **base)
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    for step in range(STEPS):
        index = batches.index(step)
        optimizer.zero_grad()
        criterion(model(split.x[index]), split.y[index]).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return _weights(model)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
@pytest.mark.parametrize("base", BASES, ids=str)
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_trajectory_is_that_of_a_plain_loop_to_the_bit(loss, base, schedule):
    theirs = {
        "constant": None,
        "step": lambda optimizer: MultiStepLR(optimizer, [10, 20], gamma=0.1),
        "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS),
    }[schedule]
    settings = BaseSettings(lr=0.2, schedule=schedule, milestones=(0.4, 0.8), **base)
    ended, ours = _fitted(_model(), LOSSES[loss], base=settings)
    assert ended == Fit(STEPS, None)
    assert torch.equal(ours, _plain_loop(LOSSES[loss], base, theirs))
    assert not torch.equal(ours, _weights(_model()))


def test_plain_descent_is_equation_1():
    model, split, batches = _model(), _split(), _batches()
    for step in range(STEPS):
        index = batches.index(step)
        loss = cross_entropy(model(split.x[index]), split.y[index])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 0.2 * gradient
    torch.testing.assert_close(_fitted(_model())[1], _weights(model), rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_never_reaches_the_network():
    calls = []

    def criterion(outputs, targets):
        calls.append(1)
        return cross_entropy(outputs, targets) * (float("nan") if len(calls) == 4 else 1.0)

    ended, ours = _fitted(_model(), criterion)
    assert ended == Fit(3, "the loss is not finite at step 3")
    assert torch.equal(ours, _fitted(_model(), steps=3)[1])


def test_an_infinite_loss_at_the_first_step_leaves_the_network_as_it_was():
    ended, ours = _fitted(_model(), lambda outputs, targets: outputs.sum() * float("inf"))
    assert ended == Fit(0, "the loss is not finite at step 0")
    assert torch.equal(ours, _weights(_model()))


class _SpoiledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs):
        return outputs.sum()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.full((16, 3), float("nan"))


def test_a_gradient_that_is_not_finite_is_reported_even_at_the_last_step():
    ended, _ = _fitted(_model(), lambda outputs, targets: _SpoiledGradient.apply(outputs), steps=1)
    assert ended == Fit(1, "a parameter is not finite after the last step")
    ended, _ = _fitted(_model(), lambda outputs, targets: _SpoiledGradient.apply(outputs), steps=5)
    assert ended == Fit(1, "the loss is not finite at step 1")


def test_a_rate_that_is_much_too_high_is_a_reason_not_an_error():
    ended, _ = _fitted(_model(), lambda outputs, targets: outputs.pow(4).mean(), base=BaseSettings(lr=1e6))
    assert ended.reason.startswith("the loss is not finite at step ")
    assert ended.steps < STEPS


def test_global_generators_stay_as_they_were():
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    _fitted(_model(nn.Dropout(0.5)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_dropout_is_a_function_of_the_noise_seed():
    one, other, third = (_fitted(_model(nn.Dropout(0.5)), noise_seed=seed)[1] for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_the_generators_are_restored_after_an_error():
    def fail():
        with seeded(3):
            torch.rand(5)
            raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_training_is_in_training_mode_and_leaves_frozen_parameters():
    model = _model(nn.BatchNorm1d(8)).eval()
    model[0].requires_grad_(False)
    before = model[0].weight.clone(), model[3].weight.clone()
    _fitted(model)
    assert model.training
    assert model[2].num_batches_tracked == STEPS
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[3].weight, before[1])


def test_no_steps():
    ended, ours = _fitted(_model(), steps=0)
    assert ended == Fit(0, None)
    assert torch.equal(ours, _weights(_model()))


def test_one_thread_and_back():
    def fail():
        with one_thread():
            raise ZeroDivisionError(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError, match=r"^1$"):
            fail()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_batch_without_a_label_is_named_as_the_cause():
    class Unknown(torch.utils.data.Dataset):  # labels of images are read as they are needed
        def __len__(self):
            return 20

        def __getitem__(self, row):
            return torch.ones(1, 2, 2), torch.full((2, 2), -100 if row else 0)

    task = Task(lambda: nn.Conv2d(1, 2, 1), Unknown(), Unknown(), resident=False)
    ended = fit(task.make_model(0), task.task_loss, task.train, Batches(20, 2, 0), 30, BaseSettings(), 0)
    assert ended.reason.endswith(", as no label of its batch counts")
