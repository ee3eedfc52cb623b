"""Schedules against those of PyTorch."""

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR

from evomal.config import BaseSettings
from evomal.training.schedules import make_schedule, rates_of


def _theirs(make, steps, lr=0.4):
    optimizer = SGD([torch.zeros(1)], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_a_constant_rate_needs_no_schedule():
    assert make_schedule(BaseSettings(), SGD([torch.zeros(1)], lr=0.1), 10) is None
    assert rates_of(BaseSettings(), 0.4, 3) == [0.4] * 3


@pytest.mark.parametrize("steps", [1, 10, 37])
def test_cosine_and_steps_are_those_of_torch_to_the_bit(steps):
    assert rates_of(BaseSettings(schedule="cosine"), 0.4, steps) == _theirs(
        lambda optimizer: CosineAnnealingLR(optimizer, steps), steps
    )
    settings = BaseSettings(schedule="step", milestones=(0.5, 0.9), gamma=0.5)
    milestones = [round(0.5 * steps), round(0.9 * steps)]
    assert rates_of(settings, 0.4, steps) == _theirs(lambda optimizer: MultiStepLR(optimizer, milestones, 0.5), steps)


def test_the_usual_milestones_are_two_thirds_and_nine_tenths():
    rates = rates_of(BaseSettings(schedule="step"), 1.0, 10)
    assert rates == pytest.approx([1.0] * 7 + [0.1] * 2 + [0.01])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6])
@pytest.mark.parametrize("steps", [8, 40, 101])
def test_one_cycle_is_that_of_torch(steps, share):
    if share * steps == 1:
        pytest.skip("torch divides by zero")
    theirs = _theirs(
        lambda o: OneCycleLR(o, 0.4, total_steps=steps, pct_start=share or 0.3, cycle_momentum=False), steps
    )
    ours = rates_of(BaseSettings(schedule="one-cycle", warmup=share), 0.4, steps)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
def test_rates_are_above_zero_and_never_above_the_greatest(schedule, share, steps):
    rates = rates_of(BaseSettings(schedule=schedule, warmup=share), 0.4, steps)
    assert all(0 < rate <= 0.4 * (1 + 1e-12) for rate in rates)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warm_up_rises_in_a_line_then_the_schedule_has_the_rest(schedule):
    settings = BaseSettings(schedule=schedule, warmup=0.25, milestones=(0.5,))
    rates = rates_of(settings, 0.4, 40)
    rise = _theirs(lambda o: LinearLR(o, start_factor=1 / 11, end_factor=1.0, total_iters=10), 10)
    assert rates[:10] == pytest.approx(rise)
    rest = {
        "constant": [0.4] * 30,
        "cosine": _theirs(lambda o: CosineAnnealingLR(o, 30), 30),
        "step": [0.4] * 10 + [0.04] * 20,
    }[schedule]
    assert rates[10:] == pytest.approx(rest)
