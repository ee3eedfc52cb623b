"""The journal of a training call: what it does and every training that is finished, beside the file of the results."""

import os
from pathlib import Path
from typing import Any

from evomal.comparison.train_call import MARK, VERSION, TrainCall
from evomal.comparison.training_rows import FinishedTraining, Key, read_trainings, training_record
from evomal.foundation.contexts import uninterrupted
from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import FolderLock, going_on
from evomal.store import Journal
from evomal.store.journal import damaged
from evomal.store.provenance import Origin
from evomal.training import TrainingRun

START = f'{{"format": "{MARK}"'.encode()


class TrainingJournal:
    """What a call of `evomal train` was and what of it is finished: a line each, written as soon as it is known.

    The first line says what the call does. A call that goes on with more seeds, say, adds a line that says so. Nobody
    else may write here until `close`.

    Args:
        out: Where the results go: a JSON file, or a folder for ``train.json``; a name without a dot is a folder's.

    Attributes:
        out: The file of the results.
        path: The journal.

    Example:
        >>> TrainingJournal(Path("results/r.json")).path.name
        'r.trainings.jsonl'
    """

    def __init__(self, out: Path) -> None:
        self._in_folder = out.is_dir() or not (out.suffix or out.exists())
        self.out = out / "train.json" if self._in_folder else out
        self.path = self.out.with_name(f"{self.out.stem}.trainings.jsonl")
        self._calls: list[TrainCall] = []
        self._done: dict[Key, FinishedTraining] = {}
        self._lock: FolderLock | None = None
        self._journal: Journal | None = None

    @property
    def remedy(self) -> str:
        """How a call that was stopped goes on."""
        return f"go on with `resume={str(self.out)!r}`"

    @property
    def finished(self) -> int:
        """How many of the call's trainings are finished."""
        return sum(key in self._done for key in self._calls[-1].trainings) if self._calls else 0

    @property
    def all_trainings(self) -> int:
        """How many trainings the call has."""
        return len(self._calls[-1].trainings) if self._calls else 0

    def runs(self) -> dict[Key, TrainingRun]:
        """What is finished, by loss, rate and seed."""
        return {key: trained.run for key, trained in self._done.items()}

    def notes(self) -> list[str]:
        """Remarks, one sentence each: versions under which parts were finished, if others than those of now."""
        *earlier, now = (call.versions for call in self._calls)
        return list(dict.fromkeys(Origin(versions=now, earlier=tuple(earlier)).changes()))

    def require_free(self, force: bool) -> None:
        """Make sure that no finished training would be lost unless that is wanted.

        Raises:
            RunFolderError: There is one whose results are not in the file of the results, or another process is at
                work, or what lies here is somebody else's file.
        """
        if not self.path.exists():
            return
        if self._lock is None:
            self._take()
        if force:
            return
        self._calls, self._done = read_calls(self.path)
        left = self.all_trainings - self.finished
        if self._done and (left or not self.out.exists()):
            an = "an interrupted" if left else "an earlier"
            code = self._calls[-1].options.get("task")
            named = "" if code is None else f" and `task={str(code)!r}`"
            raise RunFolderError(
                f"'{self.path}' holds {len(self._done)} finished trainings of {an} call; go on with "
                f"`resume={str(self.out)!r}`{named}, or start anew with `force=True`"
            )

    def begin(self, call: TrainCall, force: bool) -> None:
        """Start anew; with `force`, whatever trainings lie here go now.

        Raises:
            RunFolderError: `require_free` refuses, or nothing can be written.
        """
        self.require_free(force)  # another process may have been here in the meantime
        if self._lock is None:
            self._take()
        try:
            os.truncate(self.path, 0)
        except OSError as error:
            raise self._unwritable(error) from None
        self._calls, self._done = [], {}
        self.go_on(call)

    def reopen(self) -> TrainCall:
        """Take what lies here, to go on with it.

        Returns:
            The call, with all that was added to it.

        Raises:
            RunFolderError: Nothing lies here, it is damaged, or another process is at work.
        """
        if not self.path.is_file():
            raise RunFolderError(
                f"'{self.out}' has no trainings to go on with ('{self.path}' is missing); start with "
                f"`out={str(self.out)!r}`"
            )
        self._take()
        self._calls, self._done = read_calls(self.path)
        if not self._calls:
            raise RunFolderError(
                f"'{self.path}' was torn before it said what is trained; start with `out={str(self.out)!r}`"
            )
        return self._calls[-1]

    def go_on(self, call: TrainCall) -> None:
        """Write from now on; what the call does is written down where it differs from what stands there."""
        said = {"command": call.command, "given": call.given}
        before = [each.model_copy(update=said) for each in self._calls[-1:]]
        with going_on(self.remedy):
            self._journal = Journal(self.path)
            if before != [call]:
                self._journal.write(call.as_record())
                self._calls.append(call)

    def write(self, loss: str, trained: FinishedTraining) -> None:
        """Write down a finished training; it is on the disk when this returns.

        Raises:
            StorageError: It cannot be written; those before are as they were.
        """
        assert self._journal is not None
        with (
            going_on(self.remedy),
            uninterrupted(),
        ):  # a Ctrl-C in between would call a training unfinished that is on the disk
            self._journal.write(training_record(loss, trained))
            self._done[loss, trained.run.lr, trained.run.seed] = trained

    def close(self) -> None:
        """Let other processes in; what is written stays."""
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.release()
        self._journal = self._lock = None

    def _take(self) -> None:
        require_ours(self.path)
        try:
            if self._in_folder:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path.parent, name=self.path.name)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> RunFolderError:
        return RunFolderError(f"'{self.path}' cannot be written ({error.strerror}); give another `out`")


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


def read_calls(path: Path) -> tuple[list[TrainCall], dict[Key, FinishedTraining]]:
    """What a journal says; nothing if there is none, or if not even its first line is whole.

    Returns:
        The call that began it and those that went on otherwise; and every finished training by loss, rate and seed.

    Raises:
        RunFolderError: A line is damaged, or from a later version.
    """
    require_ours(path)
    calls: list[TrainCall] = []

    def is_call(number: int, record: dict[str, Any]) -> bool:
        if "format" in record:
            calls.append(_call(path, number, record))
        return "format" in record

    try:
        return calls, read_trainings(path, is_call)
    except RunFolderError as error:
        if not calls and str(error) == str(damaged(path, 1)):  # nothing could be read without this line
            raise _not_said(path, 1, "it is not complete, valid JSON") from None
        raise


def _call(path: Path, number: int, record: dict[str, Any]) -> TrainCall:
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
