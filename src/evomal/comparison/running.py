"""Running a comparison: searches, then full trainings with what they found; nothing finished is done again."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean
from typing import Any

from evomal.comparison.comparison import Comparison, write_tables
from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.digests import digests_of
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.past import other_optimizers, tuned_lr
from evomal.comparison.pending import Left, Losses, Searches, losses_of, trainings_left, unfinished, what_is_left
from evomal.comparison.plan import Plan
from evomal.comparison.searches import Job, run_search
from evomal.comparison.training_rows import FinishedTraining, training_record
from evomal.comparison.trainings import train_left
from evomal.executors import Executor
from evomal.foundation.files import AGAIN, going_on
from evomal.search import METHODS
from evomal.store.provenance import base_training
from evomal.tasks import Task
from evomal.training import TrainingRun
from evomal.training.chance import hardly_learns
from evomal.training.step_size import gradient_norm_ratio


class ComparisonWatcher:
    """Told of progress; every method may be overridden, and none has to be."""

    def start(self, plan: Plan, left: Left) -> None:
        """So much is to be done; the rest is finished."""

    def search(self, contender: Contender, summary: SearchSummary) -> None:
        """A search is finished."""

    def training(self, contender: Contender, run: TrainingRun) -> None:
        """A training is finished."""


def run_comparison(
    task: Task,
    plan: Plan,
    folder: ComparisonFolder,
    executor: Executor,
    watcher: ComparisonWatcher | None = None,
    command: str | None = None,
) -> Comparison:
    """Do what is left of a comparison, and write its table.

    A seed is one independent search and one meta-test: the network that tests the loss which a search with seed s found
    starts, like those of all other contenders, from the initialisation and batches of seed s.

    Args:
        task: The task, with a test split.
        plan: What to do.
        folder: Where finished searches and trainings lie.
        executor: Where the work is done, one search or training at a time on each worker.
        watcher: Told of progress.
        command: The command line that asked for it, to be written down.

    Returns:
        The finished comparison.

    Raises:
        EvomalError: A contender does not fit the task, or the folder holds another comparison; nothing was done then.
        StorageError: A disk is full, or the folder was taken away; what is finished is kept.
        WorkerError: A worker process died; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watcher = watcher or ComparisonWatcher()
    what_is_left(task, plan, folder)
    folder.begin(plan, task, command)
    try:
        # Another process may have finished something before this one had the folder.
        left = unfinished(task, plan, folder)
        watcher.start(plan, left)
        with going_on(AGAIN):
            searches = _search(task, left, folder, executor, watcher)
            losses = losses_of(task, plan, folder, searches)
            _train(task, plan, losses, folder, executor, watcher)
            comparison = _comparison(task, plan, searches, losses, folder)
            write_tables(comparison, folder.path)
        return comparison
    finally:
        folder.end()


def _search(
    task: Task, left: Left, folder: ComparisonFolder, executor: Executor, watcher: ComparisonWatcher
) -> Searches:
    """Every search of a comparison, those that were left done now."""
    searches = dict(left.finished)
    at_a_time = min(executor.workers, len(left.searches))
    # Worker processes outlive runs, and may have started in another folder than that which we are in.
    folders = [str(folder.search_folder(*key).absolute()) for key in left.searches]
    jobs = [
        (Job(contender.seeded(seed), path, at_a_time, _code_of(contender)),)
        for (contender, seed), path in zip(left.searches, folders, strict=True)
    ]
    for (contender, seed), summary in zip(left.searches, executor.map(run_search, task, jobs), strict=True):
        if summary is None:
            raise KeyboardInterrupt
        searches[contender.name, seed] = summary
        watcher.search(contender, summary)
    return searches


def _code_of(contender: Contender) -> Any:
    """The class of a user's own method, to be sent along; None for one of ours."""
    assert contender.settings is not None
    method = METHODS[contender.settings.method]
    return None if method.__module__.startswith("evomal.") else {"method": method}


def _train(
    task: Task, plan: Plan, losses: Losses, folder: ComparisonFolder, executor: Executor, watcher: ComparisonWatcher
) -> None:
    """The full trainings that are left, each written down when it is finished."""
    named = {contender.name: contender for contender in plan.contenders}
    digests = digests_of(plan.contenders, losses, task)
    left = [(contender.name, lr, seed) for contender, lr, seed in trainings_left(task, plan, folder, losses)]
    journal = folder.journal()
    try:
        for (name, _, seed), run in train_left(task, left, losses, plan.training, executor):
            journal.write(training_record(name, FinishedTraining(run, digests[name, seed])))
            watcher.training(named[name], run)
    finally:
        journal.close()


def _comparison(task: Task, plan: Plan, searches: Searches, losses: Losses, folder: ComparisonFolder) -> Comparison:
    settings, base = plan.training, plan.training.base
    trainings = folder.trainings()

    def finished(contender: Contender) -> Contender:
        name, learned = contender.name, contender.kind == "learned"
        own = {seed: losses[name, seed] for seed in settings.seeds}
        return replace(
            contender,
            searches=tuple(searches[name, seed] for seed in settings.seeds if learned),
            runs=tuple(trainings[name, lr, seed].run for lr in settings.lrs for seed in settings.seeds),
            ratios=tuple(gradient_norm_ratio(loss, task, base.batch_size, seed) for seed, loss in own.items()),
            tuned_lrs=tuple(tuned_lr(loss) for loss in own.values()),
        )

    contenders = tuple(finished(contender) for contender in plan.contenders)
    first = {each.name: losses[each.name, settings.seeds[0]] for each in contenders}
    optimizer = base_training(base, task)["optimizer"]
    return Comparison(
        task=task.name,
        metric=task.metric.name,
        baseline=plan.baseline,
        fixed_lr=base.lr,
        lrs=settings.lrs,
        seeds=settings.seeds,
        contenders=contenders,
        settings=plan.as_dict(),
        origin=folder.origin,
        remarks=(*_chance(task, plan, contenders), *other_optimizers(contenders, first, optimizer)),
    )


def _chance(task: Task, plan: Plan, contenders: Sequence[Contender]) -> list[str]:
    """Whether the task loss itself learned anything at the common rate."""
    base = plan.training.base
    runs = [run for each in contenders if each.name == task.task_loss_name for run in each.runs if run.lr == base.lr]
    if not runs or not all(isfinite(run.valid) for run in runs):  # of what diverged there is another remark
        return []
    remark = hardly_learns([task], fmean(run.valid for run in runs), base)
    return [] if remark is None else [remark]
