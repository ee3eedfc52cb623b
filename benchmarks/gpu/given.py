"""What all parts share: the device, sizes, the task, and how time is taken."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from benchmarks.lanes import formulas
from evomal.config import BaseSettings
from evomal.losses import SymbolicLoss
from evomal.tasks import Batches, Task, named_task

Note = Callable[[str, Any], None]
BASE = BaseSettings()  # the paper's for LeNet-5: rate 0.01, batch 128, no momentum


@dataclass(frozen=True)
class Given:
    """What was asked for.

    Args:
        device: Where it is measured.
        quick: Small sizes.
        data: Folder of Fashion-MNIST, or nothing.
    """

    device: str
    quick: bool
    data: str = ""

    @property
    def cuda(self) -> bool:
        """Whether it is measured on a GPU."""
        return self.device.startswith("cuda")

    @property
    def counts(self) -> tuple[int, ...]:
        """Lanes that are measured."""
        if not self.cuda:
            return (1, 2)
        return (1, 25) if self.quick else (1, 5, 25, 50, 100)

    @property
    def many(self) -> int:
        """A generation."""
        return 25 if self.cuda else 3

    @property
    def steps(self) -> int:
        """Steps that are timed in one go."""
        return (30 if self.quick else 100) if self.cuda else 2

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    def task(self) -> Task:
        """LeNet-5 on Fashion-MNIST, on the device."""
        if self.data:
            os.environ["EVOMAL_DATA"] = self.data
        return _task(self.device)

    def losses(self, count: int, device: torch.device | None = None) -> list[SymbolicLoss]:
        """Random formulas of a first generation."""
        return [loss.to(device or self.place) for loss in formulas(count)]

    def wait(self) -> None:
        """Wait until the device has nothing to do."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object]) -> float:
        """Seconds of a call, the device's work included."""
        self.wait()
        start = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - start

    def per_step(self, step: Callable[[int], object], steps: int | None = None, warm: int = 8) -> float:
        """Median seconds of a step over three runs of many steps, numbered on."""
        steps, number, times = steps or self.steps, 0, []
        for _ in range(warm if self.cuda else 5):
            step(number)
            number += 1
        for _ in range(3 if self.cuda else 1):
            self.wait()
            start = time.perf_counter()
            for _ in range(steps):
                step(number)
                number += 1
            self.wait()
            times.append((time.perf_counter() - start) / steps)
        return statistics.median(times)

    @property
    def all_steps(self) -> int:
        """So many numbers of steps does `per_step` use."""
        return 3 * self.steps + 8


@lru_cache(maxsize=2)
def _task(device: str) -> Task:
    return named_task("fashion-mnist", "lenet5").to(device)


def batches(task: Task) -> Batches:
    """The batches of a training."""
    return Batches(len(task.train), BASE.batch_size, 0)
