"""Files that are complete or not there at all, and one process at a time in a folder."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep

from evomal.foundation.errors import RunFolderError, SettingError, StorageError

LOCK = ".lock"
LOSS, LEARNED = "loss.json", "learned.json"
"""In a run folder: what its verdict names, and the best learned loss where that is another one."""
PAUSE = 0.05  # seconds between two looks
GO_ON, AGAIN = "go on with `resume=True`", "do the same again"
"""What to do once there is room: where a run is resumed by name, and where the same call goes on by itself."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it, so that nobody ever sees half of it.

    Args:
        path: The file; one that exists is replaced, folders that lack are made.
        content: Its new content; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device, which must stay one
        _write(os.open(path, os.O_WRONLY), content, sync=False)
        return
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    # The system gives it the rights that the user's umask leaves.
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write(handle, content)
        with suppress(FileNotFoundError, PermissionError):  # what is replaced may have had others
            os.chmod(beside, stat.S_IMODE(path.stat().st_mode))
        try:
            os.replace(beside, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # The file is a mount point (a container's volume), which can be written but not replaced.
            _write(os.open(path, os.O_WRONLY | os.O_TRUNC), content)
            os.unlink(beside)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _write(handle: int, content: str | bytes, sync: bool = True) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def require_writable(path: Path) -> None:
    """Make sure, by writing beside it, that a file can be written; the folders that lack are made.

    Rights alone do not tell: a file system may be read-only, or know no files of ours.

    Raises:
        OSError: It cannot.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     require_writable(Path(folder) / "results" / "r.json")
        ...     [entry.name for entry in Path(folder).rglob("*")]
        ['results']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tried = path.with_name(f".{path.name}.{token_hex(4)}")
    os.close(os.open(tried, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    tried.unlink()


def require_free(path: Path, name: str, force: bool) -> Path:
    """The file that `out` stands for, a folder meaning the file `name` in it, once it may be written.

    Raises:
        SettingError: It exists and `force` is not set, or its folder cannot be written.
    """
    try:  # hours of training are not to end with a file that cannot be made
        file = path / name if path.is_dir() else path
        exists = file.exists()
        if exists and not force:
            raise SettingError(f"'{file}' exists; give another `out`, or `force=True` to replace it")
        if not exists or file.is_file():
            require_writable(file)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"'{path}' cannot be written ({reason}); give another `out`") from None
    return file


def _settle(folder: Path) -> None:
    """Make a renaming outlast a failure of power, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def storing(path: Path, then: str = GO_ON) -> Iterator[None]:
    """Say in one sentence what became of a file that could not be written in the middle of a run.

    Args:
        path: The file.
        then: What to do once there is room.

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
            f"'{path}' cannot be written ({error.strerror or error}); what is finished is kept: make room there", then
        ) from None


@contextmanager
def going_on(then: str) -> Iterator[None]:
    """Within it, errors of runs say what to do where they are but parts of something that is resumed otherwise.

    Example:
        >>> try:
        ...     with going_on(AGAIN), storing(Path("c/trainings.jsonl")):
        ...         raise OSError(28, "No space left on device")
        ... except StorageError as error:
        ...     print(str(error).partition(": ")[2])
        make room there, then do the same again
    """
    try:
        yield
    except StorageError as error:
        if error.then is not None:
            error.then = then
        raise


class FolderLock:
    """Keeps other processes out of a folder until it is released, or until this process ends in whatever way.

    The system holds the lock for the open file, so a dead owner holds none; the file itself says nothing and stays.

    Args:
        folder: The folder; it exists. A small file in it is what is locked.
        patience: Seconds to wait for whoever holds it.
        name: A file in it, made if it lacks: then only this file is locked, and others may work in the folder.

    Raises:
        RunFolderError: Another process holds it.
        OSError: The file cannot be made.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     first = FolderLock(Path(folder))
        ...     try:
        ...         second = FolderLock(Path(folder))
        ...     except RunFolderError as error:
        ...         print(str(error).partition(" at work")[0])
        ...     first.release()
        another evomal is
    """

    def __init__(self, folder: Path, patience: float = 0.0, name: str = LOCK) -> None:
        self._file = (folder / name).open("a")
        place = folder if name == LOCK else folder / name
        until = monotonic() + patience
        while not self._taken():
            if monotonic() >= until:
                self._file.close()
                raise RunFolderError(
                    f"another evomal is at work in '{place}'; wait until it ends, or give another `out`"
                ) from None
            sleep(PAUSE)

    def _taken(self) -> bool:
        try:
            with suppress(ImportError):  # not on Windows
                from fcntl import LOCK_EX, LOCK_NB, flock

                flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def release(self) -> None:
        """Let others in."""
        self._file.close()
