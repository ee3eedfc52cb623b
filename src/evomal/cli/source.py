"""Which task a command works on: a data set and a model by name, or a user's own function."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomal.errors import SettingError

if TYPE_CHECKING:
    from evomal.tasks import Task


@dataclass(frozen=True, slots=True)
class TaskSource:
    """What the options of a command say about its task; made before torch is imported.

    Args:
        dataset: Name of a data set.
        model: Name of a model.
        task: A user's function, such as ``my_module.py:make_task``, instead of both.
        metric: Name of a metric, or None for the usual one.
        data_dir: Where to look for files first.
        device: Where data and models live.

    Raises:
        SettingError: The options do not go together.
    """

    dataset: str | None
    model: str | None
    task: str | None = None
    metric: str | None = None
    data_dir: Path | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.task is None and (self.dataset is None or self.model is None):
            raise SettingError("give --dataset and --model, or --task my_module.py:make_task; `evomal list` names all")
        if self.task is not None and (self.dataset or self.model or self.metric or self.data_dir):
            raise SettingError(
                "--task brings its own data set, model and metric; leave out the options that name others"
            )

    @property
    def slug(self) -> str:
        """A name for folders.

        Example:
            >>> TaskSource("digits", "mlp").slug, TaskSource(None, None, "my/tasks.py:make").slug
            ('digits-mlp', 'tasks-make')
        """
        if self.task is None:
            return f"{self.dataset}-{self.model}"
        source, _, function = self.task.rpartition(":")
        return f"{Path(source).name.removesuffix('.py')}-{function}"

    def as_dict(self) -> dict[str, Any]:
        """What was given, as plain values."""
        values = {"dataset": self.dataset, "model": self.model, "task": self.task, "metric": self.metric}
        return values | {
            "data_dir": None if self.data_dir is None else str(self.data_dir),
            "device": self.device or "cpu",
        }

    def load(self) -> "Task":
        """The task; this imports torch."""
        from evomal.runs.memory import keep_freed_memory

        keep_freed_memory()
        from evomal.tasks import load_user_task, named_task

        if self.task is not None:
            task = load_user_task(self.task)
            return task if self.device is None else task.to(self.device)
        assert self.dataset is not None
        assert self.model is not None
        return named_task(
            self.dataset, self.model, data_dir=self.data_dir, device=self.device or "cpu", metric=self.metric
        )
