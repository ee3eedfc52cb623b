"""Several tasks that one loss is learned on: the meta-training set 𝒟 of Algorithms 1 and 2."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from evomal.foundation.errors import SettingError
from evomal.losses import TaskType
from evomal.losses.criterion import IGNORED
from evomal.tasks.task import Task

MOST_VALIDATION = 5_000
"""Instances that a fitness is measured on, at most, where the search divides the data itself."""


@dataclass(frozen=True)
class TaskSet(Sequence[Task]):
    """Tasks of one kind; the meta-gradient is summed, the fitness averaged over them.

    Args:
        tasks: At least one, all for classification or all for regression, on one device.

    Raises:
        SettingError: There is no task, one is there twice, or they are of different kinds or on different devices.

    Example:
        >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
        >>> first, second = (Task(lambda: torch.nn.Linear(3, 2), (x, y), name=name) for name in ("one", "two"))
        >>> TaskSet((first, second)).name
        'one + two'

    Source:
        Raymond et al., 2023, Algorithms 1 and 2.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        """Refuse tasks that do not go together."""
        if not self.tasks:
            raise SettingError("there is no task to learn on; give at least one")
        for task in self.tasks:
            if not isinstance(task, Task):
                raise SettingError(f"a task is a {type(task).__name__}; give an evomal.Task, or a list of them")
        if len({task.key for task in self.tasks}) < len(self.tasks):
            raise SettingError(f"a task is there twice in {self.name}; give each once, or names that differ")
        for what, values in (
            ("for classification and regression at once", {task.task_type for task in self.tasks}),
            ("on different devices", {task.device for task in self.tasks}),
        ):
            if len(values) > 1:
                raise SettingError(f"the tasks {self.name} are {what}; one loss cannot be learned on them")

    @classmethod
    def of(cls, tasks: "Task | Sequence[Task]") -> "TaskSet":
        """One task, several, or a set that is one already."""
        if isinstance(tasks, TaskSet):
            return tasks
        if isinstance(tasks, Task) or not isinstance(tasks, Iterable):
            return cls((tasks,))
        return cls(tuple(tasks))

    def for_search(self, share: float | None) -> "TaskSet":
        """The same tasks with training and validation data divided as a search looks at them; see `Task.divided`.

        Args:
            share: Of both together, that which becomes validation data, but `MOST_VALIDATION` instances at most; None
                leaves the tasks as they are.
        """
        if share is None:
            return self
        return TaskSet(tuple(task.divided(share, MOST_VALIDATION) for task in self.tasks))

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:  # type: ignore[override]
        """A task by its number."""
        return self.tasks[index]

    def __iter__(self) -> Iterator[Task]:
        """The tasks in turn."""
        return iter(self.tasks)

    @property
    def key(self) -> str:
        """The part of a seed that stands for all of them; of a single task, its own."""
        return "+".join(task.key for task in self.tasks)

    @property
    def name(self) -> str:
        """Their names."""
        return " + ".join(task.name for task in self.tasks)

    @property
    def task_type(self) -> TaskType:
        """The kind that all are of."""
        return self.tasks[0].task_type

    @property
    def device(self) -> torch.device:
        """Where all live."""
        return self.tasks[0].device

    @property
    def ignore_index(self) -> int | None:
        """The label that does not count, if any of them has one."""
        return IGNORED if any(task.ignore_index is not None for task in self.tasks) else None

    @property
    def metric_name(self) -> str:
        """The name of the metric, or of all metrics that the fitness is the mean of."""
        return " + ".join(dict.fromkeys(task.metric.name for task in self.tasks))

    @property
    def task_loss_name(self) -> str:
        """The name of the task loss, or of all."""
        return " + ".join(dict.fromkeys(task.task_loss_name for task in self.tasks))
