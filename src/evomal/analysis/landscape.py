"""The loss landscape around a trained network: the task loss over two random directions (Figures 9 and 10)."""

import math
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from evomal.config import TrainSettings
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import derive, generator
from evomal.losses.criterion import LossFunction
from evomal.tasks import Batches, Task
from evomal.tasks.splits import augmented
from evomal.training.fit import fit, one_thread
from evomal.training.optimizers import fitted_base

SIDE = 21  # points along a direction
REACH = 1.0  # in lengths of each filter
INSTANCES = 512
NEAR, WITHIN = 0.5, 0.05  # in lengths of filters


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

    @property
    def sharpness(self) -> "Sharpness":
        """How steeply the task loss rises around the network."""
        middle = len(self.steps) // 2
        centre = self.values[middle][middle]
        near = [
            value - centre
            for b, line in zip(self.steps, self.values, strict=True)
            for a, value in zip(self.steps, line, strict=True)
            if NEAR - WITHIN <= math.hypot(a, b) <= NEAR + WITHIN
        ]
        edge = max(value for line in self.values for value in line)
        step = self.steps[middle + 1] - self.steps[middle]
        first, second = self.values[middle], [line[middle] for line in self.values]
        bends = [(line[middle - 1] - 2 * centre + line[middle + 1]) / step**2 for line in (first, second)]
        return Sharpness(centre, fmean(near), 100 * (edge - centre) / (1 + centre), fmean(bends))


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Numbers beside a landscape; NaN or infinite where the task loss is.

    Args:
        centre: The task loss of the network itself.
        rise: What it rises by, on average, half the length of the filters away.
        most: The greatest rise on the square, in per cent of 1 + the task loss.
        curvature: Its second derivative at the network, the mean of both directions.

    Source:
        Keskar et al., "On Large-Batch Training for Deep Learning: Generalization Gap and Sharp Minima", 2017, for
        `most`.
    """

    centre: float
    rise: float
    most: float
    curvature: float


def landscape(task: Task, criterion: LossFunction, settings: TrainSettings, lr: float, seed: int = 0) -> Landscape:
    """Train a fresh network with a loss, and look at the task loss around it.

    Both directions are drawn from the seed alone, the same for every loss, and each of their filters is as long as the
    network's; directions of biases and of normalisations are 0. The task loss is taken on at most 512 training
    instances, evenly spread, in evaluation mode; they are normalised, but not augmented as training batches are (those
    of a data set that is read lazily are as its own code gives them).

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
        count = min(INSTANCES, len(task.train))
        rows = torch.arange(count) * len(task.train) // count  # a file may be sorted by class
        x, y = augmented(task.train, None, "training data").take(rows)
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
