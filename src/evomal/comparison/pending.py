"""What of a comparison is finished, and what is left to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from evomal.comparison.contenders import SearchSummary
from evomal.comparison.contestants import check, finished_loss
from evomal.comparison.entries import Entry
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import Plan
from evomal.comparison.records import Trained, digest
from evomal.losses import load_loss
from evomal.losses.criterion import LossFunction
from evomal.tasks import Task

Losses = Mapping[tuple[Entry, int], LossFunction]


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a comparison.

    Args:
        finished: Every search that is finished.
        searches: Every search that is not, in the order in which they are done.
        trainings: Every full training that is not finished; those whose loss is still to be found count as finished
            if they were done with what an earlier search found.
        others: Contenders of earlier calls that this one does not name: they stay in the folder, not in the table.
    """

    finished: Mapping[tuple[Entry, int], SearchSummary]
    searches: list[tuple[Entry, int]]
    trainings: list[tuple[Entry, float, int]]
    others: tuple[str, ...] = ()


def what_is_left(task: Task, plan: Plan, folder: ComparisonFolder) -> Left:
    """Check a plan in every way, and see what of it is left to do; nothing is written.

    Raises:
        EvomalError: A contender does not fit the task, or the folder holds another comparison.

    Example:
        >>> from evomal.comparison.plan import make_plan
        >>> from evomal.tasks import named_task
        >>> plan = make_plan(["focal"], "cross_entropy", [0, 1], "quick", [0.1, 0.3])
        >>> left = what_is_left(named_task("iris", "linear"), plan, ComparisonFolder("no-such-folder"))
        >>> len(left.searches), len(left.trainings)
        (0, 8)
    """
    check(task, plan)
    folder.require_same(plan, task)
    return unfinished(task, plan, folder)


def unfinished(task: Task, plan: Plan, folder: ComparisonFolder) -> Left:
    """What is left to do of a plan that is checked; nothing is written."""
    found = {key: folder.finished_search(*key) for key in plan.searches}
    finished = {key: summary for key, summary in found.items() if summary is not None}
    searches = [key for key, summary in found.items() if summary is None]
    trainings = trainings_left(plan, folder, losses_of(task, plan, folder, finished))
    named = {entry.name for entry in plan.entries}
    return Left(finished, searches, trainings, tuple(name for name in folder.contenders if name not in named))


def losses_of(
    task: Task, plan: Plan, folder: ComparisonFolder, finished: Mapping[tuple[Entry, int], SearchSummary]
) -> Losses:
    """The loss of every contender and seed, but for searches that are not finished."""
    losses: dict[tuple[Entry, int], LossFunction] = {
        (entry, seed): load_loss(folder.search_folder(entry, seed)).to(task.device) for entry, seed in finished
    }
    for entry in plan.entries:
        if entry.kind != "learned":
            losses |= dict.fromkeys([(entry, seed) for seed in plan.training.seeds], finished_loss(entry, task))
    return losses


def trainings_left(plan: Plan, folder: ComparisonFolder, losses: Losses) -> list[tuple[Entry, float, int]]:
    """Trainings that were not done, or with another loss than that which the contender now stands for."""
    done = folder.trainings()
    digests = {key: digest(loss) for key, loss in losses.items()}

    def is_done(entry: Entry, lr: float, seed: int) -> bool:
        trained: Trained | None = done.get((entry.name, lr, seed))
        if trained is None:
            return False
        now = digests.get((entry, seed))
        return now is None or trained.loss in (None, now)

    return [item for item in plan.trainings if not is_done(*item)]
