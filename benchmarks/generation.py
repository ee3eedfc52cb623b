"""A whole first generation, by one worker and by two; target 2."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import meet, show
from evomal.config import LearnSettings, learn_settings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import make_probe
from evomal.evaluation.watching import Watcher
from evomal.executors import Executor, InProcess, Processes
from evomal.search.methods import EvoMAL
from evomal.store import comparable
from evomal.store.journal_schema import CandidateRow
from evomal.tasks import TaskSet, named_task

WARM = 1_000_000  # seed of formulas that no round has, so that nothing of theirs is kept


def generation(
    meta_steps: int = 250,
    partial_steps: int = 500,
    population: int = 25,
    rounds: int = 1,
    dataset: str = "fashion-mnist",
    model: str = "lenet5",
    preset: str = "paper-mnist",
    seed: int = 0,
) -> list[list[str]]:
    """Rates of one worker and of two, start-up left out, and whether their outcomes are equal to the bit.

    Rounds alternate between both sides; every round has formulas of its own, the first generation of `evomal learn`
    with the seed plus the number of the round. Medians are compared.
    """
    flat = {"meta_steps": meta_steps, "partial_steps": partial_steps, "population_size": population}
    tasks = TaskSet.of(named_task(dataset, model))
    sides: dict[str, Executor] = {"one worker": InProcess(), "two workers": Processes(2)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    try:
        for number in range(rounds):
            settings = learn_settings(preset, **flat, seed=seed + number)
            found = {}
            for name, executor in sides.items():
                _warm(executor, tasks, preset)
                seconds, found[name] = _evaluated(executor, tasks, settings)
                times[name].append(seconds)
            if found["one worker"] != found["two workers"]:
                raise SystemExit(f"seed {settings.seed}: two workers came to other outcomes than one")
    finally:
        for executor in sides.values():
            executor.close()
    rates = {name: 3600 * population / statistics.median(seconds) for name, seconds in times.items()}
    rows = [
        [name, f"{statistics.median(times[name]):.1f}", f"{rate:,.0f}", f"{rate / rates['one worker']:.2f}"]
        for name, rate in rates.items()
    ]
    title = f"{population} formulas, S_meta {meta_steps}, S_testing {partial_steps}, {dataset}/{model}, "
    title += f"outcomes equal to the bit in {rounds} round{'s' if rounds > 1 else ''} (target: ≥ 1.8)"
    show(title, ["a generation", "seconds", "candidates/hour", "÷ one worker"], rows)
    return rows


def _warm(executor: Executor, tasks: TaskSet, preset: str) -> None:
    """Every worker starts, imports what it needs, and maps the data; those that were idle for long had ended."""
    if executor.workers > 1:
        with tempfile.TemporaryDirectory() as folder:
            list(executor.map(_came, tasks, [(Path(folder), executor.workers)] * executor.workers))
    few = {"meta_steps": 1, "partial_steps": 1, "rejection_steps": 1, "population_size": 4}
    _evaluated(executor, tasks, learn_settings(preset, **few, seed=WARM))


def _came(tasks: TaskSet, folder: Path, count: int) -> int:
    return meet(folder, count)


def _evaluated(executor: Executor, tasks: TaskSet, settings: LearnSettings) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of a generation's evaluation, and what the journal would say of it but for times."""
    probes = [make_probe(task, settings.filters.rejection_instances, settings.seed) for task in tasks]
    proposed = EvoMAL(settings).engine(tasks, probes).ask()
    members = [Candidate(0, index, each.genome, each.origin, each.parents) for index, each in enumerate(proposed)]
    evaluator = Evaluator(tasks, settings, probes, executor, Watcher())
    start = time.perf_counter()
    evaluator.evaluate(members, lambda member: None)
    seconds = time.perf_counter() - start
    return seconds, comparable([CandidateRow.of(member, tasks.task_type, settings).record() for member in members])
