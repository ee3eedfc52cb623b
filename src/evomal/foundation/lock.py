"""One process at a time in a folder."""

from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from evomal.foundation.errors import RunFolderError

LOCK = ".lock"
PAUSE = 0.05  # seconds between two looks


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
