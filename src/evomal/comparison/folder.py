"""The folder of a comparison: what is finished lies in it, so that the same command goes on where it was stopped."""

import shutil
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.comparison import TABLES
from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.plan import Plan
from evomal.comparison.searches import read_search
from evomal.comparison.training_rows import FinishedTraining, Key, read_trainings
from evomal.config import BaseSettings, TrainSettings, meanings, with_schedule_in_base
from evomal.foundation.errors import RunFolderError
from evomal.foundation.files import FolderLock, write_atomically
from evomal.foundation.plain_yaml import read_yaml, yaml_text
from evomal.store import Journal
from evomal.store import task_identity as identity
from evomal.store.placing import NOT_OURS
from evomal.store.provenance import Origin, origin_now
from evomal.tasks import Task
from evomal.tasks.splits import fingerprint

MARK = "evomal-comparison"
CONFIG, TRAININGS, SEARCHES = "comparison.yaml", "trainings.jsonl", "searches"
FIRST_LINE = f"format: {MARK}\n".encode()


class ComparisonFolder:
    """Searches and trainings that are finished, each written when it is.

    Contenders, seeds, rates and workers may change from call to call; what else results depend on may not.

    Args:
        path: The folder.
        force: Start anew, whatever comparison lies there; files that are not of a comparison stay.

    Attributes:
        origin: The command and the versions of what lies here, known once it has begun.

    Raises:
        RunFolderError: It holds something else, or what lies there is damaged.

    Example:
        >>> folder = ComparisonFolder("no-such-folder")  # nothing is written before it begins
        >>> folder.trainings()
        {}
    """

    def __init__(self, path: str | PathLike[str], force: bool = False) -> None:
        self.path = Path(path)
        self.origin = Origin()
        self._force = force
        self._lock: FolderLock | None = None
        self._known = self._look()

    def _look(self) -> dict[str, Any]:
        """The document of what lies here; an empty one for an empty place, and where all is to start anew."""
        path = self.path
        try:
            if path.exists() and not path.is_dir():
                raise RunFolderError(f"'{path}' is a file; give a folder for `out`")
            if not path.is_dir() or {each.name for each in path.iterdir()} <= NOT_OURS:
                return {}
            config = path / CONFIG
            start = _start(config) if config.is_file() else b""
        except OSError as error:  # no permission, or a name that is too long
            raise RunFolderError(f"'{path}' cannot be read ({error.strerror}); give another `out`") from None
        if start != FIRST_LINE:
            raise RunFolderError(f"'{path}' holds files that are no comparison; give another folder for `out`")
        return {} if self._force else self._read(config)

    def require_same(self, plan: Plan, task: Task) -> None:
        """Make sure that a plan goes on from what lies here.

        Raises:
            RunFolderError: Settings or data differ from those of what is finished.
        """
        if self._known:
            self._refuse_other(document_of(plan, task))

    def _refuse_other(self, document: dict[str, Any]) -> None:
        found = differences(self._known, document) if self._known else []
        if found:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise RunFolderError(
                f"'{self.path}' holds a comparison with other settings ({'; '.join(found[:3])}{more}); give them "
                "again, another `out`, or `force=True` to start anew"
            )

    def begin(self, plan: Plan, task: Task, command: str | None = None) -> None:
        """Take the folder and write down what is compared; with `force`, the comparison that lies there goes now.

        Args:
            plan: What is compared.
            task: On what.
            command: The command line, or None.

        Raises:
            RunFolderError: Nothing can be written, another process is at work here, or one has been here in the
                meantime with other settings.
        """
        document = document_of(plan, task)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path)
            self._take(document, command)
        except BaseException as error:
            self.end()
            if not isinstance(error, (OSError, ValueError)):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise RunFolderError(f"'{self.path}' cannot be written ({reason}); give another `out`") from None

    def _take(self, document: dict[str, Any], command: str | None) -> None:
        # What was read before the lock was held may be old.
        self._known = self._look()
        self._refuse_other(document)
        if self._force:
            self._clear()
        finished = any((self.path / name).exists() for name in (TRAININGS, SEARCHES))
        self.origin = origin_now(command, self._known if finished else {})
        methods = self._known.get("methods", {}) | document["methods"]
        self._known = document | {"methods": methods} | self.origin.as_dict()
        write_atomically(self.path / CONFIG, yaml_text(self._known))
        self._force = False

    def end(self) -> None:
        """Let other processes in; what is written stays."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def contenders(self) -> tuple[str, ...]:
        """Every contender that an earlier call named."""
        return tuple(self._known.get("methods", ()))

    def search_folder(self, contender: Contender, seed: int) -> Path:
        """The run folder of one search."""
        return self.path / SEARCHES / f"{contender.name}-seed{seed}"

    def finished_search(self, contender: Contender, seed: int) -> SearchSummary | None:
        """What a search came to; None if it is not finished, or what it left is damaged: it is done again then."""
        return read_search(self.search_folder(contender, seed), seed) if self._known else None

    def trainings(self) -> dict[Key, FinishedTraining]:
        """Finished full trainings by contender, rate and seed.

        Raises:
            RunFolderError: A line of their journal is damaged.
        """
        return read_trainings(self.path / TRAININGS) if self._known else {}

    def journal(self) -> Journal:
        """The journal of trainings, open for appending."""
        return Journal(self.path / TRAININGS)

    def _read(self, config: Path) -> dict[str, Any]:
        remedy = "start anew with `force=True`, or give another `out`"
        known = read_yaml(config, remedy=remedy)
        lacking = [part for part in ("task", "training", "methods") if not isinstance(known.get(part), dict)]
        if lacking:
            raise RunFolderError(f"'{config}' is damaged (it lacks {' and '.join(lacking)}); {remedy}")
        return known

    def _clear(self) -> None:
        """Remove what a comparison writes, and nothing else; its document stays until a new one takes its place."""
        for path in (self.path / name for name in (TRAININGS, SEARCHES, *TABLES)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _start(config: Path) -> bytes:
    with config.open("rb") as stream:
        return stream.read(len(FIRST_LINE))


def document_of(plan: Plan, task: Task) -> dict[str, Any]:
    """A comparison as plain values: all that its results depend on."""
    assert task.test is not None
    known = {"test_fingerprint": fingerprint((), (task.test,))}
    return {"format": MARK, "task": identity.identity(task) | known, **plan.as_dict()}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where two documents cannot be one comparison, in words.

    Contenders, seeds and rates may differ; of the settings of methods those count that both name. What an older evomal
    did not write down cannot be compared.

    Example:
        >>> one, other = ({"task": {}, "training": {"steps": n, "seeds": [n]}, "methods": {}} for n in (1, 2))
        >>> differences(one, other)
        ['training: steps was 1, now 2']
    """
    shared = before["methods"].keys() & now["methods"].keys()
    old, new = (_fixed(document, shared) for document in (before, now))
    other = [f"task: {change}" for change in identity.changes(before["task"], now["task"])]
    return other + identity.differences(old, new)


def _fixed(document: dict[str, Any], shared: Collection[str]) -> dict[str, Any]:
    """What of a comparison, its task apart, may not change from call to call."""
    found = with_schedule_in_base(document["training"])
    said = meanings(TrainSettings)
    training = {name: value for name, value in found.items() if name not in said or said[name].changes == "never"}
    methods = {name: _with_base(document["methods"][name]) for name in shared}
    return {"training": _with_base(training), "methods": methods}


def _with_base(settings: Any) -> Any:
    """Settings with all those of the base model; older documents knew of SGD at a constant rate only."""
    if not isinstance(settings, dict) or not isinstance(settings.get("base"), dict):
        return settings
    return settings | {"base": BaseSettings().model_dump(mode="json") | settings["base"]}
