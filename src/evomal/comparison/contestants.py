"""Whether every contender can serve the task, found out before any work starts."""

from evomal.comparison.entries import Entry
from evomal.comparison.plan import Plan
from evomal.errors import DataError, EvomalError, SettingError
from evomal.losses import load_loss
from evomal.losses.criterion import LossFunction
from evomal.search.probing import probed
from evomal.tasks import Task, TaskSet


def finished_loss(entry: Entry, task: Task) -> LossFunction:
    """The loss of a contender that need not search for it.

    Args:
        entry: A handcrafted loss, or a loss from a file.
        task: What it shall serve; class counts come from it.

    Returns:
        The loss, on the task's device.

    Raises:
        LossFileError: The file cannot be read.
        SettingError: It is for the other kind of task, or needs class counts that the task does not have.
    """
    if entry.kind == "file":
        loss = load_loss(entry.name)
        if loss.task_type != task.task_type:
            raise SettingError(
                f"loss '{entry.name}' is for {loss.task_type}, but task '{task.name}' is {task.task_type}; "
                "give another loss"
            )
        return loss.to(task.device)
    # The task's own loss may be a function of the user.
    return task.task_loss if entry.name == task.task_loss_name else task.handcrafted(entry.name)


def check(task: Task, plan: Plan) -> None:
    """Build or probe every contender of a plan.

    Raises:
        EvomalError: One does not fit the task, in one sentence.
    """
    if task.test is None:
        raise DataError(f"task '{task.name}' has no test split to compare on; give one as Task(..., test=(x, y))")
    done: set[object] = set()
    for entry in plan.entries:
        try:
            if entry.settings is None:
                finished_loss(entry, task)
            else:
                _probe_searches(entry, task, plan.training.seeds, done)
        except EvomalError as error:
            raise type(error)(f"'{entry.name}' cannot be compared here: {error}") from error


def _probe_searches(entry: Entry, task: Task, seeds: tuple[int, ...], done: set[object]) -> None:
    """Probe the search with every seed, as it depends on the draw; what methods have in common is probed once."""
    for seed in seeds:
        settings = entry.seeded(seed)
        probe = (seed, settings.filters, settings.tuning, settings.base)
        if probe not in done:
            probed(TaskSet.of(task), settings)
            done.add(probe)
