"""What calls that were killed left beside a run folder."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from evomal.errors import RunFolderError
from evomal.runs.lock import FolderLock

STARTING, REPLACED = "starting", "replaced"


def make_beside(place: Path) -> Path:
    """A new folder beside a place, hidden, for a run that is about to start there."""
    beside = Path(mkdtemp(dir=place.parent, prefix=f".{_stem(place)}.{STARTING}-"))
    beside.chmod(0o755)
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
