"""The lines of a journal of `evomal train`, read as data: calls, and trainings that are finished."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomal.comparison.records import Trained, read_training
from evomal.comparison.train_call import MARK, VERSION, TrainCall
from evomal.foundation.errors import RunFolderError
from evomal.store import read_records
from evomal.store.journal import damaged

START = f'{{"format": "{MARK}"'.encode()

Finished = dict[tuple[str, float, int], Trained]


def require_ours(path: Path) -> None:
    """Refuse a file that is no journal of `evomal train`; one that was torn in its first line is.

    Raises:
        RunFolderError: It is somebody else's, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(START))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read ({error.strerror}); give another `out`") from None
    if not START.startswith(start):
        raise RunFolderError(f"'{path}' is no journal of evomal train; move it away, or give another `out`")


def read_trainings(path: Path) -> tuple[list[TrainCall], Finished]:
    """What a journal says; nothing if there is none, or if not even its first line is whole.

    Returns:
        The call that began it and those that went on otherwise; and every finished training by loss, rate and seed.

    Raises:
        RunFolderError: A line is damaged, or from a later version.
    """
    require_ours(path)
    calls: list[TrainCall] = []
    finished: Finished = {}
    for number, record in enumerate(_records(path), start=1):
        if "format" in record:
            calls.append(_call(path, number, record))
            continue
        try:
            key, trained = read_training(record)
        except ValueError:
            raise damaged(path, number) from None
        finished[key] = trained
    return calls, finished


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return read_records(path)
    except RunFolderError as error:
        if str(error) == str(damaged(path, 1)):  # nothing could be read without this line
            raise _not_said(path, 1, "it is not complete, valid JSON") from None
        raise


def _call(path: Path, number: int, record: Mapping[str, Any]) -> TrainCall:
    version = record.get("version")
    if type(version) is int and version > VERSION:
        raise RunFolderError(
            f"'{path}' comes from the future (version {version}; this evomal reads {VERSION}); update evomal"
        )
    try:
        if record["format"] != MARK or version != VERSION or isinstance(version, bool):
            raise ValueError(f"it is not of format {MARK}, version {VERSION}")
        return TrainCall.from_record(record)
    except ValueError as error:
        raise _not_said(path, number, str(error)) from None


def _not_said(path: Path, number: int, why: str) -> RunFolderError:
    return RunFolderError(
        f"'{path}' is damaged in line {number}, which says what was trained ({why}); start anew with `force=True`"
    )
