"""Full trainings with the losses of contenders: which loss each has, and doing those that are left."""

from collections.abc import Iterator, Mapping, Sequence

from evomal.comparison.contenders import Contender
from evomal.comparison.digests import copied
from evomal.comparison.training_rows import Key
from evomal.config import TrainSettings
from evomal.executors import Executor
from evomal.losses.criterion import Criterion, LossFunction
from evomal.losses.loading import learned_by_name
from evomal.tasks import Task
from evomal.training import TrainingRun, meta_testing


def loss_of(contender: Contender, task: Task) -> LossFunction:
    """The loss of a contender that need not search for it, on the task's device.

    A loss that was given as an object is copied: what is done with it does not touch the user's own.

    Raises:
        LossFileError: The file cannot be read.
        SettingError: It is for the other kind of task, or needs class counts that the task does not have.

    Example:
        >>> from evomal.tasks import named_task
        >>> loss_of(Contender("focal", "handcrafted"), named_task("iris", "linear")).name
        'focal'
    """
    if contender.kind == "handcrafted":  # the task's own loss may be a function of the user
        same = contender.name == task.task_loss_name
        return task.task_loss if same else task.handcrafted(contender.name)
    loss = learned_by_name(contender.name) if contender.given is None else copied(contender.given)
    fitted: LossFunction = task.fitted(loss, contender.name)
    return fitted


def train_left(
    task: Task,
    left: Sequence[Key],
    losses: Mapping[tuple[str, int], LossFunction],
    settings: TrainSettings,
    executor: Executor,
) -> Iterator[tuple[Key, TrainingRun]]:
    """Do trainings, each as soon as it is finished: none is lost while a slow one goes on; readers go by its key.

    Each begins with a loss as it was given.
    """
    jobs = [(losses[name, seed], settings, lr, seed) for name, lr, seed in left]
    for place, run in executor.as_finished(_train_once, task, jobs) if jobs else ():
        yield left[place], run


def _train_once(task: Task, loss: LossFunction, settings: TrainSettings, lr: float, seed: int) -> TrainingRun:
    # What a user's module keeps from call to call must not pass from one training to the next; ours keep nothing.
    loss = loss if isinstance(loss, Criterion) else copied(loss)
    return meta_testing.train_once(task, loss, settings, lr, seed)
