"""Which task a command works on: a data set and a model by name, or a user's own function."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from evomal.errors import SettingError

if TYPE_CHECKING:
    from evomal.tasks import Task


Run = TypeVar("Run", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class TaskSource:
    """What the options of a command say about its task; made before torch is imported.

    Its fields are the options; `task_options` gives them to a command.

    Raises:
        SettingError: The options do not go together.
    """

    dataset: Annotated[str | None, typer.Option(help="A data set's name.")] = None
    model: Annotated[str | None, typer.Option(help="A model's name.")] = None
    task: Annotated[
        str | None, typer.Option(help="Your own task instead: my_module.py:make_task (runs that file).")
    ] = None
    metric: Annotated[str | None, typer.Option(help="A metric's name; error_rate or mse if left out.")] = None
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for a data set's files first.")] = None
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; cpu if left out.")] = None

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
            >>> TaskSource("digits", "mlp").slug, TaskSource(task="my/tasks.py:make").slug
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
        from evomal.tasks import load_user_task, named_task

        if self.task is not None:
            task = load_user_task(self.task)
            return task if self.device is None else task.to(self.device)
        assert self.dataset is not None
        assert self.model is not None
        return named_task(
            self.dataset, self.model, data_dir=self.data_dir, device=self.device or "cpu", metric=self.metric
        )


def task_options(command: Run) -> Run:
    """Give a command the options of its task, in place of its parameter ``source``."""
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=field.type)
        for field in fields(TaskSource)
    ]
    own = [
        parameter.replace(kind=added[0].kind) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else parameter
        for parameter in signature.parameters.values()
    ]
    place = [parameter.name for parameter in own].index("source")

    @wraps(command)
    def called(**given: Any) -> Any:
        source = TaskSource(**{option.name: given.pop(option.name) for option in added})
        return command(source=source, **given)

    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:place], *added, *own[place + 1 :]]
    )
    return cast(Run, called)
