"""One search of a comparison, in a run folder of its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from evomal.atomic import write_atomically
from evomal.comparison.contenders import SearchSummary
from evomal.comparison.records import SUMMARY, search_record
from evomal.config import LearnSettings
from evomal.plain import finite_or_none
from evomal.runs import RunFolder
from evomal.search import make_method
from evomal.search.provenance import described
from evomal.tasks import Task


@dataclass(frozen=True, slots=True)
class Job:
    """One search.

    Args:
        settings: Its settings, the seed among them.
        folder: Its run folder.
        workers: How many searches run at a time, this one among them.
    """

    settings: LearnSettings
    folder: str
    workers: int = 1


def run_search(task: Task, job: Job) -> SearchSummary | None:
    """One search, in its run folder; None if it was interrupted."""
    path = Path(job.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    # What an earlier call left here was not finished; a killed one leaves folders beside it, too.
    for beside in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(beside, ignore_errors=True)
    run = RunFolder(path, force=path.exists())
    run.prepare({"task": described(task), "settings": job.settings.model_dump(mode="json")})
    result = make_method(job.settings).learn(task, out=run)
    if result.interrupted:
        return None
    summary = SearchSummary(
        seed=job.settings.seed,
        seconds=result.seconds,
        evaluations=result.trainings,
        meta_steps=result.meta_steps,
        fitness=result.fitness,
        baseline=finite_or_none(result.baseline),
        formula=result.loss.formula(digits=4),
        loss_file=f"{path.parent.name}/{path.name}/{run.loss.name}",
        outcomes=dict(result.outcomes),
        workers=job.workers,
    )
    write_atomically(path / SUMMARY, search_record(summary))
    return summary
