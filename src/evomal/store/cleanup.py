"""What calls that were killed left beside a run folder."""

import shutil
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from evomal.foundation.errors import RunFolderError
from evomal.foundation.lock import FolderLock
from evomal.store import mounted
from evomal.store.checkpoint import CHECKPOINT, NEXT

STARTING, REPLACED = "starting", "replaced"
WRITTEN = (".loss.json.", ".learned.json.", ".config.yaml.", ".asked.json.", f".{NEXT}.")
"""How `evomal.foundation.atomic.write_atomically` calls files of a run until they are complete."""


def make_beside(place: Path) -> Path:
    """A new folder beside a place, hidden, for a run that is about to start there; or within, if none can be beside."""
    beside = place.with_name(f".{_stem(place)}.{STARTING}-{token_hex(4)}")
    try:
        beside.mkdir()  # with the rights that the user's umask leaves
    except OSError as error:
        if error.errno not in mounted.FIXED or not place.is_dir():
            raise
        return mounted.make_within(place)
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
    mounted.sweep_within(place)


def bring_back(place: Path) -> None:
    """Put a run back that was moved away to be replaced by one that was killed before it came."""
    with suppress(OSError):  # a place that cannot be looked into is told of by whoever wants to use it
        for left in [] if place.exists() else place.parent.glob(f".{_escaped(_stem(place))}.{REPLACED}-*"):
            if _is_idle(left):
                left.rename(place)
                return
        if place.is_dir():
            mounted.bring_back_within(place)


def clear_torn(folder: Path) -> None:
    """Remove files that were being written when a call was killed."""
    with suppress(OSError):  # a folder that is read-only; they do no harm
        for inner in (folder, folder / CHECKPOINT):
            for left in inner.glob(".*.*"):
                if left.name.startswith(WRITTEN) and left.is_file():
                    left.unlink(missing_ok=True)
        (folder / CHECKPOINT / NEXT).unlink(missing_ok=True)


def _stem(place: Path) -> str:
    return place.name[:100]


def _is_idle(folder: Path) -> bool:
    try:
        FolderLock(folder).release()
    except (OSError, RunFolderError):
        return False
    return True


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
