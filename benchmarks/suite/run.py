"""The command: one search for every task and draw, then fresh networks with every loss; what is finished stays."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from os import _exit, getpid, getppid
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from types import MappingProxyType
from typing import Any

from benchmarks.suite.optuna_control import by_optuna
from benchmarks.suite.table import markdown
from benchmarks.suite.tasks import TASKS, suite_task
from benchmarks.suite.testing import IMAGES, tested, trained
from benchmarks.suite.virtual import Virtual

WORKERS = 24  # of an asynchronous search, in virtual time
AFTER = ("random", "optuna", "no-tuning")
"""Variants whose budget is what evomal took on the same draw, so that they come after it."""
GOES, NEAR = 4, 0.1  # how often the number of random formulas is corrected, until their steps differ by less


@dataclass(frozen=True, slots=True)
class Job:
    """One search on one draw of one task.

    Args:
        task: Its name.
        draw: Number of the draw, and seed of the search.
        variant: A name in `VARIANTS`, or ``optuna``.
        data: Folder of the npz files.
        out: Folder of the results.
        scale: Factor of the search's size.
    """

    task: str
    draw: int
    variant: str
    data: Path
    out: Path
    scale: float

    @property
    def file(self) -> Path:
        """Where its result lies."""
        return self.out / f"{self.task}-{self.draw}-{self.variant}.json"


def suite(
    data: Path = Path("data"),
    out: Path = Path("suite"),
    tasks: str = "",
    draws: str = "0 1 2 3 4",
    variants: str = "evomal",
    workers: int = 1,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Habit, specialists and evomal on eight tasks, each draw a search of its own with its finals; test data last.

    `data` is the folder of ames, cells, churn, hpc and mnist5k as npz files; `tasks` and `draws` say which (all, 0 to
    4); `variants` are evomal, known (no search, the same finals), two controls that take as many steps as evomal took
    on the same draw, random (untuned formulas at random, the same finals) and optuna (no formulas), and the ablations
    in `VARIANTS`. `scale` makes searches smaller.
    Results lie in `out`, a file for each; what is there is not done again.
    """
    names = tasks.split() or list(TASKS)
    jobs = [
        Job(name, int(draw), variant, data, out, scale)
        for draw in draws.split()
        for variant in variants.split()
        for name in names
    ]
    found = list(results(jobs, workers).values())
    table = markdown(found)
    (out / "table.md").write_text(table, encoding="utf-8")
    print(table)
    return {"results": found}


def results(jobs: Sequence[Job], workers: int) -> dict[Job, dict[str, Any]]:
    """What came of jobs, those that are not done yet done now; those after others whose budget is theirs."""
    for last in (False, True):
        left = [job for job in jobs if (job.variant in AFTER) == last and not job.file.exists()]
        for job in left:
            job.out.mkdir(parents=True, exist_ok=True)
        # Spawned: a process that has used threads must not be forked.
        with ProcessPoolExecutor(workers, get_context("spawn"), _end_with, (getpid(),)) as pool:
            for done in as_completed(those := {pool.submit(run, job): job for job in left}):
                error = done.exception()  # one that fails ends no other
                print(f"{those[done].file.stem}: {error!r}" if error else done.result(), flush=True)
    return {job: json.loads(job.file.read_text(encoding="utf-8")) for job in jobs if job.file.exists()}


def _end_with(parent: int) -> None:
    """From now on this worker ends when its parent has, however that ended; otherwise it would keep its run's lock."""

    def watch() -> None:
        while getppid() == parent:
            sleep(1.0)
        _exit(1)

    Thread(target=watch, daemon=True).start()


def run(job: Job) -> str:
    """Search on one draw, hold finals, and train fresh networks; a line that says how it went."""
    import torch

    from evomal.search.prices import steps_taken

    torch.set_num_threads(1)
    start = perf_counter()
    task = suite_task(job.task, job.data, job.draw)
    if job.variant == "optuna":
        return _run_optuna(job, task)
    method = _method(job, task)
    executor = Virtual(WORKERS) if job.variant == "asynchronous" else None
    result = method.learn(task, out=job.out / "runs" / job.file.stem, resume=True, executor=executor)
    seconds = perf_counter() - start
    found = {
        "task": job.task,
        "draw": job.draw,
        "variant": job.variant,
        "seconds": seconds,
        "steps": steps_taken(result.members, result.settings) + result.verdict.spent,
        "verdict": result.verdict.entries(),
        "fitness": result.fitness,
        "learned_formula": result.learned.formula(digits=4),
        "test": tested(task, result, job.task, job.draw, job.variant == "evomal"),
    }
    job.file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return f"{job.file.stem}: {seconds:.0f} s, {result.message}"


VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "evomal": {},
        "random": {"generations": 1, "meta_steps": 0, "known_start": 0.0},  # formulas that nothing has tuned
        "known": {"population_size": 16, "generations": 1, "known_start": 1.0},
        "asynchronous": {"asynchronous": True},  # as with `WORKERS`, in virtual time
        # Ablations: what the preset has, left out or done otherwise.
        "no-known-start": {"known_start": 0.0},
        "no-scale-control": {"scale_control": False},
        "one-rate": {"fitness_lrs": (1.0,), "fitness_trial": None},
        "no-log-prior": {"log_prior": False},
        "prior": {"terminals": ("y", "f", "1", "-1", "prior"), "log_prior": False},
        "no-tuning": {"meta_steps": 0},
        "slow-tuning": {"meta_lr": 0.001},
        "two-base-steps": {"base_steps": 2},
        "no-ties": {"break_ties": False},
        "no-varied": {"varied": 0},  # specialists at their papers' hyper-parameters
        # The same cost in all, otherwise divided: half the search, or twice as much of it.
        "half-search": {"finals_effort": 4.0},
        "double-search": {"finals_effort": 0.25},
    }
)
"""What a search of a variant has in place of the preset's settings."""
SIZES = {"few_images": 0.25, "half-search": 0.5, "double-search": 2.0}  # of a search, by task or variant


def searcher(job: Job, **own: Any) -> Any:
    """The method of a job, with further settings of its own."""
    from evomal import EvoMAL

    smaller = SIZES.get(job.task, 1.0) * SIZES.get(job.variant, 1.0) * job.scale
    settings = EvoMAL(preset="practice").settings
    size = settings.genetic.population_size * settings.genetic.generations * smaller
    population = min(settings.genetic.population_size, max(4, round(size / 4)))
    flat: dict[str, Any] = {"population_size": population, "generations": max(1, round(size / population))}
    if job.task in IMAGES:  # whose search is a small one
        flat["finals_budget"] = 40_000
    if job.variant == "known":  # what a search costs goes into the finals
        flat["finals_budget"] = round((1 + settings.finals.finals_effort) * size * 0.4 * settings.partial_steps)
    return EvoMAL(preset="practice", seed=job.draw, **flat | VARIANTS[job.variant] | own)


def _method(job: Job, task: Any) -> Any:
    """The method of a job, with a budget that may be that of evomal beside it."""
    if job.variant == "random":
        return of_equal_cost(job, task)
    if job.variant == "no-tuning":  # what its search takes is too little to buy the same finals
        return searcher(job, finals_budget=_beside(job)["verdict"]["budget"])
    return searcher(job)


def of_equal_cost(job: Job, task: Any) -> Any:
    """Formulas at random whose trainings and finals take as many steps as evomal's search and finals did.

    Few of them come as far as a training, so goes without finals tell how many there must be.
    """
    from evomal.search.prices import steps_taken

    beside = _beside(job)
    spent = beside["verdict"]["spent"]
    aim, method = beside["steps"] - spent, searcher(job)
    for _ in range(GOES):
        without = method.settings.finals.model_copy(update={"finals": False})
        first = type(method)(method.settings.model_copy(update={"finals": without})).learn(task)
        ratio = aim / max(steps_taken(first.members, first.settings), 1)
        if abs(ratio - 1) < NEAR:
            break
        method = searcher(job, population_size=max(4, round(len(first.members) * ratio)))
    return searcher(job, population_size=method.settings.genetic.population_size, finals_budget=max(spent, 1))


def _beside(job: Job) -> dict[str, Any]:
    """What evomal came to on the same draw."""
    evomal = replace(job, variant="evomal")
    if not evomal.file.exists():
        raise SystemExit(f"{job.file.stem}: its budget is that of {evomal.file.stem}, which is not there yet")
    found: dict[str, Any] = json.loads(evomal.file.read_text(encoding="utf-8"))
    return found


def _run_optuna(job: Job, task: Any) -> str:
    """As many steps as evomal's search and finals took on the same draw."""
    start, settings = perf_counter(), searcher(replace(job, variant="evomal")).settings
    found = by_optuna(task, settings, _beside(job)["steps"])
    own = [(task.task_loss if one.name == task.task_loss_name else task.handcrafted(one.name), one.lr) for one in found]
    tests = trained(task, own, settings, job.task, job.draw)  # what it would have handed out with a smaller budget, too
    written = {"task": job.task, "draw": job.draw, "variant": job.variant, "seconds": perf_counter() - start}
    written |= {"found": [each._asdict() for each in found], "tests": tests, "test": {"optuna": tests[-1]}}
    job.file.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return f"{job.file.stem}: {perf_counter() - start:.0f} s, {found[-1].name} at {found[-1].lr:.3g}"
