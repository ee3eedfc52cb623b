"""Journals: plain records, one JSON object per line, appended as soon as they are known."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import storing
from evomal.foundation.plain_json import NotPlainError, read_json

JOURNAL, FINALS = "journal.jsonl", "finals.jsonl"
MAX_BYTES = 2_000_000_000  # a million candidates
CHUNK = 1 << 16


class Journal:
    """One JSON object per line, appended as soon as it is known.

    Args:
        path: The file. A last line that was torn while it was written is cut off first.

    Raises:
        StorageError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storing(path):
            self._file = path.open("a+b", buffering=0)  # nothing waits in a buffer when the disk is full
            self._cut_torn_line()

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; it is on the disk when this returns.

        Raises:
            StorageError: It cannot be written; the records before it are as they were.
        """
        line = memoryview((json.dumps(record, allow_nan=False) + "\n").encode())
        with storing(self._path):
            try:
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
            except OSError:
                with suppress(OSError):
                    self._cut_torn_line()
                raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut_torn_line(self) -> None:
        """Leave off what follows the last line break: the next record must not be written onto it."""
        end = place = self._file.seek(0, os.SEEK_END)
        while place > 0:
            start = max(place - CHUNK, 0)
            self._file.seek(start)
            found = self._file.read(place - start).rfind(b"\n")
            if found >= 0:
                place = start + found + 1
                break
            place = start
        if place < end:
            self._file.truncate(place)


def read_records(path: Path, ordered: bool = False) -> list[dict[str, Any]]:
    """The records of a file that `Journal` wrote, in their order; a torn last line is left out.

    Args:
        path: The file.
        ordered: Whether each line rests on those before, so that none can be taken out alone.

    Returns:
        A dictionary per line.

    Raises:
        RunFolderError: The file cannot be read, or one of its lines is damaged.
    """
    return [_record(path, number, line, ordered) for number, line in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file with their numbers, one at a time: journals may be longer than memory."""
    unreadable = RunFolderError(f"'{path.parent}' holds no readable {path.name}; give the folder of a run")
    left = MAX_BYTES  # a device may never end, so no more than enough is read
    try:
        with path.open("rb") as file:
            for number in count(1):
                line = file.readline(left + 1)
                left -= len(line)
                if left < 0:
                    raise RunFolderError(f"'{path}' has more than {MAX_BYTES:,} bytes; give the folder of a run")
                if number == 1:
                    line.decode()  # otherwise it is something else
                if not line.endswith(b"\n"):  # torn while it was written, or the end
                    return
                yield number, line
    except (OSError, UnicodeDecodeError):
        raise unreadable from None


def read_journal(folder: str | PathLike[str], as_written: bool = False, ordered: bool = False) -> list[dict[str, Any]]:
    """The records of a run, sorted by (generation, index); a torn last line is left out.

    Args:
        folder: A run folder.
        as_written: In the order of the lines instead, in which an asynchronous search went.
        ordered: Whether it is that of an asynchronous search, whose lines rest on those before.

    Returns:
        A dictionary per candidate.

    Raises:
        RunFolderError: There is no journal, or one of its lines is damaged.
    """
    path = Path(folder) / JOURNAL
    records = read_records(path, ordered)
    for number, record in enumerate(records, start=1):
        _require_place(path, number, record, ordered)
    return records if as_written else sorted(records, key=lambda record: (record["generation"], record["index"]))


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_SKIMMED = json.JSONDecoder(parse_constant=_refused)


def skim_journal(folder: str | PathLike[str]) -> Iterator[dict[str, Any]]:
    """The records of a run in the order of their lines, one at a time: for whoever keeps only some of them.

    Entries are read faster and checked less than by `read_journal`: what is kept is to be checked.

    Raises:
        RunFolderError: There is no journal, or one of its lines is damaged.
    """
    path = Path(folder) / JOURNAL
    for number, line in _lines(path):
        try:
            record = _SKIMMED.decode(line.decode())
        except (ValueError, RecursionError):
            raise damaged(path, number) from None
        if not isinstance(record, dict):
            raise damaged(path, number)
        _require_place(path, number, record)
        yield record


def _require_place(path: Path, number: int, record: dict[str, Any], ordered: bool = False) -> None:
    if not (isinstance(record.get("generation"), int) and isinstance(record.get("index"), int)):
        raise damaged(path, number, ordered)


def comparable(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without their times: two journals are equal when these are."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def _record(path: Path, number: int, line: bytes, ordered: bool) -> dict[str, Any]:
    try:
        record = read_json(line)
    except NotPlainError:
        record = None
    if not isinstance(record, dict):
        raise damaged(path, number, ordered)
    return record


def damaged(path: Path, number: int, ordered: bool = False) -> RunFolderError:
    """The error for a line that is no record, ready to be raised."""
    what = "that line and all that follow to go on with those before" if ordered else "that line to read the others"
    return RunFolderError(f"'{path}' is damaged in line {number}; delete {what}")
