"""The run folder: settings, journal and best loss of one search."""

import shutil
from contextlib import suppress
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from evomal.atomic import write_atomically
from evomal.errors import RunFolderError
from evomal.runs.journal import JOURNAL, Journal

CONFIG, LOSS = "config.yaml", "loss.json"


class RunFolder:
    """A folder that a search writes into.

    The settings are written first, into a folder beside the final one; `begin` puts it in its place when everything
    has been probed. An older run that is replaced waits beside until the new one has its first record. So bad input
    and an early end leave everything as it was.

    Args:
        path: Where the run shall lie.
        force: Replace a run that lies there.

    Raises:
        RunFolderError: The path is a file, cannot be written, or holds something and `force` is not set.
    """

    def __init__(self, path: str | PathLike[str], force: bool = False) -> None:
        self.path = Path(path)
        self._force = force
        try:
            whole = self.path.resolve()
            self.path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links, a NUL
            raise RunFolderError(f"'{path}' cannot be a run folder ({error}); give another --out") from None
        if Path.cwd().is_relative_to(whole):
            raise RunFolderError(f"'{path}' is or holds the current folder; give a folder of its own for --out")
        self._check()
        self._place = whole  # what a link points to, as the link stays
        self._beside: Path | None = None
        self._older: Path | None = None
        self._begun = False
        self._made: list[Path] = []

    def _check(self) -> None:
        """Refuse a place that holds something which is not to be replaced."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"'{self.path}' is a file; give a folder for --out")
        if self.path.is_dir() and any(self.path.iterdir()):
            if not self._force:
                raise RunFolderError(f"'{self.path}' already holds a run; give another --out, or --force to replace it")
            if not (self.path / CONFIG).is_file():
                raise RunFolderError(f"'{self.path}' holds files that are not a run; give another folder for --out")

    def prepare(self, config: dict[str, Any]) -> None:
        """Write the resolved settings into the folder beside."""
        try:
            parent = self._place.parent
            self._made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            self._beside = Path(mkdtemp(dir=parent, prefix=f".{self._place.name[:100]}.starting-"))
            self._beside.chmod(0o755)
            write_atomically(self._beside / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise RunFolderError(f"'{self.path}' cannot be written ({error.strerror}); give another --out") from None

    def begin(self) -> None:
        """Put the prepared folder in its place; what lies there waits beside until `keep`.

        Raises:
            RunFolderError: Another run has taken the place in the meantime.
        """
        assert self._beside is not None
        self._check()
        if self._place.exists():
            self._older = self._beside.with_name(self._beside.name.replace(".starting-", ".replaced-"))
            self._place.rename(self._older)
        self._beside.rename(self._place)
        self._begun = True

    def keep(self) -> None:
        """The run has something to show: the older one can go."""
        self._begun, self._beside, older, self._older = False, None, self._older, None
        if older is not None:
            shutil.rmtree(older, ignore_errors=True)

    def discard(self) -> None:
        """Leave everything as it was, if the run ended before `keep`."""
        begun, older, beside = self._begun, self._older, self._beside
        self._begun, self._older, self._beside = False, None, None  # a second call finds nothing to do
        if begun:
            shutil.rmtree(self._place, ignore_errors=True)
        elif beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        if older is not None:
            older.rename(self._place)
        with suppress(OSError):  # a folder that holds something stays, and so do those above it
            for folder in self._made:
                folder.rmdir()

    @property
    def loss(self) -> Path:
        """The best loss so far."""
        return self.path / LOSS

    def journal(self) -> "Journal":
        """The journal, open for appending."""
        return Journal(self.path / JOURNAL)
