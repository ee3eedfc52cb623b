"""Whether every contender can serve the task, found out before any work starts."""

from evomal.comparison.entries import Entry
from evomal.comparison.plan import Plan
from evomal.evaluation.probing import probed
from evomal.foundation.errors import DataError, EvomalError
from evomal.losses.criterion import LossFunction
from evomal.losses.named import learned_by_name
from evomal.tasks import Task, TaskSet, probe
from evomal.training.optimizers import fitted_base


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

    Example:
        >>> from evomal.comparison.entries import read_entry
        >>> from evomal.tasks import named_task
        >>> finished_loss(read_entry("focal", None, {}), named_task("iris", "linear")).name
        'focal'
    """
    if entry.kind == "file":
        loss = learned_by_name(entry.name)
        task.require_kind(loss.task_type, entry.name)
        loss.meet_classes(task.class_counts)  # what it sees of classes is their share here
        return loss.to(task.device)
    # The task's own loss may be a function of the user.
    return task.task_loss if entry.name == task.task_loss_name else task.handcrafted(entry.name)


def check(task: Task, plan: Plan) -> None:
    """Probe the task, and build or probe every contender of a plan.

    Args:
        task: The task.
        plan: What is to be compared on it.

    Raises:
        EvomalError: The task has no test split, its parts do not fit each other, or a contender does not fit it, in one
            sentence.

    Example:
        >>> from evomal.comparison.plan import make_plan
        >>> from evomal.tasks import named_task
        >>> plan = make_plan(["mse"], "cross_entropy", [0, 1])
        >>> try:
        ...     check(named_task("iris", "linear"), plan)
        ... except EvomalError as error:
        ...     print(str(error).partition(':')[0])
        'mse' cannot be compared here
    """
    if task.test is None:
        raise DataError(f"task '{task.name}' has no test split to compare on; give one as Task(..., test=(x, y))")
    probe(task)
    fitted_base(plan.training.base, task.own)
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
        depends_on = (seed, settings.filters, settings.tuning, settings.base)
        if depends_on not in done:
            probed(TaskSet.of(task), settings)
            done.add(depends_on)
