"""Learning-rate schedules over the steps of a training, be it partial or full."""

import math
from collections.abc import Callable

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

from evomal.config import BaseSettings
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer

RISE, LOW, LOWEST = 0.3, 1 / 25, 1 / 250_000  # of one cycle, as in PyTorch


def make_schedule(
    base: BaseSettings, optimizer: Optimizer, steps: int, own: UserOptimizer = NOTHING_OWN
) -> LRScheduler | None:
    """The schedule that settings name, or that a task brings; None for a constant rate.

    Args:
        base: Names it.
        optimizer: Its rates are those at the top of the schedule.
        steps: Of this training: each spans its own.
        own: May have another.
    """
    if own.schedule is not None:
        return own.scheduler(optimizer, steps)
    if base.is_constant:
        return None
    if base.schedule == "one-cycle":
        return LambdaLR(optimizer, lambda step: _one_cycle(step, steps, base.warmup or RISE))
    if base.warmup:
        return LambdaLR(optimizer, _with_warmup(base, steps))
    if base.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    return MultiStepLR(optimizer, _milestones(base, steps), gamma=base.gamma)


def rates_of(base: BaseSettings, lr: float, steps: int) -> list[float]:
    """The rate of every step of a training, by the schedule that settings name.

    Example:
        >>> rates_of(BaseSettings(schedule="step", milestones=(0.5,)), 1.0, 4)
        [1.0, 1.0, 0.1, 0.1]
        >>> rates_of(BaseSettings(warmup=0.5), 1.0, 6)
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    optimizer = SGD([torch.zeros(1)], lr=lr)
    scheduler, rates = make_schedule(base, optimizer, steps), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        if scheduler is not None:
            optimizer.step()
            scheduler.step()
    return rates


def _milestones(base: BaseSettings, steps: int) -> list[int]:
    return [round(share * steps) for share in base.milestones]


def _with_warmup(base: BaseSettings, steps: int) -> Callable[[int], float]:
    """The factor of each step: a linear rise, and what the schedule has after it."""
    rise, milestones = max(1, round(base.warmup * steps)), _milestones(base, steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        if base.schedule == "cosine":
            return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2
        if base.schedule == "step":
            return float(base.gamma ** sum(step >= milestone for milestone in milestones))
        return 1.0

    return factor


def _one_cycle(step: int, steps: int, share: float) -> float:
    """The factor of each step: half a cosine up to 1, and another one down to nearly nothing.

    Source:
        Smith and Topin, "Super-Convergence", 2019, as in ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    top, last = share * steps - 1, steps - 1

    def between(start: float, end: float, passed: float) -> float:
        return end + (start - end) / 2 * (1 + math.cos(math.pi * passed))

    if step <= top:
        return between(LOW, 1.0, step / top) if top else 1.0
    return between(1.0, LOWEST, min(1.0, (step - top) / (last - top)))
