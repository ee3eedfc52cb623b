"""Ratios taken in one run: sides take turns (A B A B …), medians are compared, and the machine is named."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy, mse_loss
from torch.profiler import ProfilerActivity, profile

from evomal.config import BaseSettings
from evomal.tasks import Batches, Task
from evomal.training import one_thread as on_one_thread


def alternate(sides: Mapping[str, Callable[[int], object]], rounds: int = 60, warm: int = 5) -> dict[str, float]:
    """Median seconds of each side; every round calls each side once, with the number of the round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm, rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            call(number % 97)
            if number >= 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(call: Callable[[int], object]) -> int:
    """The most memory that tensors held at a time during a call, beyond what was there before it."""
    call(0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call(1)
    results = seen.profiler.kineto_results
    assert results is not None
    held = peak = 0
    for event in sorted(results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def plain_step_seconds(task: Task, base: BaseSettings, steps: int = 100, rounds: int = 5) -> float:
    """Median seconds of a plain PyTorch training step on one thread, on the task's resident tensors as they lie."""
    loss = cross_entropy if task.task_type == "classification" else mse_loss
    batches, x, y = Batches(len(task.train), base.batch_size, 0), task.train.x, task.train.y
    optional = base.model_dump(include={"lr", "momentum", "nesterov", "weight_decay"})
    times = []
    with on_one_thread():
        for number in range(-1, rounds):
            model = task.make_model(0)
            optimizer = torch.optim.SGD(model.parameters(), **optional)
            index = [batches.index(step) for step in range(steps)]
            start = time.perf_counter()
            for rows in index:
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
            if number >= 0:
                times.append((time.perf_counter() - start) / steps)
    return statistics.median(times)


def meet(folder: Path, count: int, patience: float = 120.0) -> int:
    """In a worker: wait until so many workers are here, so that each does one job; gives its process number."""
    (folder / str(os.getpid())).touch()
    until = time.monotonic() + patience
    while len(list(folder.iterdir())) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count} workers were to meet in {folder}, and fewer came")
        time.sleep(0.02)
    return os.getpid()


def command(*arguments: str) -> list[str]:
    """The real command line, `evomal ARGUMENTS`, by this Python."""
    return [sys.executable, "-m", "evomal.cli", *arguments]


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def machine() -> str:
    """What the numbers were measured with."""
    packages = []
    for name in ("torch", "higher", "torchopt"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} absent")
    from evomal.reproduction.folder import machine as hardware

    return f"{hardware('cpu')}, one thread, Python {sys.version.split()[0]}, {', '.join(packages)}"


def one_thread() -> None:
    """All sides run on one thread, in a process that keeps its freed memory, as the command line does."""
    from evomal.executors.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
