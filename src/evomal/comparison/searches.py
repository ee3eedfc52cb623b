"""One search of a comparison, in a run folder of its own, and what is written down of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evomal.comparison.contenders import SearchSummary
from evomal.comparison.training_rows import is_number
from evomal.config import LearnSettings
from evomal.foundation.errors import EvomalError, StorageError
from evomal.foundation.files import storing, write_atomically
from evomal.foundation.serialization import finite_or_none
from evomal.losses import load_loss
from evomal.search import LearnResult, make_method
from evomal.search.method import enter
from evomal.store import RunFolder
from evomal.store.config import CONFIG
from evomal.store.provenance import task_entries
from evomal.tasks import Task

SUMMARY = "search.json"
NUMBERS, MAYBE_NUMBERS = ("seconds", "evaluations", "meta_steps"), ("fitness", "baseline", "workers")
PATIENCE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Job:
    """One search.

    Args:
        settings: Its settings, the seed among them.
        folder: Its run folder.
        workers: How many searches run at a time, this one among them.
        method: The method's class under its own name, as a worker may not know a user's own; None for one that all
            know.
    """

    settings: LearnSettings
    folder: str
    workers: int = 1
    method: Any = None


def run_search(task: Task, job: Job) -> SearchSummary | None:
    """One search in its run folder, gone on with where an earlier call left it; None if it was interrupted.

    Raises:
        EvomalError: The search cannot be run.
        StorageError: Nothing more can be written; what is finished is kept.
    """
    if job.method is not None:
        enter(job.method["method"])
    path = Path(job.folder)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        run, result = _learn(task, job, path, resume=(path / CONFIG).exists())
    except StorageError:
        raise
    except EvomalError:
        if not path.exists():
            raise
        # What lies there is damaged, or of another search: it is done anew.
        run, result = _learn(task, job, path, resume=False)
    if result.interrupted:
        return None
    summary = SearchSummary(
        seed=job.settings.seed,
        seconds=result.seconds,
        evaluations=result.trainings,
        meta_steps=result.meta_steps,
        fitness=result.fitness,
        baseline=finite_or_none(result.baseline),
        formula=result.formula,
        loss_file=f"{path.parent.name}/{path.name}/{run.loss.name}",
        outcomes=dict(result.outcomes),
        workers=job.workers,
        verdict=None if result.verdict is None else result.verdict.kind,
    )
    with storing(path / SUMMARY):
        write_atomically(path / SUMMARY, json.dumps(asdict(summary), indent=2, allow_nan=False) + "\n")
    return summary


def _learn(task: Task, job: Job, path: Path, resume: bool) -> tuple[RunFolder, LearnResult]:
    # A worker whose caller was killed may still be at work there for a moment.
    run = RunFolder(path, force=path.exists() and not resume, resume=resume, patience=PATIENCE)
    if not resume:
        run.prepare({"task": task_entries(task), "settings": job.settings.model_dump(mode="json")})
    return run, make_method(job.settings).learn(task, out=run, progress=False)


def read_search(folder: Path, seed: int) -> SearchSummary | None:
    """A finished search from its run folder; None if it is not finished, or its summary or its loss is damaged."""
    try:
        summary = SearchSummary(**json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
        load_loss(folder)
    except (OSError, ValueError, TypeError, RecursionError, EvomalError):
        return None
    return summary if _is_sound(summary, seed) else None


def _is_sound(summary: SearchSummary, seed: int) -> bool:
    maybe = [getattr(summary, name) for name in MAYBE_NUMBERS]
    return (
        summary.seed == seed
        and all(is_number(getattr(summary, name)) for name in NUMBERS)
        and all(value is None or is_number(value) for value in maybe)
        and isinstance(summary.formula, str)
        and isinstance(summary.loss_file, str)
        and isinstance(summary.outcomes, dict)
    )
