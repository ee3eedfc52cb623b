"""Running a comparison: searches, then full trainings with what they found; nothing finished is done again."""

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import fmean
from typing import Any

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.entries import Entry
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.pending import Left, Losses, losses_of, trainings_left, unfinished, what_is_left
from evomal.comparison.plan import Plan
from evomal.comparison.records import Trained, digest, training_record
from evomal.comparison.results import Comparison
from evomal.comparison.searching import Job, run_search
from evomal.comparison.writing import write_tables
from evomal.executors import Executor
from evomal.losses import LearnedLoss
from evomal.losses.criterion import LossFunction
from evomal.search import METHODS
from evomal.tasks import Task
from evomal.training import TrainingRun
from evomal.training.chance import hardly_learns
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
        WorkerError: A worker process died; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from evomal.comparison.plan import make_plan
        >>> from evomal.executors import InProcess
        >>> from evomal.tasks import named_task
        >>> plan = make_plan(["focal"], "cross_entropy", [0, 1], "quick", steps=20)
        >>> with TemporaryDirectory() as path:
        ...     comparison = run_comparison(named_task("iris", "linear"), plan, ComparisonFolder(path), InProcess())
        ...     sorted(file.name for file in Path(path).glob("table.*"))
        ['table.csv', 'table.json', 'table.md']
    """
    watcher = watcher or ComparisonWatcher()
    what_is_left(task, plan, folder)
    folder.begin(plan, task, command)
    try:
        # Another process may have finished something before this one had the folder.
        left = unfinished(task, plan, folder)
        watcher.start(plan, left)
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
) -> dict[tuple[Entry, int], SearchSummary]:
    """Every search of a comparison, those that were left done now."""
    searches = dict(left.finished)
    at_a_time = min(executor.workers, len(left.searches))
    # Worker processes outlive runs, and may have started in another folder than that which we are in.
    folders = [str(folder.search_folder(*key).absolute()) for key in left.searches]
    jobs = [
        (Job(entry.seeded(seed), path, at_a_time, _code_of(entry)),)
        for (entry, seed), path in zip(left.searches, folders, strict=True)
    ]
    for (entry, seed), summary in zip(left.searches, executor.map(run_search, task, jobs), strict=True):
        if summary is None:
            raise KeyboardInterrupt
        searches[entry, seed] = summary
        watcher.search(entry, summary)
    return searches


def _code_of(entry: Entry) -> Any:
    """The class of a user's own method, to be sent along; None for one of ours."""
    assert entry.settings is not None
    method = METHODS[entry.settings.method]
    return None if method.__module__.startswith("evomal.") else {"method": method}


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
        tuned = (_tuned_lr(losses[entry, seed]) for seed in settings.seeds)
        return Contender(entry.name, entry.kind, found, runs, tuple(ratios), tuple(tuned))

    contenders = tuple(contender(entry) for entry in plan.entries)
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
        remarks=(*_chance(task, plan, contenders), *_other_optimizers(task, plan, losses)),
    )


def _chance(task: Task, plan: Plan, contenders: Sequence[Contender]) -> list[str]:
    """Whether the task loss itself learned anything at the common rate."""
    base = plan.training.base
    runs = [run for each in contenders if each.name == task.task_loss_name for run in each.runs if run.lr == base.lr]
    if not runs or not all(isfinite(run.valid) for run in runs):  # of what diverged there is another remark
        return []
    remark = hardly_learns([task], fmean(run.valid for run in runs), base)
    return [] if remark is None else [remark]


def _other_optimizers(task: Task, plan: Plan, losses: Losses) -> list[str]:
    """Which finished losses were tuned for another optimiser than they meet here."""
    now, remarks = task.own.names().get("optimizer", plan.training.base.optimizer), []
    for entry in plan.entries:
        loss = losses[entry, plan.training.seeds[0]]
        known = loss.info.get("tuned_for") if isinstance(loss, LearnedLoss) and entry.kind == "file" else None
        then = known.get("optimizer") if isinstance(known, dict) else None
        if isinstance(then, str) and then != now:
            remarks.append(f"the loss of {entry.name} was tuned for optimizer {then}, and is used here with {now}")
    return remarks


def _tuned_lr(loss: LossFunction) -> float | None:
    """The rate that a loss was tuned or chosen for, if its file says one."""
    known = loss.info.get("tuned_for") if isinstance(loss, LearnedLoss) else None
    lr = known.get("lr") if isinstance(known, dict) else None
    return float(lr) if isinstance(lr, int | float) and not isinstance(lr, bool) else None
