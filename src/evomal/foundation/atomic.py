"""Files that are complete or not there at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evomal.foundation.errors import StorageError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it, so that nobody ever sees half of it.

    Args:
        path: The file; one that exists is replaced, folders that lack are made.
        content: Its new content; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Make a renaming outlast a failure of power, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Say in one sentence what became of a file that could not be written in the middle of a run.

    Raises:
        StorageError: The system refused.

    Example:
        >>> try:
        ...     with storing(Path("runs/a/journal.jsonl")):
        ...         raise OSError(28, "No space left on device")
        ... except StorageError as error:
        ...     print(str(error).partition(";")[0])
        'runs/a/journal.jsonl' cannot be written (No space left on device)
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"'{path}' cannot be written ({error.strerror or error}); what is finished is kept: make room there, then "
            "go on with --resume"
        ) from None
