"""The run folder: settings, journal, checkpoints and best loss of one search."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from evomal.foundation.contexts import uninterrupted
from evomal.foundation.errors import RunFolderError, StorageError
from evomal.foundation.files import GO_ON, LEARNED, LOCK, LOSS, FolderLock, write_atomically
from evomal.store import placing
from evomal.store.checkpoint import Checkpoints
from evomal.store.config import CONFIG, FORMAT, VERSION, read_config
from evomal.store.journal import FINALS, JOURNAL, Journal, read_journal, read_records
from evomal.store.placing import bring_back, clear_torn, make_beside, replaced, sweep


class RunFolder:
    """A folder that a search writes into, and no other process until it ends.

    The settings are written first, into a folder beside the final one; `begin` puts it in its place when everything
    has been probed. An older run that is replaced waits beside until the new one has its first record. So bad input
    and an early end leave everything as it was.

    Args:
        path: Where the run shall lie.
        force: Replace a run that lies there.
        resume: Go on with the run that lies there.
        patience: Seconds to wait for another process that is at work there.

    Attributes:
        config: What is known of the run as plain values.
        resumed: Whether it goes on with an earlier one.
        kept: Whether it stays, as there is something to show.

    Raises:
        RunFolderError: The path is a file, cannot be written, or holds something and neither `force` nor `resume` is
            set; with `resume`, it holds no run; another process is at work there.
    """

    def __init__(
        self, path: str | PathLike[str], force: bool = False, resume: bool = False, patience: float = 0.0
    ) -> None:
        self.path = Path(path)
        self.config: dict[str, Any] = {}
        self.resumed = self.kept = resume
        self._force = force
        try:
            whole = self.path.resolve()
            self.path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links, a NUL
            raise RunFolderError(f"'{path}' cannot be a run folder ({error}); give another `out`") from None
        try:
            here = Path.cwd()
        except FileNotFoundError:
            raise RunFolderError(
                f"'{path}' cannot be used (the current folder was removed); go to another one"
            ) from None
        if here.is_relative_to(whole) and not resume:
            raise RunFolderError(f"'{path}' is or holds the current folder; give a folder of its own for `out`")
        self._place = whole  # what a link points to, as the link stays
        self._beside: Path | None = None
        self._older: Path | None = None
        self._begun = False
        self._mounted = False  # it cannot be renamed
        self._made: list[Path] = []
        self._locks: list[FolderLock] = []
        self._closed: RunFolderError | None = None
        self._records: list[dict[str, Any]] | None = None  # read already, for whoever asks first
        bring_back(whole)
        try:
            if resume:
                self._reopen(patience)
            else:
                self._check()
        except OSError as error:
            self.discard()
            raise RunFolderError(f"'{path}' cannot be read ({error.strerror}); give another folder") from None

    def _check(self) -> None:
        """Refuse a place that holds something which is not to be replaced."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"'{self.path}' is a file; give a folder for `out`")
        if self.path.is_dir() and placing.entries(self.path):
            if not self._force:
                raise RunFolderError(
                    f"'{self.path}' already holds a run; go on with it by `resume=True`, give another `out`, or "
                    "`force=True` to replace it"
                )
            if not (self.path / CONFIG).is_file():
                raise RunFolderError(f"'{self.path}' holds files that are not a run; give another folder for `out`")
            if (self.path / LOCK).exists():
                FolderLock(self.path).release()

    def _reopen(self, patience: float) -> None:
        if not self.path.is_dir() or not placing.entries(self.path):
            raise RunFolderError(f"'{self.path}' holds no run to go on with; start one with `out={str(self.path)!r}`")
        try:
            self._locks.append(FolderLock(self.path, patience))
        except OSError as error:  # of a finished run the result can be told all the same
            self._closed = self._unwritable(error)
        try:
            self.config = read_config(self.path)
            if self._locks:
                clear_torn(self._place)
                self._records = self.records()
                if self._records:
                    sweep(self._place)
        except RunFolderError:
            self.discard()
            raise

    @contextmanager
    def closed_if_refused(self) -> Iterator[None]:
        """A block in which any error lets other processes in."""
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def require_writable(self) -> None:
        """Make sure that a run that goes on can be written into.

        Raises:
            RunFolderError: It lies in a folder that is read-only.
        """
        if self._closed is not None:
            raise self._closed

    def require_there(self) -> None:
        """Make sure that nobody has taken the folder away: nothing is made anew that would look like a run.

        Raises:
            StorageError: It is gone.
        """
        if not (self._place / CONFIG).exists():
            raise StorageError(f"'{self._place}' cannot be written (it was taken away); put it back", GO_ON)

    def prepare(self, config: dict[str, Any]) -> None:
        """Write the resolved settings into the folder beside."""
        self.config = {"format": FORMAT, "version": VERSION, **config}
        try:
            parent = self._place.parent
            self._made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            self._beside = make_beside(self._place)
            self._locks.append(FolderLock(self._beside))
            self._write_config(self._beside)
        except OSError as error:
            self.discard()
            raise self._unwritable(error) from None

    def describe(self, entries: dict[str, Any]) -> None:
        """Add to what is known of the run, or change it.

        Args:
            entries: Plain values; they take the place of those of the same name.

        Raises:
            RunFolderError: It cannot be written.
        """
        if entries.items() <= self.config.items():
            return
        self.config |= entries
        try:
            self._write_config(self._beside or self._place)
        except OSError as error:
            raise self._unwritable(error) from None

    def begin(self) -> None:
        """Put the prepared folder in its place; what lies there waits beside until `keep`.

        Raises:
            RunFolderError: Another run has taken the place in the meantime.
        """
        if self.resumed:
            return
        assert self._beside is not None
        self._check()
        try:
            with uninterrupted():
                self._exchange(self._beside)
        except OSError as error:
            raise self._unwritable(error) from None

    def _exchange(self, beside: Path) -> None:
        if self._place.exists():
            self._locks.append(FolderLock(self._place))
            older = replaced(beside)
            if beside.parent == self._place or not placing.renamed(self._place, older):
                older_within = placing.put_aside(self._place)
                self._mounted = self._begun = True
                self._older = older_within
                placing.move_in(beside, self._place)
                return
            self._older = older
        beside.rename(self._place)
        self._begun = True

    def keep(self) -> None:
        """The run has something to show: the older one can go, and so can what killed calls left beside it."""
        self.kept, self._begun, self._beside, self._older = True, False, None, None
        sweep(self._place)

    def discard(self) -> None:
        """Leave everything as it was, if the run ended before `keep`; let other processes in."""
        begun, older, beside = self._begun, self._older, self._beside
        self._begun, self._older, self._beside = False, None, None  # a second call finds nothing to do
        if begun and self._mounted:
            placing.clear(self._place)
            shutil.rmtree(beside or "", ignore_errors=True)
        elif begun:
            shutil.rmtree(self._place, ignore_errors=True)
        elif beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        if older is not None and self._mounted:
            placing.put_back(older, self._place)
        elif older is not None:
            older.rename(self._place)
        elif begun and self._mounted:
            placing.remove_lock(self._place)
        with suppress(OSError):  # a folder that holds something stays, and so do those above it
            for folder in self._made:
                folder.rmdir()
        while self._locks:
            self._locks.pop().release()

    @property
    def loss(self) -> Path:
        """The best loss so far; of a run with finals, that which the verdict names."""
        return self.path / LOSS

    @property
    def learned(self) -> Path:
        """The best learned loss, after finals."""
        return self.path / LEARNED

    @property
    def checkpoints(self) -> Checkpoints:
        """Where the run stands."""
        return Checkpoints(self._place)

    def journal(self) -> Journal:
        """The journal, open for appending."""
        return Journal(self._place / JOURNAL)

    def records(self) -> list[dict[str, Any]]:
        """What the journal holds, as it was written; nothing before the first record.

        Raises:
            RunFolderError: A line is damaged.
        """
        found, self._records = self._records, None
        if found is not None:
            return found
        if not (self.path / JOURNAL).exists():
            return []
        genetic = (self.config.get("settings") or {}).get("genetic") or {}
        return read_journal(self.path, as_written=True, ordered=bool(genetic.get("asynchronous")))

    def finals_journal(self) -> Journal:
        """The journal of finals, open for appending."""
        return Journal(self._place / FINALS)

    def finals_records(self) -> list[dict[str, Any]]:
        """What the journal of finals holds; nothing before the first record.

        Raises:
            RunFolderError: A line is damaged.
        """
        return read_records(self.path / FINALS) if (self.path / FINALS).exists() else []

    def _write_config(self, folder: Path) -> None:
        plain = json.loads(json.dumps(self.config))  # nothing is there twice, so there are no anchors
        write_atomically(folder / CONFIG, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    def _unwritable(self, error: OSError) -> RunFolderError:
        remedy = "make it writable, or go on with a copy of it" if self.resumed else "give another `out`"
        return RunFolderError(f"'{self.path}' cannot be written ({error.strerror}); {remedy}")
