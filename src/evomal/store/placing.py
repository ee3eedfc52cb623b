"""How a run folder comes to its place, and what calls that were killed left of that.

Where a folder cannot be renamed, as it is the mount point of a volume, or lies in a folder of others, a run is put in
place file by file. What lies in the place then waits in a hidden folder within it; a place without ``config.yaml`` in
which such a folder waits is one whose exchange was killed, and is put back.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import LOCK, FolderLock
from evomal.store.checkpoint import CHECKPOINT, NEXT
from evomal.store.config import CONFIG

STARTING, REPLACED = "starting", "replaced"
WRITTEN = (".loss.json.", ".learned.json.", ".config.yaml.", ".asked.json.", f".{NEXT}.")
"""How `evomal.foundation.files.write_atomically` calls files of a run until they are complete."""
WITHIN, ASIDE = ".evomal-starting-", ".evomal-replaced-"
FIXED = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says of a folder that cannot be renamed, or beside which nothing can be made."""
NOT_OURS = {LOCK, "lost+found"}
"""What may lie in an empty place, the second at the top of a file system."""


def make_beside(place: Path) -> Path:
    """A new folder beside a place, hidden, for a run that is about to start there; or within, if none can be beside."""
    beside = place.with_name(f".{_stem(place)}.{STARTING}-{token_hex(4)}")
    try:
        beside.mkdir()  # with the rights that the user's umask leaves
    except OSError as error:
        if error.errno not in FIXED or not place.is_dir():
            raise
        return make_within(place)
    return beside


def replaced(beside: Path) -> Path:
    """Where the run that lies in the place waits until the one that was made beside it has something to show."""
    return beside.with_name(beside.name.replace(f".{STARTING}-", f".{REPLACED}-"))


def sweep(place: Path) -> None:
    """Remove what killed calls left beside a run that has something to show; what another process works on stays."""
    for kind in (STARTING, REPLACED):
        for left in place.parent.glob(f".{_escaped(_stem(place))}.{kind}-*"):
            if kind == REPLACED or _is_idle(left):
                shutil.rmtree(left, ignore_errors=True)
    sweep_within(place)


def bring_back(place: Path) -> None:
    """Put a run back that was moved away to be replaced by one that was killed before it came."""
    with suppress(OSError):  # a place that cannot be looked into is told of by whoever wants to use it
        for left in [] if place.exists() else place.parent.glob(f".{_escaped(_stem(place))}.{REPLACED}-*"):
            if _is_idle(left):
                left.rename(place)
                return
        if place.is_dir():
            bring_back_within(place)


def clear_torn(folder: Path) -> None:
    """Remove files that were being written when a call was killed."""
    with suppress(OSError):  # a folder that is read-only; they do no harm
        for inner in (folder, folder / CHECKPOINT):
            for left in inner.glob(".*.*"):
                if left.name.startswith(WRITTEN) and left.is_file():
                    left.unlink(missing_ok=True)
        (folder / CHECKPOINT / NEXT).unlink(missing_ok=True)


def _stem(place: Path) -> str:
    """The name of a place, short enough to be a part of another; a long one ends in what tells it from its like."""
    name = place.name
    return name if len(name) <= 100 else f"{name[:87]}-{sha256(name.encode()).hexdigest()[:12]}"


def _is_idle(folder: Path) -> bool:
    try:
        FolderLock(folder).release()
    except (OSError, RunFolderError):
        return False
    return True


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def make_within(place: Path) -> Path:
    """A new folder within a place, hidden, for a run that is about to start there."""
    within = place / f"{WITHIN}{token_hex(4)}"
    within.mkdir()
    return within


def entries(folder: Path) -> list[Path]:
    """What lies in a run's place, but for the lock and for what is hidden here; ``config.yaml`` comes last."""
    found = [
        each for each in folder.iterdir() if each.name not in NOT_OURS and not each.name.startswith((WITHIN, ASIDE))
    ]
    return sorted(found, key=lambda each: (each.name == CONFIG, each.name))


def renamed(place: Path, other: Path) -> bool:
    """Rename a folder; False if it is one that cannot be renamed.

    Raises:
        OSError: It fails for another reason.
    """
    try:
        place.rename(other)
    except OSError as error:
        if error.errno not in FIXED:
            raise
        return False
    return True


def put_aside(place: Path) -> Path | None:
    """Move what lies in a place into a hidden folder within it, or nothing if that fails; None for an empty place."""
    old = entries(place)
    if not old:
        return None
    aside = place / f"{ASIDE}{token_hex(4)}"
    aside.mkdir()
    try:
        for each in reversed(old):  # without config.yaml from the first moment
            each.rename(aside / each.name)
    except BaseException:
        put_back(aside, place)
        raise
    return aside


def put_back(aside: Path, place: Path) -> None:
    """Move back what was put aside; what is there by the same name was of the run that did not come."""
    for each in entries(aside):
        there = place / each.name
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)
        each.rename(there)
    aside.rmdir()


def move_in(folder: Path, place: Path) -> None:
    """Put a run that was made elsewhere, perhaps on another file system, in its place; its config.yaml comes last."""
    for each in entries(folder):
        shutil.move(each, place / each.name)
    shutil.rmtree(folder)


def clear(place: Path) -> None:
    """Remove a run from its place."""
    for each in reversed(entries(place)):  # no run from the first moment
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def remove_lock(place: Path) -> None:
    """Leave an empty place as empty as it was."""
    with suppress(OSError):
        if [each.name for each in place.iterdir()] == [LOCK]:
            os.unlink(place / LOCK)


def sweep_within(place: Path) -> None:
    """Remove what killed calls left within a run that has something to show; whoever asks has its lock."""
    for left in _left(place, ASIDE):
        shutil.rmtree(left, ignore_errors=True)
    for left in _left(place, WITHIN):
        with suppress(OSError, RunFolderError):
            FolderLock(left).release()
            shutil.rmtree(left, ignore_errors=True)


def bring_back_within(place: Path) -> None:
    """Put back what a killed exchange left aside."""
    if (place / CONFIG).exists():
        return
    for aside in _left(place, ASIDE):
        with suppress(OSError, RunFolderError):  # another process is at work there, or nothing can be written
            lock = FolderLock(place)
            try:
                put_back(aside, place)
            finally:
                lock.release()


def _left(place: Path, kind: str) -> Iterator[Path]:
    with suppress(OSError):
        yield from [each for each in place.iterdir() if each.name.startswith(kind)]
