"""The loss landscape around a trained network: the task loss over two random directions (Figures 9 and 10)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evomal.config import TrainSettings
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import derive, generator
from evomal.losses.criterion import LossFunction
from evomal.tasks import Batches, Task
from evomal.training.fit import fit, one_thread
from evomal.training.optimizers import fitted_base

SIDE = 21  # points along a direction
REACH = 1.0  # in lengths of each filter
INSTANCES = 512


@dataclass(frozen=True, slots=True)
class Landscape:
    """The task loss around a network, on a square of weights.

    Args:
        steps: Coordinates along either direction, in lengths of the network's own filters; 0 is the network.
        values: The task loss, row by row: the second direction, then the first.
        reason: Why the training ended early, or None.
    """

    steps: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    reason: str | None


def landscape(task: Task, criterion: LossFunction, settings: TrainSettings, lr: float, seed: int = 0) -> Landscape:
    """Train a fresh network with a loss, and look at the task loss around it.

    Both directions are drawn from the seed alone, the same for every loss, and each of their filters is as long as the
    network's; directions of biases and of normalisations are 0. The task loss is taken on at most 512 training
    instances, in evaluation mode.

    Args:
        task: The task.
        criterion: The loss to train with.
        settings: How to train.
        lr: The base learning rate.
        seed: Of initialisation, batches and directions.

    Returns:
        The landscape, on 21 × 21 points.

    Raises:
        SettingError: The task does not hold its data as tensors.

    Source:
        Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018.
    """
    base = fitted_base(settings.base_at(lr), task.own)
    with one_thread():
        model = task.make_model(derive(seed, task.key, "full", "init"))
        batches = Batches.of(task.train, base.batch_size, seed, task.key, "full", "batches")
        noise = derive(seed, task.key, "full", "noise")
        ended = fit(model, criterion, task.train, batches, settings.steps, base, noise, task.own)
        x, y = task.train.take(torch.arange(min(INSTANCES, len(task.train))))
        return _around(model, task, x, y, seed, ended.reason)


def _around(model: nn.Module, task: Task, x: Tensor, y: Tensor, seed: int, reason: str | None) -> Landscape:
    if not isinstance(x, Tensor):
        raise SettingError("a landscape needs a task whose data lie in tensors; make it with resident=True")
    half = SIDE // 2
    steps = REACH * torch.arange(-half, half + 1) / half  # the network itself is in the middle
    weights = {name: value.detach() for name, value in model.named_parameters()}
    first, second = (_direction(weights, seed, number) for number in (0, 1))
    model.eval()
    rows = []
    with torch.no_grad():
        for b in steps:
            row = []
            for a in steps:
                moved = {name: value + a * first[name] + b * second[name] for name, value in weights.items()}
                row.append(float(task.task_loss(torch.func.functional_call(model, moved, (x,)), y)))
            rows.append(tuple(row))
    return Landscape(tuple(steps.tolist()), tuple(rows), reason)


def _direction(weights: dict[str, Tensor], seed: int, number: int) -> dict[str, Tensor]:
    """A random direction, each filter of which is as long as that of the network."""
    draw = generator(seed, "landscape", number)
    direction = {}
    for name, value in weights.items():
        drawn = torch.randn(value.shape, generator=draw).to(value)
        if value.dim() < 2:
            direction[name] = torch.zeros_like(value)
            continue
        own, theirs = (each.flatten(1).norm(dim=1).clamp(min=1e-12) for each in (value, drawn))
        direction[name] = drawn * (own / theirs).reshape(-1, *[1] * (value.dim() - 1))
    return direction
