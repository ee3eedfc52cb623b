"""Journals: plain records, one JSON object per line, appended as soon as they are known."""

import json
import os
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.foundation.atomic import storing
from evomal.foundation.errors import RunFolderError
from evomal.foundation.plain_json import NotPlainError, read_json

JOURNAL, FINALS = "journal.jsonl", "finals.jsonl"
MAX_BYTES = 2_000_000_000  # a million candidates


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
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._file.truncate(whole)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file that `Journal` wrote, in their order; a torn last line is left out.

    Args:
        path: The file.

    Returns:
        A dictionary per line.

    Raises:
        RunFolderError: The file cannot be read, or one of its lines is damaged.
    """
    try:
        with path.open("rb") as file:  # a device may never end, so no more than enough is read
            data = file.read(MAX_BYTES + 1)
        lines = data.decode().split("\n")
    except (OSError, UnicodeDecodeError):
        raise RunFolderError(f"'{path.parent}' holds no readable {path.name}; give the folder of a run") from None
    if len(data) > MAX_BYTES:
        raise RunFolderError(f"'{path}' has more than {MAX_BYTES:,} bytes; give the folder of a run")
    # What follows the last line break was torn while it was written.
    return [_record(path, number, line) for number, line in enumerate(lines[:-1], start=1)]


def read_journal(folder: str | PathLike[str]) -> list[dict[str, Any]]:
    """The records of a run, sorted by (generation, index); a torn last line is left out.

    Args:
        folder: A run folder.

    Returns:
        A dictionary per candidate.

    Raises:
        RunFolderError: There is no journal, or one of its lines is damaged.
    """
    path = Path(folder) / JOURNAL
    records = read_records(path)
    for number, record in enumerate(records, start=1):
        if not (isinstance(record.get("generation"), int) and isinstance(record.get("index"), int)):
            raise damaged(path, number)
    return sorted(records, key=lambda record: (record["generation"], record["index"]))


def comparable(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without their times: two journals are equal when these are."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = read_json(line)
    except NotPlainError:
        record = None
    if not isinstance(record, dict):
        raise damaged(path, number)
    return record


def damaged(path: Path, number: int) -> RunFolderError:
    """The error for a line that is no record, ready to be raised."""
    return RunFolderError(f"'{path}' is damaged in line {number}; delete that line to read the others")
