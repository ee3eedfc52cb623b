"""Nothing outlives a process that was killed: its workers end, and the next process removes its temporary folder."""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep

from evomal.foundation.errors import RunFolderError, StorageError
from evomal.foundation.files import LOCK, FolderLock

PREFIX = "evomal-workers-"
SUFFIX = ".joblib"
PAUSE = 0.5  # seconds between two looks at the parent


def end_with_parent(parent: int) -> None:
    """In a worker: end this process, whatever it is doing, soon after its parent is gone.

    A process whose parent dies gets another one. Windows keeps the number of the dead one, so there a worker ends only
    when it has nothing to do for a while.

    Args:
        parent: Process number of the parent. It was taken there: it may be gone before this is called.
    """
    if os.name == "posix":
        Thread(target=_watch, args=(parent,), name="evomal-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(PAUSE)
    os._exit(1)


def no_room(where: str, error: OSError) -> StorageError:
    """The error for a place that workers need and that cannot be written, ready to be raised.

    Example:
        >>> str(no_room("/tmp", OSError(28, "No space left on device")))[:42]
        "'/tmp' cannot be written (No space left on"
    """
    another = "" if where == "/dev/shm" else "name another one in TMPDIR, "
    return StorageError(
        f"'{where}' cannot be written ({error.strerror or error}), and several workers need it; make room there, "
        f"{another}or give `workers=1`"
    )


class TemporaryFolder:
    """A temporary folder that goes with its owner; making one removes those of dead owners.

    The owner holds a lock in it as long as it lives, and keeps nothing in it but files that end in ``SUFFIX``.

    Attributes:
        path: Where it is.

    Raises:
        StorageError: It cannot be made.

    Example:
        >>> folder = TemporaryFolder()
        >>> folder.path.is_dir()
        True
        >>> folder.close()
        >>> folder.path.exists()
        False
    """

    def __init__(self) -> None:
        where = "the temporary folder"
        try:
            where = tempfile.gettempdir()
            _remove_stale()
            while True:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
                # Another process that starts just now can lock and remove it, but only before we have locked it.
                with suppress(RunFolderError):
                    self._lock = FolderLock(self.path)
                    return
        except OSError as error:
            raise no_room(where, error) from error

    def close(self) -> None:
        """Remove it with all that is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_stale() -> None:
    """Remove the folders that this user's dead processes left; whatever is in doubt stays."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows: nobody can tell whether the owner lives
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # OSError: no lock file, its owner lives, or the file system knows no locks.
        with suppress(OSError):
            if not _private(folder):
                continue
            with (folder / LOCK).open("r+") as file:
                flock(file, LOCK_EX | LOCK_NB)
                if all(entry.name == LOCK or entry.suffix == SUFFIX for entry in folder.iterdir()):
                    shutil.rmtree(folder)


def _private(folder: Path) -> bool:
    """Whether it is a folder, no link, of this user."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
