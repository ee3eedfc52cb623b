"""An optimiser and a schedule of your own: evomal learn --task examples/own_optimizer.py:make_task --lr 0.01."""

import torch
from torch import nn
from torch.optim import NAdam
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

import evomal


def optimizer(parameters: list[torch.Tensor], lr: float) -> torch.optim.Optimizer:
    """The base optimiser; evomal gives parameters and rate."""
    return NAdam(parameters, lr, momentum_decay=0.01)


def schedule(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Its schedule over so many steps."""
    return PolynomialLR(optimizer, total_iters=steps)


def make_task() -> evomal.Task:
    """A task that brings both."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, generator=draw)
    y = (x[:, 0] * x[:, 1] > 0).long()
    return evomal.Task(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2)),
        train=(x, y),
        optimizer=optimizer,
        schedule=schedule,
        name="quadrants",
    )
