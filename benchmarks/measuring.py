"""Ratios taken in one run: sides take turns (A B A B …), medians are compared, and the machine is named."""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile


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
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return f"{cpu}, one thread, Python {sys.version.split()[0]}, {', '.join(packages)}"


def one_thread() -> None:
    """All sides run on one thread, in a process that keeps its freed memory, as the command line does."""
    from evomal.cli.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
