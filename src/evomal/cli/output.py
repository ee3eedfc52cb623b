"""What commands print: one JSON document, lines for people, and remarks on standard error."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from evomal.foundation.errors import SettingError
from evomal.foundation.serialization import cleaned

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


def say(line: str) -> None:
    """One line on standard error."""
    print(f"evomal: {line}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""A message without line breaks, and without anything that a terminal would obey.

    Example:
        >>> printable("first\n  second \x1b[31m")
        'first second ?[31m'
    """
    return cleaned(" ".join(part.strip() for part in text.splitlines() if part.strip()))


def print_json(document: Any) -> None:
    """One JSON document on standard output; numbers that are not finite become null."""
    print(as_json_text(document))


def as_json_text(document: Any) -> str:
    """Plain values as JSON; numbers that are not finite become null."""
    return json.dumps(finite(document), indent=2, allow_nan=False)


def finite(value: Any) -> Any:
    """A copy of plain values in which numbers that are not finite are None.

    Example:
        >>> finite({"mean": float("nan"), "runs": (1.0, float("inf"))})
        {'mean': None, 'runs': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(name): finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def warn_of_workers(workers: int) -> None:
    """Say so if there are more workers than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > cores:
        say(f"warning: {workers} workers share {cores} cores; more than {cores} gain nothing")


def require_free(path: Path, name: str, force: bool) -> Path:
    """The file that `--out` stands for, a folder meaning the file `name` in it, once it may be written.

    Raises:
        SettingError: It exists and `force` is not set, or its folder cannot be written.
    """
    file = path / name if path.is_dir() else path
    if file.exists() and not force:
        raise SettingError(f"'{file}' exists; give another --out, or --force to replace it")
    try:  # hours of training are not to end with a folder that cannot be made
        file.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(file.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise SettingError(f"'{file}' cannot be written; give another --out")
    return file
