"""Running a comparison: searches, then full trainings with what they found; nothing finished is done again."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evomal.atomic import write_atomically
from evomal.comparison.entries import Entry
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.left import Left, Losses, losses_of, trainings_left, what_is_left
from evomal.comparison.plan import Plan
from evomal.comparison.records import SUMMARY, Trained, digest, search_record, training_record
from evomal.comparison.results import Comparison, Contender, SearchSummary
from evomal.config import LearnSettings
from evomal.plain import finite_or_none
from evomal.runs import Executor, RunFolder
from evomal.search import make_method
from evomal.search.provenance import described
from evomal.tasks import Task
from evomal.training import TrainingRun
from evomal.training.meta_testing import train_once
from evomal.training.step_size import gradient_norm_ratio


class ComparisonWatcher:
    """Told of progress; every method may be overridden, and none has to be."""

    def start(self, plan: Plan, left: Left) -> None:
        """So much is to be done; the rest is finished."""

    def search(self, entry: Entry, summary: SearchSummary) -> None:
        """A search is finished."""

    def training(self, entry: Entry, run: TrainingRun) -> None:
        """A training is finished."""


@dataclass(frozen=True, slots=True)
class Job:
    """One search.

    Args:
        settings: Its settings, the seed among them.
        folder: Its run folder.
    """

    settings: LearnSettings
    folder: str


def run_comparison(
    task: Task, plan: Plan, folder: ComparisonFolder, executor: Executor, watcher: ComparisonWatcher | None = None
) -> Comparison:
    """Do what is left of a comparison.

    A seed is one independent search and one meta-test: the network that tests the loss which a search with seed s found
    starts, like those of all other contenders, from the initialisation and batches of seed s.

    Args:
        task: The task, with a test split.
        plan: What to do.
        folder: Where finished searches and trainings lie.
        executor: Where the work is done, one search or training at a time on each worker.
        watcher: Told of progress.

    Returns:
        The finished comparison.

    Raises:
        EvomalError: A contender does not fit the task, or the folder holds another comparison; nothing was done then.
        WorkerError: A worker process died; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watcher = watcher or ComparisonWatcher()
    left = what_is_left(task, plan, folder)
    folder.begin(plan, task)
    try:
        watcher.start(plan, left)
        searches = dict(left.finished)
        jobs = [(_job(entry, seed, folder),) for entry, seed in left.searches]
        for (entry, seed), summary in zip(left.searches, executor.map(run_search, task, jobs), strict=True):
            if summary is None:
                raise KeyboardInterrupt
            searches[entry, seed] = summary
            watcher.search(entry, summary)
        losses = losses_of(task, plan, folder, searches)
        _train(task, plan, losses, folder, executor, watcher)
        return _comparison(task, plan, searches, losses, folder)
    finally:
        folder.end()


def _job(entry: Entry, seed: int, folder: ComparisonFolder) -> Job:
    # Worker processes outlive runs, and may have started in another folder than that which we are in.
    return Job(entry.seeded(seed), str(folder.search_folder(entry, seed).absolute()))


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
    )
    write_atomically(path / SUMMARY, search_record(summary))
    return summary


def _train(
    task: Task, plan: Plan, losses: Losses, folder: ComparisonFolder, executor: Executor, watcher: ComparisonWatcher
) -> None:
    """The full trainings that are left, each written down when it is finished."""
    left = trainings_left(plan, folder, losses)
    jobs = [(losses[entry, seed], plan.training, lr, seed) for entry, lr, seed in left]
    journal = folder.journal()
    try:
        for (entry, _, seed), run in zip(left, executor.map(train_once, task, jobs), strict=True):
            journal.write(training_record(entry, Trained(run, digest(losses[entry, seed]))))
            watcher.training(entry, run)
    finally:
        journal.close()


def _comparison(
    task: Task,
    plan: Plan,
    searches: Mapping[tuple[Entry, int], SearchSummary],
    losses: Losses,
    folder: ComparisonFolder,
) -> Comparison:
    settings, base = plan.training, plan.training.base
    trainings = folder.trainings()

    def contender(entry: Entry) -> Contender:
        found = tuple(searches[entry, seed] for seed in settings.seeds if entry.kind == "learned")
        runs = tuple(trainings[entry.name, lr, seed].run for lr in settings.lrs for seed in settings.seeds)
        ratios = (gradient_norm_ratio(losses[entry, seed], task, base.batch_size, seed) for seed in settings.seeds)
        return Contender(entry.name, entry.kind, found, runs, tuple(ratios))

    return Comparison(
        task=task.name,
        metric=task.metric.name,
        baseline=plan.baseline,
        fixed_lr=base.lr,
        lrs=settings.lrs,
        seeds=settings.seeds,
        contenders=tuple(contender(entry) for entry in plan.entries),
        settings=plan.as_dict(),
    )
