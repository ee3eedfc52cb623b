"""Tasks from a user's own Python file or module."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from evomal.foundation.errors import EvomalError, SettingError, nearest, one_line
from evomal.tasks.task import Task


def load_user_task(spec: str) -> Task:
    """The task that a function of the user makes.

    This runs the user's own code, which is what they ask for; loss files and run folders never do.

    Args:
        spec: ``"my_module.py:make_task"`` (a file) or ``"package.module:make_task"`` (found from the current
            folder too); the function takes no arguments and returns a `Task`.

    Returns:
        The task.

    Raises:
        SettingError: The file or function does not exist, fails, or gives something else.

    Example:
        >>> load_user_task("my_module.py")
        Traceback (most recent call last):
        evomal.foundation.errors.SettingError: task 'my_module.py' names no function; write it as my_module.py:make_task
    """
    with (
        user_object(spec, "task", "make_task", "returns an evomal.Task") as (function, name, file),
        blamed(spec, "task", f"fails in {name}", file),
    ):
        task = function()
    if not isinstance(task, Task):
        raise SettingError(f"task '{spec}': {name} returned a {type(task).__name__}; return an evomal.Task")
    return task


@contextmanager
def user_object(
    spec: str, kind: str, example: str, wanted: str
) -> Iterator[tuple[Callable[..., Any], str, str | None]]:
    """A function or class of the user's own file or module; this runs that file.

    Args:
        spec: ``"my_module.py:name"`` or ``"package.module:name"``.
        kind: What errors call it, such as ``"task"``.
        example: A name that fits, for errors.
        wanted: What it should do or be, such as ``"returns an evomal.Task"``.

    Yields:
        The object, its name, and the file that it is from.

    Raises:
        SettingError: There is no such file or name, or the file cannot be imported.
    """
    source, colon, name = spec.rpartition(":")
    # A colon inside a path (C:\\tasks.py) is no separator.
    if not colon or not source or not name.isidentifier():
        raise SettingError(f"{kind} '{spec}' names no function; write it as {spec.rstrip(':')}:{example}")
    is_file = source.endswith(".py") or "/" in source or "\\" in source
    with (_file_module if is_file else _dotted_module)(source, spec, kind) as module:
        yield _function(module, name, spec, kind, wanted), name, module.__file__


@contextmanager
def _file_module(source: str, spec: str, kind: str) -> Iterator[ModuleType]:
    """The module of a file, known to Python by name only inside the block.

    A task is sent to workers by cloudpickle, which takes functions and classes of a module that nobody can
    find by name by value: that is what a worker without the file needs. And a file that is named like a
    library does not take the library's place.
    """
    path = Path(source).resolve()
    name = f"evomal_user_task_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or found is None or found.loader is None:
        raise SettingError(f"{kind} '{spec}': there is no Python file {source}; check the path from {Path.cwd().name}/")
    module = importlib.util.module_from_spec(found)
    # As for `python my_module.py`: modules beside the file can be imported, here and in workers started
    # later.
    _make_findable(path.parent)
    sys.modules[name] = module
    try:
        with blamed(spec, kind, "cannot be imported", str(path)):
            found.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


@contextmanager
def _dotted_module(source: str, spec: str, kind: str) -> Iterator[ModuleType]:
    _make_findable(Path.cwd())
    with blamed(spec, kind, "cannot be imported", None):
        module = importlib.import_module(source)
    yield module


def _function(module: ModuleType, name: str, spec: str, kind: str, wanted: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if callable(function):
        found: Callable[[], Any] = function
        return found
    names = [
        n for n, value in vars(module).items() if (inspect.isfunction if kind == "task" else inspect.isclass)(value)
    ]
    names = [n for n in names if not n.startswith("_")]
    near = nearest(name, names)
    hint = f"did you mean '{near}'?" if near else f"define it, so that it {wanted}"
    what = "function" if kind == "task" else "class"
    raise SettingError(f"{kind} '{spec}': there is no {what} {name} in it; {hint}")


def import_user_module(source: str) -> None:
    """Run a user's own file or module, for what it registers, such as operators.

    Args:
        source: ``"my_module.py"``, or ``"package.module"``.

    Raises:
        SettingError: It does not exist, or cannot be imported.
    """
    is_file = source.endswith(".py") or "/" in source or "\\" in source
    with (_file_module if is_file else _dotted_module)(source, source, "module"):
        pass


@contextmanager
def blamed(spec: str, kind: str, what: str, file: str | None) -> Iterator[None]:
    """Turn any exception of the user's code into one sentence, with the last line reached in `file`."""
    try:
        yield
    except EvomalError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        at = f" at line {lines[-1]}" if lines else ""
        raise SettingError(f"{kind} '{spec}' {what}{at}: {one_line(error)}") from error


def _make_findable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
