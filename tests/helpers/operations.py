"""Operations on files, counted as they are done, so that something can happen at any of them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evomal.store.journal import Journal

NAMES = ("replace", "rename", "fsync", "mkdir", "rmdir", "unlink", "chmod")
WRITES = ("write", "append")  # a file that is new, the journal


class Point:
    """What happens at the operations; nothing by itself.

    Attributes:
        seen: The operations so far: name and the name of the file or folder.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def before(self, name: str, what: str, some: Callable[[], Any]) -> None:
        """An operation comes; `some` does half of a write."""
        self.seen.append((name, what))

    def after(self) -> None:
        """It is done."""


class Crash(Point):
    """The process dies at one of the operations.

    Args:
        number: Which one, from 0.
        where: ``before``, ``within`` (a write: half of the bytes are there) or ``after``.
    """

    def __init__(self, number: int, where: str) -> None:
        super().__init__()
        self._number, self._where = number, where

    def before(self, name: str, what: str, some: Callable[[], Any]) -> None:
        super().before(name, what, some)
        if len(self.seen) == self._number + 1 and self._where != "after":
            if self._where == "within":
                some()
            os._exit(9)

    def after(self) -> None:
        if len(self.seen) == self._number + 1:
            os._exit(9)


class Full(Point):
    """The disk is full from one of the operations on, or for that one only.

    Args:
        number: Which one, from 0.
        within: Half of a write is done before it fails.
        lasting: All later writes fail as well.
    """

    def __init__(self, number: int, within: bool = False, lasting: bool = True) -> None:
        super().__init__()
        self._number, self._within, self._lasting = number, within, lasting

    def before(self, name: str, what: str, some: Callable[[], Any]) -> None:
        super().before(name, what, some)
        now = len(self.seen) - 1
        takes_room = name in (*WRITES, "fsync", "mkdir")
        if now == self._number or (self._lasting and now > self._number and takes_room):
            if self._within:
                some()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def install(point: Point, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Have a point told of all operations on files from now on.

    Args:
        point: The point.
        replace: How an attribute is replaced; `monkeypatch.setattr` undoes it later.
    """
    for name in NAMES:
        replace(os, name, _counted(point, name, getattr(os, name)))
    fdopen, opened = os.fdopen, Journal.__init__

    def open_text(*arguments: Any, **options: Any) -> Any:
        return _File(fdopen(*arguments, **options), point, "write")

    def open_journal(self: Journal, path: Path) -> None:
        opened(self, path)
        self._file = _File(self._file, point, "append")  # type: ignore[assignment]

    replace(os, "fdopen", open_text)
    replace(Journal, "__init__", open_journal)


def _counted(point: Point, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **options: Any) -> Any:
        what = arguments[-1] if name in ("replace", "rename") else arguments[0]
        point.before(name, "" if isinstance(what, int) else Path(what).name, lambda: None)
        result = function(*arguments, **options)
        point.after()
        return result

    return called


class _File:
    """A file whose writes are counted."""

    def __init__(self, file: Any, point: Point, name: str) -> None:
        self._file, self._point, self._name = file, point, name

    def write(self, data: Any) -> int:
        """Write; within it, half of the data is there."""

        def some() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._point.before(self._name, "", some)
        count = self._file.write(data)
        self._point.after()
        return int(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
