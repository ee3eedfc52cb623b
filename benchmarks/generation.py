"""A whole first generation, and a search with finals, by one worker and by two; target 2."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import meet, show
from evomal.config import LearnSettings, learn_settings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import make_probe
from evomal.evaluation.watching import Watcher
from evomal.executors import Executor, InProcess, Processes, Stream
from evomal.search.methods import EvoMAL
from evomal.store import comparable
from evomal.store.journal_schema import CandidateRow
from evomal.tasks import TaskSet, named_task

WARM = 1_000_000  # seed of formulas that no round has, so that nothing of theirs is kept
Records = list[dict[str, Any]]
Work = Callable[[Executor], Records]


def generation(
    meta_steps: int = 250,
    partial_steps: int = 500,
    population: int = 25,
    rounds: int = 3,
    dataset: str = "fashion-mnist",
    model: str = "lenet5",
    preset: str = "paper-mnist",
    seed: int = 0,
    generations: int = 3,
    steps: int = 500,
    finals_budget: int = 30_000,
    only: str = "",
) -> dict[str, list[list[str]]]:
    """Rates of one worker and of two, start-up left out, and whether their outcomes are equal to the bit.

    First a generation, then a search of a few generations with finals (full trainings of `steps` base steps); `only`
    takes one of both. Rounds alternate between both sides; every round has formulas of its own, those of `evomal learn`
    with the seed plus the number of the round. Medians are compared. A worker is busy while it runs a job, whatever
    else the machine does. Work is the CPU time of all jobs: it grows with what is shared by fewer, and where workers
    hinder one another.
    """
    flat: dict[str, Any] = {"meta_steps": meta_steps, "partial_steps": partial_steps, "population_size": population}
    tasks = TaskSet.of(named_task(dataset, model))
    short = {"generations": generations, "finals": True, "steps": steps, "finals_budget": finals_budget}
    kinds: dict[str, tuple[dict[str, Any], Callable[[Executor, TaskSet, LearnSettings], Records]]] = {
        "generation": (flat, _evaluated),
        "search with finals": (flat | short, _searched),
    }
    executors: dict[str, Executor] = {"one worker": InProcess(), "two workers": Processes(2)}
    tables = {}
    try:
        for name, (chosen, work) in kinds.items():
            if only in name:
                sides = {side: Watched(executor) for side, executor in executors.items()}
                for number in range(rounds):
                    settings = learn_settings(preset, **chosen, seed=seed + number)
                    _round(sides, tasks, settings, preset, work)
                tables[name] = _table(name, sides, f"{population} formulas, {_described(chosen)}, {dataset}/{model}")
    finally:
        for executor in executors.values():
            executor.close()
    return tables


class Watched(Executor):
    """Another executor, and how long its workers are busy."""

    def __init__(self, executor: Executor) -> None:
        self.executor, self.workers = executor, executor.workers
        self.busy = self.work = 0.0
        self.rounds: list[tuple[float, float, float]] = []  # seconds: of the clock, that workers were busy, of CPUs

    def stream(self, shared: Any) -> Stream:
        """A stream whose jobs are timed."""
        return _WatchedStream(self, self.executor.stream(shared))

    def timed(self, work: Work) -> Records:
        """Do some work as a round."""
        self.busy = self.work = 0.0
        start = time.perf_counter()
        found = work(self)
        self.rounds.append((time.perf_counter() - start, self.busy, self.work))
        return found

    def medians(self) -> tuple[float, float, float]:
        """Over the rounds: seconds, the share of them in which a worker was busy, CPU seconds."""
        walls, busy, work = zip(*self.rounds, strict=True)
        shares = [each / wall / self.workers for each, wall in zip(busy, walls, strict=True)]
        return statistics.median(walls), statistics.median(shares), statistics.median(work)


class _WatchedStream(Stream):
    def __init__(self, owner: Watched, stream: Stream) -> None:
        super().__init__()
        self.owner, self.inner = owner, stream

    def submit(self, function: Any, arguments: tuple[Any, ...], rank: tuple[int, ...] = ()) -> int:
        return self.inner.submit(_timed, (function, arguments), rank)

    def next_finished(self) -> tuple[int, Any]:
        number, (busy, work, result) = self.inner.next_finished()
        self.owner.busy += busy
        self.owner.work += work
        return number, result

    def __exit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)


def _timed(shared: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, float, Any]:
    start, before = time.perf_counter(), time.process_time()
    result = function(shared, *arguments)
    return time.perf_counter() - start, time.process_time() - before, result


def _round(
    sides: dict[str, Watched],
    tasks: TaskSet,
    settings: LearnSettings,
    preset: str,
    work: Callable[[Executor, TaskSet, LearnSettings], Records],
) -> None:
    found = {}
    for name, side in sides.items():
        _warm(side.executor, tasks, preset)
        found[name] = side.timed(lambda executor: work(executor, tasks, settings))
    if found["one worker"] != found["two workers"]:
        raise SystemExit(f"seed {settings.seed}: two workers came to other outcomes than one")


def _table(name: str, sides: dict[str, Watched], described: str) -> list[list[str]]:
    one = sides["one worker"]
    alone, _, least = one.medians()
    rows = []
    for side, watched in sides.items():
        wall, busy, work = watched.medians()
        rows.append([side, f"{wall:.1f}", f"{alone / wall:.2f}", f"{busy:.1%}", f"{work / least:.2f}"])
    count = len(one.rounds)
    title = f"{described}, outcomes equal to the bit in {count} round{'s' if count > 1 else ''} (target: ≥ 1.9)"
    show(title, [f"a {name}", "seconds", "× one worker", "workers busy", "work ÷ one worker's"], rows)
    return rows


def _described(flat: dict[str, Any]) -> str:
    text = f"S_meta {flat['meta_steps']}, S_testing {flat['partial_steps']}"
    if "generations" in flat:
        text += f", {flat['generations']} generations, finals of {flat['finals_budget']} base steps"
    return text


def _warm(executor: Executor, tasks: TaskSet, preset: str) -> None:
    """Every worker starts, imports what it needs, and maps the data; those that were idle for long had ended."""
    if executor.workers > 1:
        with tempfile.TemporaryDirectory() as folder:
            list(executor.map(_came, tasks, [(Path(folder), executor.workers)] * executor.workers))
    few = {"meta_steps": 1, "partial_steps": 1, "rejection_steps": 1, "population_size": 4}
    _evaluated(executor, tasks, learn_settings(preset, **few, seed=WARM))


def _came(tasks: TaskSet, folder: Path, count: int) -> int:
    return meet(folder, count)


def _evaluated(executor: Executor, tasks: TaskSet, settings: LearnSettings) -> Records:
    """What the journal would say of a generation but for times."""
    probes = [make_probe(task, settings.filters.rejection_instances, settings.seed) for task in tasks]
    proposed = EvoMAL(settings).engine(tasks, probes).ask()
    members = [Candidate(0, index, each.genome, each.origin, each.parents) for index, each in enumerate(proposed)]
    Evaluator(tasks, settings, probes, executor, Watcher()).evaluate(members, lambda member: None)
    return _records(members, tasks, settings)


def _searched(executor: Executor, tasks: TaskSet, settings: LearnSettings) -> Records:
    """What the journal would say of a search, and its verdict."""
    result = EvoMAL(settings).learn(list(tasks), executor=executor, progress=False)
    verdict = None if result.verdict is None else result.verdict.entries()
    return [*_records(result.members, tasks, result.settings), {"verdict": verdict}]


def _records(members: Any, tasks: TaskSet, settings: LearnSettings) -> Records:
    return comparable([CandidateRow.of(member, tasks.task_type, settings).record() for member in members])
