"""Memory over the generations of a search, and data that worker processes share; target 5. Needs Linux."""

import tempfile
from pathlib import Path
from typing import Any

import joblib
import psutil

from benchmarks.measuring import meet, show
from evomal.config import LearnSettings, learn_settings
from evomal.engines.genome import Formula
from evomal.evaluation.stages import train_stage, tune_stage
from evomal.evaluation.watching import Watcher
from evomal.executors import Processes
from evomal.executors.pool import end_spare_workers
from evomal.expressions import parse
from evomal.search.methods import EvoMAL
from evomal.tasks import Task, TaskSet, named_task

MIB = 2**20


def memory(
    generations: int = 60,
    population: int = 10,
    meta_steps: int = 20,
    partial_steps: int = 50,
    dataset: str = "fashion-mnist",
    model: str = "lenet5",
) -> tuple[list[list[str]], list[list[str]]]:
    """Resident memory of a search on digits, one process; then that of two workers that hold the named data set."""
    flat = {"meta_steps": meta_steps, "partial_steps": partial_steps, "rejection_steps": 100, "finals": False}
    settings = learn_settings("quick", generations=generations, population_size=population, **flat)
    return over_generations(named_task("digits", "mlp"), settings), shared(named_task(dataset, model))


class _Look(Watcher):
    """Notes this process's resident memory after every generation."""

    def __init__(self) -> None:
        self.resident: list[float] = []

    def generation(self, number: int, best: Any) -> None:
        self.resident.append(psutil.Process().memory_info().rss / MIB)


def over_generations(task: Task, settings: LearnSettings) -> list[list[str]]:
    """Resident memory of this process over the generations of a search."""
    look = _Look()
    EvoMAL(settings).learn(task, watcher=look)
    count = len(look.resident)
    tenths = sorted({max(1, round(count * tenth / 10)) for tenth in range(11)})
    last = look.resident[-1]
    rows = [[str(n), f"{look.resident[n - 1]:.1f}", f"{last - look.resident[n - 1]:+.1f}"] for n in tenths]
    title = f"{count} generations of {settings.population} on {task.name}, one process (target: flat)"
    show(title, ["generation", "resident MiB", "MiB more at the end"], rows)
    return rows


def shared(task: Task, workers: int = 2, meta_steps: int = 3, partial_steps: int = 10) -> list[list[str]]:
    """Memory of workers that map the data as evomal does, against workers that each load a copy.

    All of them have read every instance, tuned a formula and trained, and are alive when they are looked at. PSS counts
    a page that several processes share in parts, USS counts only what is a process's own.
    """
    tasks, settings = TaskSet.of(task), learn_settings(meta_steps=meta_steps, partial_steps=partial_steps)
    end_spare_workers()  # whose memory has held something else
    executor, rows = Processes(workers), []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy.joblib"
        joblib.dump(tasks, copy)
        sides: dict[str, tuple[Any, ...]] = {
            "mapped, as evomal does": (_with_mapped, tasks, ()),
            "a copy in each": (_with_copy, None, (copy,)),
        }
        try:
            for number, (name, (function, given, extra)) in enumerate(sides.items()):
                meeting = Path(place) / str(number)
                meeting.mkdir()
                executor.end_workers()
                pids = list(executor.map(function, given, [(*extra, settings, meeting, workers)] * workers))
                rows.append([name, *_described([psutil.Process(pid).memory_full_info() for pid in pids])])
        finally:
            executor.close()
            executor.end_workers()
    megabytes = sum(each.nbytes for split in splits(task) for each in (split.x, split.y)) / MIB
    rows.append(["the data themselves", f"{megabytes:.1f}", "", "", ""])
    columns = [f"{task.name}, {workers} workers", "RSS MiB each", "PSS MiB each", "USS MiB each", "PSS MiB in all"]
    show("Data in worker processes (target: shared, not copied)", columns, rows)
    return rows


def splits(task: Task) -> list[Any]:
    """All splits that a task has."""
    return [split for split in (task.train, task.valid, task.test) if split is not None]


def _described(infos: list[Any]) -> list[str]:
    means = [sum(getattr(info, kind) for info in infos) / len(infos) / MIB for kind in ("rss", "pss", "uss")]
    return [*(f"{mean:.1f}" for mean in means), f"{len(infos) * means[1]:.1f}"]


def _with_mapped(tasks: TaskSet, settings: LearnSettings, meeting: Path, count: int) -> int:
    """In a worker: use the tasks in every way that a search does, and wait for the others."""
    for task in tasks:
        for split in splits(task):
            split.x.sum(), split.y.sum()
    tune_stage(tasks, settings, [Formula(parse("square(sub(y, f))"))])
    train_stage(tasks, settings, None)
    return meet(meeting, count)


_kept: list[TaskSet] = []


def _with_copy(nothing: None, path: Path, settings: LearnSettings, meeting: Path, count: int) -> int:
    """In a worker: the same with tasks of its own."""
    _kept.append(joblib.load(path))
    return _with_mapped(_kept[-1], settings, meeting, count)
