"""Whether every contender can serve the task, found out before any work starts."""

from evomal.comparison.entries import Entry
from evomal.comparison.plan import Plan
from evomal.errors import DataError, EvomalError, SettingError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, get_handcrafted, load_loss
from evomal.search.probing import probed
from evomal.tasks import Task, TaskSet


def build_handcrafted(name: str, task: Task) -> HandcraftedLoss:
    """A handcrafted loss for a task, with its class counts if it needs them.

    Raises:
        SettingError: The task has no class counts to give.
    """
    counts = None
    if HANDCRAFTED[name].needs_class_counts:
        counts = task.class_counts
        if counts is None:
            raise SettingError(
                f"loss '{name}' needs class labels to count, and task '{task.name}' has none; leave it out"
            )
    return get_handcrafted(name, class_counts=counts).to(task.device)


def check(task: Task, plan: Plan) -> None:
    """Build or probe every contender of a plan.

    Raises:
        EvomalError: One does not fit the task, in one sentence.
    """
    if task.test is None:
        raise DataError(f"task '{task.name}' has no test split to compare on; give one as Task(..., test=(x, y))")
    for entry in plan.entries:
        try:
            _check(entry, task)
        except EvomalError as error:
            raise type(error)(f"'{entry.name}' cannot be compared here: {error}") from error


def _check(entry: Entry, task: Task) -> None:
    if entry.settings is not None:
        probed(TaskSet.of(task), entry.settings)
        return
    kind = HANDCRAFTED[entry.name].task_type if entry.kind == "handcrafted" else load_loss(entry.name).task_type
    if kind != task.task_type:
        raise SettingError(f"it is for {kind}, but task '{task.name}' is {task.task_type}; leave it out")
    if entry.kind == "handcrafted":
        build_handcrafted(entry.name, task)
