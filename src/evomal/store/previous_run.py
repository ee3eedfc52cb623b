"""What earlier calls left of a run: its finished candidates, and where it stands."""

from collections.abc import Callable

from evomal.config import LearnSettings, changes, idle
from evomal.engines.engine import Engine
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.limits import FINISHED
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.store import RunFolder
from evomal.store.checkpointing import State, read_states
from evomal.store.config import CONFIG, stored_settings
from evomal.store.journal import JOURNAL
from evomal.store.journal_schema import CandidateRow


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
            if not state.engine or not self._complete(state.generation):
                continue
            try:
                engine.load_state_dict(state.engine)
            except EvomalError:
                continue
            self.state = state
            return state.generation
        return 0

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
    for record in folder.records():
        try:
            candidate = CandidateRow.read(record).candidate(settings)
            if candidate.index >= settings.population:
                raise ValueError("more members than a generation has")
        except ValueError:
            raise RunFolderError(
                f"'{folder.path / JOURNAL}' is damaged: candidate {record['index']} of generation "
                f"{record['generation']} is no record of this run; delete its line to have it evaluated anew"
            ) from None
        found.setdefault(candidate.place, candidate)
    return Archive(found.values())
