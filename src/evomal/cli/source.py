"""Which task a command works on, by name or a user's own function; and the command that goes on with it."""

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer
from pydantic import TypeAdapter, ValidationError

from evomal.foundation.errors import RunFolderError, SettingError

if TYPE_CHECKING:
    from evomal.tasks import Task


Run = TypeVar("Run", bound=Callable[..., Any])

CHANGES = (
    "task_loss",
    "width",
    "augmentation",
    "train_size",
    "imbalance",
    "label_noise",
    "target_noise",
)  # each also of `named_task`


@dataclass(frozen=True, slots=True)
class TaskSource:
    """What the options of a command say about its task; made before torch is imported.

    Its fields are the options; `task_options` gives them to a command.

    Raises:
        SettingError: The options do not go together.
    """

    dataset: Annotated[str | None, typer.Option(help="A data set's name.")] = None
    model: Annotated[str | None, typer.Option(help="A model's name.")] = None
    data: Annotated[
        Path | None, typer.Option(help="Your own data instead: an .npz with arrays x and y, or a .csv with --target.")
    ] = None
    target: Annotated[
        str | list[str] | None,
        typer.Option(help="The name of the target's column in a .csv; may be repeated, for several outputs."),
    ] = None
    width: Annotated[float | None, typer.Option(help="Factor on the model's channels or hidden units.")] = None
    augmentation: Annotated[
        str | None,
        typer.Option(help="What is done to training images: none, crop, flip, crop-flip; as usual if left out."),
    ] = None
    task: Annotated[
        str | None, typer.Option(help="Your own task instead: my_module.py:make_task (runs that file).")
    ] = None
    metric: Annotated[str | None, typer.Option(help="A metric's name; error_rate or mse if left out.")] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to look for a data set's files first, and where downloads go.")
    ] = None
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; cpu if left out.")] = None
    task_loss: Annotated[
        str | None, typer.Option(help="A handcrafted loss's name; cross_entropy or mse if left out.")
    ] = None
    train_size: Annotated[int | None, typer.Option(help="Training instances to keep, stratified by class.")] = None
    imbalance: Annotated[
        float | None, typer.Option(help="Make classes rare, exponentially down to 1/IMBALANCE; never in test data.")
    ] = None
    label_noise: Annotated[
        float | None, typer.Option(help="Share of labels that become another class; never in test data.")
    ] = None
    target_noise: Annotated[
        float | None, typer.Option(help="Scale of heavy-tailed noise on standardised targets; never in test data.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.task is None and ((self.dataset is None and self.data is None) or self.model is None):
            raise SettingError(
                "give --dataset (or --data FILE) and --model, or --task my_module.py:make_task; `evomal list` names all"
            )
        if self.dataset is not None and self.data is not None:
            raise SettingError(f"--data {self.data} and --dataset {self.dataset} are two data sets; leave one out")
        if self.target is not None and self.data is None:
            raise SettingError("--target names a column of a table; give the table as --data FILE.csv, or leave it out")
        if self.data is not None and self.data_dir is not None:
            raise SettingError(
                f"--data-dir is where files of a data set by name lie, and --data {self.data} is your own; leave out "
                "--data-dir"
            )
        if self.task is not None and any((self.dataset, self.data, self.model, self.metric, self.data_dir)):
            raise SettingError(
                "--task brings its own data set, model and metric; leave out the options that name others"
            )
        if self.task is not None and self._changes:
            flag = next(iter(self._changes)).replace("_", "-")
            raise SettingError(f"--task brings its own data and task loss; leave out --{flag}, or do it in its file")

    @property
    def slug(self) -> str:
        """A name for folders.

        Example:
            >>> TaskSource("digits", "mlp").slug, TaskSource(task="my/tasks.py:make").slug
            ('digits-mlp', 'tasks-make')
            >>> TaskSource("digits", "mlp", label_noise=0.4).slug
            'digits-mlp-label-noise-0.4'
        """
        if self.task is None:
            parts = [self.dataset if self.data is None else Path(self.data).stem, str(self.model)]
            for name, value in self._changes.items():
                parts += [name.replace("_", "-"), f"{value:.15g}" if isinstance(value, float) else str(value)]
            return "-".join(map(str, parts))
        source, _, function = self.task.rpartition(":")
        return f"{Path(source).name.removesuffix('.py')}-{function}"

    def as_dict(self) -> dict[str, Any]:
        """What was given, as plain values; None where an option was left out."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "data": None if self.data is None else str(self.data),
            "data_dir": None if self.data_dir is None else str(self.data_dir),
            "device": self.device or "cpu",
        }

    def stored(self) -> dict[str, Any]:
        """The same as it holds from any folder."""
        paths = {"data": self.data, "data_dir": self.data_dir}
        return self.as_dict() | {name: None if path is None else str(path.absolute()) for name, path in paths.items()}

    @property
    def _changes(self) -> dict[str, Any]:
        """Options that were given and that make another task of the same data set and model."""
        return {name: value for name in CHANGES if (value := getattr(self, name)) is not None}

    def beside(self, spec: str) -> "TaskSource":
        """A further task, as ``DATASET/MODEL`` or ``my_module.py:make_task``; other options hold for it too.

        Raises:
            SettingError: It is neither.

        Example:
            >>> TaskSource("digits", "mlp", metric="macro_f1").beside("wine/linear").dataset
            'wine'
        """
        if ":" in spec:
            return TaskSource(task=spec, device=self.device)
        dataset, slash, model = spec.partition("/")
        if not (dataset and slash and model) or "/" in model:
            raise SettingError(f"'{spec}' names no task; write it as DATASET/MODEL or my_module.py:make_task")
        return replace(self, dataset=dataset, model=model, task=None, data=None, target=None)

    def load(self) -> "Task":
        """The task; this imports torch."""
        from evomal.tasks import file_task, load_user_task, named_task

        if self.task is not None:
            task = load_user_task(self.task)
            return task if self.device is None else task.to(self.device)
        assert self.model is not None
        options: dict[str, Any] = {"device": self.device or "cpu", "metric": self.metric, **self._changes}
        if self.data is not None:
            return file_task(self.data, self.model, target=self.target, **options)
        assert self.dataset is not None
        return named_task(self.dataset, self.model, data_dir=self.data_dir, **options)


TASK = tuple(field.name for field in fields(TaskSource))


def task_options(command: Run) -> Run:
    """Give a command the options of its task, in place of its parameter ``source``."""
    return _with_options(command, "source", lambda options: TaskSource(**options))


def given_task_options(command: Run) -> Run:
    """The same in place of its parameter ``task``: those that were given, by name, as a task may be from elsewhere."""
    return _with_options(command, "task", lambda options: {k: v for k, v in options.items() if v is not None})


def _with_options(command: Run, place: str, made: Callable[[dict[str, Any]], Any]) -> Run:
    signature, keyword = inspect.signature(command, eval_str=True), inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(field.name, keyword, default=None, annotation=_asked(field.type))
        for field in fields(TaskSource)
    ]
    own = [
        parameter.replace(kind=keyword) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else parameter
        for parameter in signature.parameters.values()
    ]
    at = [parameter.name for parameter in own].index(place)

    @wraps(command)
    def called(**given: Any) -> Any:
        options = {name: _single(given.pop(name)) for name in TASK}
        return command(**{place: made(options)}, **given)

    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:at], *added, *own[at + 1 :]]
    )
    return cast(Run, called)


def _asked(kind: Any) -> Any:
    """The type of an option: that of several values where it takes one or several."""
    value, option = get_args(kind)
    return Annotated[list[str] | None, option] if list[str] in get_args(value) else kind


def _single(value: Any) -> Any:
    """The one value of a list that has one alone, and nothing in place of none."""
    if not isinstance(value, list) or len(value) > 1:
        return value
    return value[0] if value else None


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


def found_here(name: str, directory: object) -> str:
    """A path that was given in another folder, as it leads to the same file from here.

    Args:
        name: A path as it was given, perhaps with ``:function`` behind it.
        directory: The folder that was the current one then; None where that is not known.

    Returns:
        The name itself, if there is such a file here or none there.

    Example:
        >>> found_here("t.py:make", None)
        't.py:make'
    """
    source, colon, function = name.rpartition(":")
    path = Path(source if colon else name)
    if not isinstance(directory, str) or path.exists() or not (Path(directory) / path).exists():
        return name
    return f"{Path(directory) / path}{colon}{function if colon else ''}"


def resume_command(command: str, place: Path, sources: Sequence[TaskSource], method: str | None = None) -> str:
    """The command that goes on with something here; code of a user is run only where it is named, so it is named.

    Example:
        >>> resume_command("learn", Path("my runs/a"), [TaskSource(task="t.py:make")])
        "evomal learn --resume 'my runs/a' --task t.py:make"
    """
    words = ["evomal", command, "--resume", str(place)]
    first, *others = sources
    if first.task is not None:
        words += ["--task", first.task]
    if any(other.task is not None for other in others):
        for other in others:
            words += ["--also", other.task or f"{other.dataset}/{other.model}"]
    return shlex.join(words if method is None else [*words, "--method", method])


def same_codes(before: Sequence[str], now: Sequence[str]) -> bool:
    """Whether tasks may be the same: data sets by name; what code makes is compared when it is made.

    Example:
        >>> same_codes(["t.py:make", "iris/mlp"], ["/home/me/t.py:make", "iris/mlp"])
        True
        >>> same_codes(["iris/mlp"], ["iris/linear"])
        False
    """
    return len(before) == len(now) and all(
        old == new or (":" in old and ":" in new) for old, new in zip(before, now, strict=True)
    )
