"""How a run or a call is gone on with: where its files are now, and the command that works as it stands."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from evomal.cli.source import TaskSource


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
