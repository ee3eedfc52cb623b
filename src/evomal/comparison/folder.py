"""The folder of a comparison: what is finished lies in it, so that the same command goes on where it was stopped."""

import shutil
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from evomal.atomic import write_atomically
from evomal.comparison.document import MARK, differences, document_of
from evomal.comparison.entries import Entry
from evomal.comparison.lock import LOCK, FolderLock
from evomal.comparison.plan import Plan
from evomal.comparison.records import Trained, read_search, read_training
from evomal.comparison.results import SearchSummary
from evomal.errors import RunFolderError
from evomal.runs import Journal, read_records
from evomal.runs.journal import damaged
from evomal.tasks import Task

CONFIG, TRAININGS, SEARCHES = "comparison.yaml", "trainings.jsonl", "searches"
TABLES = ("table.md", "table.csv", "table.json")


class ComparisonFolder:
    """Searches and trainings that are finished, each written when it is.

    Contenders, seeds, rates and workers may change from call to call; what else results depend on may not.

    Args:
        path: The folder.
        force: Start anew, whatever comparison lies there; files that are not of a comparison stay.

    Raises:
        RunFolderError: It holds something else, or what lies there is damaged.
    """

    def __init__(self, path: str | PathLike[str], force: bool = False) -> None:
        self.path = Path(path)
        self._known: dict[str, Any] = {}
        self._lock: FolderLock | None = None
        try:
            if self.path.exists() and not self.path.is_dir():
                raise RunFolderError(f"'{path}' is a file; give a folder for --out")
            if not self.path.is_dir() or {each.name for each in self.path.iterdir()} <= {LOCK}:
                return
            config = self.path / CONFIG
            text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
        except OSError as error:  # no permission, or a name that is too long
            raise RunFolderError(f"'{path}' cannot be read ({error.strerror}); give another --out") from None
        if not text.startswith(f"format: {MARK}\n"):
            raise RunFolderError(f"'{path}' holds files that are no comparison; give another folder for --out")
        if not force:
            self._known = self._read(text)

    def require_same(self, plan: Plan, task: Task) -> None:
        """Make sure that a plan goes on from what lies here.

        Raises:
            RunFolderError: Settings or data differ from those of what is finished.
        """
        found = differences(self._known, document_of(plan, task)) if self._known else []
        if found:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise RunFolderError(
                f"'{self.path}' holds a comparison with other settings ({'; '.join(found[:3])}{more}); give them "
                "again, another --out, or --force to start anew"
            )

    def begin(self, plan: Plan, task: Task) -> None:
        """Take the folder and write down what is compared; with `force`, the comparison that lies there goes now.

        Raises:
            RunFolderError: Nothing can be written, or another process is at work here.
        """
        config = document_of(plan, task)
        config["methods"] = self._known.get("methods", {}) | config["methods"]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path)
            if not self._known:
                self._clear()
            write_atomically(self.path / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RunFolderError(f"'{self.path}' cannot be written ({reason}); give another --out") from None
        self._known = config

    def end(self) -> None:
        """Let other processes in; what is written stays."""
        if self._lock is not None:
            self._lock.release()

    def search_folder(self, entry: Entry, seed: int) -> Path:
        """The run folder of one search."""
        return self.path / SEARCHES / f"{entry.name}-seed{seed}"

    def finished_search(self, entry: Entry, seed: int) -> SearchSummary | None:
        """What a search came to; None if it is not finished, or what it left is damaged: it is done again then."""
        return read_search(self.search_folder(entry, seed), seed) if self._known else None

    def trainings(self) -> dict[tuple[str, float, int], Trained]:
        """Finished full trainings by contender, rate and seed; of one that was done again, the last.

        Raises:
            RunFolderError: A line of their journal is damaged.
        """
        path = self.path / TRAININGS
        if not self._known or not path.exists():
            return {}
        found = {}
        for number, record in enumerate(read_records(path), start=1):
            try:
                key, trained = read_training(record)
            except ValueError:
                raise damaged(path, number) from None
            found[key] = trained
        return found

    def journal(self) -> Journal:
        """The journal of trainings, open for appending."""
        return Journal(self.path / TRAININGS)

    def _read(self, text: str) -> dict[str, Any]:
        try:
            known = yaml.safe_load(text)
            if all(isinstance(known[part], dict) for part in ("task", "training", "methods")):
                return dict(known)
        except (TypeError, KeyError, yaml.YAMLError):
            pass
        raise RunFolderError(f"'{self.path / CONFIG}' is damaged; start anew with --force, or give another --out")

    def _clear(self) -> None:
        """Remove what a comparison writes, and nothing else; its document stays until a new one takes its place."""
        for path in (self.path / name for name in (TRAININGS, SEARCHES, *TABLES)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
