"""Going on with a run: what earlier calls left of it, what must be as it was, and what may change."""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from os import PathLike
from os.path import exists
from pathlib import Path
from typing import Any

from evomal.config import LearnSettings, changes, idle, lacking
from evomal.engines.engine import Engine
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.lane_count import choose_lanes
from evomal.evaluation.limits import FINISHED
from evomal.foundation.errors import EvomalError, RunFolderError, SettingError
from evomal.store import RunFolder, task_identity
from evomal.store.checkpointing import State, read_states
from evomal.store.config import CONFIG, require_own_training, settings_entries, stored_settings
from evomal.store.journal import JOURNAL
from evomal.store.journal_schema import CandidateRow
from evomal.store.placing import bring_back
from evomal.store.provenance import origin_now
from evomal.store.task_identity import identity
from evomal.tasks import TaskSet


class PreviousRun:
    """What earlier calls left of a run.

    Args:
        folder: The run folder; the past is empty for None, and for one that does not go on with an earlier run.

    Attributes:
        settings: The settings of then; None for an empty past.
        archive: Its finished candidates.
        states: The sound checkpoints, the latest first.
        state: The one that the search goes on from; None if it is the journal alone.

    Raises:
        RunFolderError: What lies there is damaged.

    Example:
        >>> PreviousRun().archive.members
        {}
    """

    def __init__(self, folder: RunFolder | None = None) -> None:
        self.folder = folder if folder is not None and folder.resumed else None
        self.settings: LearnSettings | None = None
        self.archive = Archive()
        self.states: list[State] = []
        self.state: State | None = None
        if self.folder is not None:
            self.settings = stored_settings(self.folder.config, self.folder.path)
            self.archive = _archive(self.folder, self.settings)
            self.states = read_states(self.folder)

    @property
    def ended(self) -> State | None:
        """The latest checkpoint, if it says that the run is finished."""
        latest = self.states[0] if self.states else None
        return latest if latest is not None and latest.ended in FINISHED else None

    def finished(self, now: LearnSettings) -> State | None:
        """The last checkpoint of a run that is finished; None if there is something left to do.

        Args:
            now: The settings to go on with; if others that results depend on, there may be more to do.
        """
        state = self.ended
        if self.folder is None or self.settings is None or state is None or state.ended is None:
            return None
        generations = now.generations if state.ended == "generations" else state.generation
        if state.members != len(self.archive.members):
            return None
        then = {"lanes": now.execution.lanes}  # left open or not, it was looked at before
        others = {change.name for change in changes(self.settings, now, then)} - idle(LearnSettings)
        if others or not self._complete(generations):
            return None
        return state

    def restore(self, engine: Engine) -> int:
        """Bring an engine to the generation in progress.

        The latest sound checkpoint is taken whose generations before are all in the journal. Without one the search
        starts with its first generation, and finds there what is finished.

        Returns:
            The generation to go on with.
        """
        for state in self.states:
            if not state.holds_engine or not self._complete(state.generation):
                continue
            try:
                engine.load_state_dict(state.engine)
            except EvomalError:
                continue
            self.state = state
            return state.generation
        return 0

    def recalled(self, now: LearnSettings) -> int:
        """Take the latest sound checkpoint of a search without generations; all but the baseline is in its journal.

        Args:
            now: The settings to go on with.

        Returns:
            The generation to go on with, by the number of those that are finished.
        """
        self.state = next((state for state in self.states if state.holds_engine and state.baseline is not None), None)
        return min(len(self.archive.members) // now.population, now.generations - 1)

    def baseline(self, measure: Callable[[], float]) -> float:
        """The task loss's metric after partial training, measured where it is not known."""
        return measure() if self.state is None else self.state.measured_baseline

    def known(self, proposed: Candidate) -> Candidate:
        """A member of a generation as the journal knows it; one that it does not know as it is proposed.

        Raises:
            RunFolderError: The journal has something else in its place.
        """
        known = self.archive.members.get(proposed.place)
        if known is None:
            return proposed
        if known.key != proposed.key:
            assert self.folder is not None
            raise RunFolderError(
                f"'{self.folder.path}' cannot go on: in its journal, candidate {proposed.index} of generation "
                f"{proposed.generation} is '{known.key}', but this evomal proposes '{proposed.key}'; go on with the "
                f"versions that {CONFIG} names"
            )
        return known

    def _complete(self, generation: int) -> bool:
        """Whether all generations before this one are in the journal."""
        return self.settings is not None and self.archive.complete(generation, self.settings.population)


def _archive(folder: RunFolder, settings: LearnSettings) -> Archive:
    found: dict[tuple[int, int], Candidate] = {}
    records = folder.records()
    ordered = settings.genetic.asynchronous
    if not ordered:  # else the order in which they were written says how the search went
        records.sort(key=lambda record: (record["generation"], record["index"]))
    for record in records:
        try:
            candidate = CandidateRow.read(record).candidate(settings)
            if candidate.index >= settings.population:
                raise ValueError("more members than a generation has")
        except ValueError:
            lines = "its line and all that follow to have them" if ordered else "its line to have it"
            raise RunFolderError(
                f"'{folder.path / JOURNAL}' is damaged: candidate {record['index']} of generation "
                f"{record['generation']} is no record of this run; delete {lines} evaluated anew"
            ) from None
        found.setdefault(candidate.place, candidate)
    return Archive(found.values())


def opened(
    out: str | PathLike[str] | RunFolder | None, force: bool, resume: bool, settings: LearnSettings
) -> RunFolder | None:
    """The run folder that an argument stands for; with `resume`, one that is not there yet is a new one.

    Raises:
        SettingError: There is no folder to go on with.
        RunFolderError: The folder cannot be used.
    """
    if isinstance(out, RunFolder):
        return out
    if out is not None:
        bring_back(Path(out).absolute())
        folder = RunFolder(out, force, resume=resume and exists(Path(out) / CONFIG))
        with folder.closed_if_refused():
            require_own_training(folder.config, folder.path)
        if not folder.resumed:
            folder.prepare(settings_entries(settings))
        return folder
    if resume:
        raise SettingError("there is no run to go on with; give its folder as out")
    return None


def with_lanes(settings: LearnSettings, past: PreviousRun, tasks: TaskSet) -> LearnSettings:
    """Settings that say how many lanes there are: those of then, or what suits networks and device.

    One lane on a CPU is left open, as it always was.
    """
    if settings.execution.lanes is not None:
        return settings
    begun = past.settings is not None and past.archive.members
    lanes = past.settings.lanes if past.settings is not None and begun else choose_lanes(tasks, settings)
    if lanes == 1 and tasks.device.type == "cpu":
        return settings
    execution = settings.execution.model_copy(update={"lanes": lanes})
    return settings.model_copy(update={"execution": execution})


def require_settings(past: PreviousRun, now: LearnSettings, override: bool) -> None:
    """Make sure that a run goes on as it was begun.

    Args:
        past: What is left of it.
        now: The settings to go on with.
        override: Whether those that may change may change now.

    Raises:
        SettingError: They differ, and may not.
    """
    if past.folder is None or past.settings is None:
        return
    path, tasks_own = past.folder.path, now.base.optimizer == "own"
    # Left open, lanes are 1, or, before anything was evaluated, not chosen yet.
    now = now.model_copy(update={"execution": now.execution.model_copy(update={"lanes": now.lanes})})
    then = {"lanes": past.settings.lanes if past.archive.members else now.lanes}
    if (
        not past.archive.members and tasks_own
    ):  # a call that ended before it had seen the task did not know of its optimiser
        then |= {name: getattr(now.base, name) for name in ("optimizer", *lacking("own"))}
    found = changes(past.settings, now, then)
    fixed = "; ".join(str(change) for change in found if not change.allowed)
    if fixed:
        raise SettingError(
            f"'{path}' was begun with other settings, which may not change ({fixed}); give those of then, or start "
            "another run"
        )
    if found and not override:
        differ = "; ".join(map(str, found))
        raise SettingError(
            f"'{path}' was begun with other settings ({differ}); give those of then, or add `override=True`"
        )
    done = max((generation for generation, _ in past.archive.members), default=-1) + 1
    if now.generations < done:
        raise SettingError(f"setting 'generations': '{path}' has {done} already, not {now.generations}; give more")


def describe(folder: RunFolder, tasks: TaskSet, settings: LearnSettings, past: PreviousRun) -> None:
    """Write down what a run's results depend on; one that goes on must have the same tasks.

    Raises:
        RunFolderError: The tasks differ from those of then, or nothing can be written.
    """
    now = [identity(task) for task in tasks]
    origin = origin_now(folder.config.get("command"), folder.config if folder.resumed else {})
    if folder.resumed:
        _require_same(folder, now)
        for change in origin.changes():
            getLogger("evomal").warning("'%s': %s; results may differ in their last bits", folder.path, change)
    if past.ended is not None:  # it goes on all the same, with other settings
        folder.checkpoints.write(past.ended.model_copy(update={"ended": None}).model_dump(mode="json"))
    folder.describe({**settings_entries(settings), "tasks": now, **origin.as_dict()})


def require_tasks(folder: RunFolder, tasks: TaskSet) -> None:
    """Make sure that tasks are those that a run was begun with: by name, by data, and by what they compute.

    Raises:
        RunFolderError: They differ.
    """
    _require_same(folder, [identity(task) for task in tasks])


def _require_same(folder: RunFolder, now: Sequence[Mapping[str, Any]]) -> None:
    before = folder.config.get("tasks")
    if not isinstance(before, list) or not all(isinstance(task, dict) for task in before):
        raise RunFolderError(
            f"'{folder.path / CONFIG}' is damaged: its tasks are missing; start anew with `force=True`"
        )
    found = [change for old, new in zip(before, now, strict=False) for change in task_identity.changes(old, new)]
    if len(before) != len(now):
        found = [f"there were {len(before)} tasks, now {len(now)}"]
    if found:
        raise RunFolderError(
            f"'{folder.path}' was begun on another task ({'; '.join(found[:3])}); bring back the data and the model of "
            "then, or start another run"
        )
