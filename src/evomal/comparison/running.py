"""Running a comparison: searches, then full trainings with what they found; nothing finished is done again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evomal.atomic import write_atomically
from evomal.comparison.contestants import build_handcrafted, check
from evomal.comparison.entries import Entry
from evomal.comparison.folder import SUMMARY, ComparisonFolder, search_record, training_record
from evomal.comparison.plan import Plan
from evomal.comparison.results import Comparison, Contender, SearchSummary
from evomal.config import LearnSettings
from evomal.losses import load_loss
from evomal.losses.criterion import Criterion
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

    def start(self, plan: Plan, searches: int, trainings: int) -> None:
        """So many searches and trainings are to be done; the others are finished."""

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
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watcher = watcher or ComparisonWatcher()
    check(task, plan)
    folder.begin(plan, described(task))
    searches = {(entry, seed): folder.finished_search(entry, seed) for entry, seed in plan.searches}
    trainings = folder.trainings()
    open_searches = [key for key, summary in searches.items() if summary is None]
    left = [item for item in plan.trainings if (item[0].name, *item[1:]) not in trainings]
    watcher.start(plan, len(open_searches), len(left))
    jobs = [(Job(entry.seeded(seed), str(folder.search_folder(entry, seed))),) for entry, seed in open_searches]
    for (entry, seed), summary in zip(open_searches, executor.map(run_search, task, jobs), strict=True):
        if summary is None:
            raise KeyboardInterrupt
        searches[entry, seed] = summary
        watcher.search(entry, summary)
    losses = {(entry, seed): loss_of(entry, seed, task, folder) for entry, _, seed in plan.trainings}
    _train(task, plan, left, losses, folder, executor, watcher)
    return _comparison(task, plan, searches, losses, folder.trainings())


def run_search(task: Task, job: Job) -> SearchSummary | None:
    """One search, in its run folder; None if it was interrupted."""
    path = Path(job.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
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


def loss_of(entry: Entry, seed: int, task: Task, folder: ComparisonFolder) -> Criterion:
    """The loss that a contender stands for, with the seed of its search if it has one."""
    if entry.kind == "handcrafted":
        return build_handcrafted(entry.name, task)
    path = entry.name if entry.kind == "file" else folder.search_folder(entry, seed)
    return load_loss(path).to(task.device)


def _train(
    task: Task,
    plan: Plan,
    left: list[tuple[Entry, float, int]],
    losses: Mapping[tuple[Entry, int], Criterion],
    folder: ComparisonFolder,
    executor: Executor,
    watcher: ComparisonWatcher,
) -> None:
    """The full trainings that are left, each written down when it is finished."""
    jobs = [(losses[entry, seed], plan.training, lr, seed) for entry, lr, seed in left]
    journal = folder.journal()
    try:
        for (entry, _, _), run in zip(left, executor.map(train_once, task, jobs), strict=True):
            journal.write(training_record(entry, run))
            watcher.training(entry, run)
    finally:
        journal.close()


def _comparison(
    task: Task,
    plan: Plan,
    searches: Mapping[tuple[Entry, int], SearchSummary | None],
    losses: Mapping[tuple[Entry, int], Criterion],
    trainings: Mapping[tuple[str, float, int], TrainingRun],
) -> Comparison:
    settings, base = plan.training, plan.training.base

    def contender(entry: Entry) -> Contender:
        found = [searches[entry, seed] for seed in settings.seeds if entry.settings is not None]
        runs = [trainings[entry.name, lr, seed] for lr in settings.lrs for seed in settings.seeds]
        ratios = [gradient_norm_ratio(losses[entry, s], task, base.batch_size, s) for s in settings.seeds]
        return Contender(
            entry.name, entry.kind, tuple(summary for summary in found if summary), tuple(runs), tuple(ratios)
        )

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
