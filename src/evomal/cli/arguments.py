"""Options of a task as they were given, for a command that may have its task from elsewhere."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from evomal.cli.source import TaskSource
from evomal.foundation.errors import RunFolderError

Run = TypeVar("Run", bound=Callable[..., Any])

TASK = tuple(field.name for field in fields(TaskSource))


def given_task_options(command: Run) -> Run:
    """Give a command the options of a task in place of its parameter ``task``: those that were given, by name."""
    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(field.name, keyword, default=None, annotation=field.type) for field in fields(TaskSource)
    ]
    own = [
        parameter.replace(kind=keyword) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else parameter
        for parameter in signature.parameters.values()
    ]
    place = [parameter.name for parameter in own].index("task")

    @wraps(command)
    def called(**given: Any) -> Any:
        options = {name: given.pop(name) for name in TASK}
        return command(task={name: value for name, value in options.items() if value is not None}, **given)

    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:place], *added, *own[place + 1 :]]
    )
    return cast(Run, called)


def source_of(options: Mapping[str, Any], origin: object) -> TaskSource:
    """The options of a task from plain values, as `TaskSource.as_dict` gives them.

    Args:
        options: The values; a file that anybody may have written can hold anything.
        origin: What they were read from, for an error.

    Raises:
        RunFolderError: They are no options of a task.
        SettingError: They do not go together.

    Example:
        >>> source_of(TaskSource("iris", "linear", train_size=50).as_dict(), "r.json").train_size
        50
    """
    try:
        return TypeAdapter(TaskSource).validate_python({name: options.get(name) for name in TASK})
    except ValidationError as error:
        (where, *_), value = error.errors()[0]["loc"], error.errors()[0]["input"]
        raise RunFolderError(
            f"'{origin}' is damaged: its task has {where} {value!r}; start anew with --force"
        ) from None
