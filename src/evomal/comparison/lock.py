"""One process at a time in a folder."""

from contextlib import suppress
from pathlib import Path

from evomal.errors import RunFolderError

LOCK = ".lock"


class FolderLock:
    """Keeps other processes out of a folder until it is released, or until this process ends in whatever way.

    Args:
        folder: The folder; it exists. A small file in it is what is locked.

    Raises:
        RunFolderError: Another process holds it.

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

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOCK).open("a")
        try:
            with suppress(ImportError):  # not on Windows
                from fcntl import LOCK_EX, LOCK_NB, flock

                flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RunFolderError(
                f"another evomal is at work in '{folder}'; wait until it ends, or give another --out"
            ) from None
        except OSError:  # a file system without locks
            return

    def release(self) -> None:
        """Let others in."""
        self._file.close()
