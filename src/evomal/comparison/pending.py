"""What of a comparison is finished and what is left to do, known and checked before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.digests import digest, digests_of
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import Plan
from evomal.comparison.trainings import loss_of
from evomal.evaluation.probing import probed
from evomal.foundation.errors import DataError, EvomalError
from evomal.losses import load_loss
from evomal.losses.criterion import LossFunction
from evomal.tasks import Task, TaskSet, probe
from evomal.training.optimizers import fitted_base

Searches = dict[tuple[str, int], SearchSummary]
"""Finished searches by contender and seed."""
Losses = Mapping[tuple[str, int], LossFunction]
"""Losses by contender and seed."""


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

    finished: Searches
    searches: list[tuple[Contender, int]]
    trainings: list[tuple[Contender, float, int]]
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


def check(task: Task, plan: Plan) -> None:
    """Probe the task, and build or probe every contender of a plan.

    Raises:
        EvomalError: The task has no test split, its parts do not fit each other, or a contender does not fit it, in one
            sentence.
    """
    if task.test is None:
        raise DataError(f"task '{task.name}' has no test split to compare on; give one as Task(..., test=(x, y))")
    probe(task)
    fitted_base(plan.training.base, task.own)
    done: set[object] = set()
    for contender in plan.contenders:
        try:
            if contender.settings is None:
                digest(loss_of(contender, task), task if contender.kind == "own" else None)
            else:
                _probe_searches(contender, task, plan.training.seeds, done)
        except EvomalError as error:
            raise type(error)(f"'{contender.name}' cannot be compared here: {error}") from error


def _probe_searches(contender: Contender, task: Task, seeds: tuple[int, ...], done: set[object]) -> None:
    """Probe the search with every seed, as it depends on the draw; what methods have in common is probed once."""
    for seed in seeds:
        settings = contender.seeded(seed)
        depends_on = (seed, settings.filters, settings.tuning, settings.base)
        if depends_on not in done:
            probed(TaskSet.of(task), settings)
            done.add(depends_on)


def unfinished(task: Task, plan: Plan, folder: ComparisonFolder) -> Left:
    """What is left to do of a plan that is checked; nothing is written."""
    found = [(contender, seed, folder.finished_search(contender, seed)) for contender, seed in plan.searches]
    finished = {(contender.name, seed): summary for contender, seed, summary in found if summary is not None}
    searches = [(contender, seed) for contender, seed, summary in found if summary is None]
    trainings = trainings_left(task, plan, folder, losses_of(task, plan, folder, finished))
    named = {contender.name for contender in plan.contenders}
    return Left(finished, searches, trainings, tuple(name for name in folder.contenders if name not in named))


def losses_of(task: Task, plan: Plan, folder: ComparisonFolder, finished: Searches) -> Losses:
    """The loss of every contender and seed, but for searches that are not finished."""
    losses: dict[tuple[str, int], LossFunction] = {
        (contender.name, seed): load_loss(folder.search_folder(contender, seed)).to(task.device)
        for contender, seed in plan.searches
        if (contender.name, seed) in finished
    }
    for contender in plan.contenders:
        if contender.kind != "learned":
            losses |= dict.fromkeys([(contender.name, seed) for seed in plan.training.seeds], loss_of(contender, task))
    return losses


def trainings_left(
    task: Task, plan: Plan, folder: ComparisonFolder, losses: Losses
) -> list[tuple[Contender, float, int]]:
    """Trainings that were not done, or with another loss than that which the contender now stands for."""
    done, digests = folder.trainings(), digests_of(plan.contenders, losses, task)

    def is_done(contender: Contender, lr: float, seed: int) -> bool:
        trained = done.get((contender.name, lr, seed))
        if trained is None or (contender.name, seed) not in digests:
            return trained is not None  # a search that is still to be done may find the same
        now = digests[contender.name, seed]
        # Older journals do not say which handcrafted loss it was, or of a file or a search not even which loss.
        return trained.loss == now or (trained.loss is None and contender.kind != "own")

    return [item for item in plan.trainings if not is_done(*item)]
