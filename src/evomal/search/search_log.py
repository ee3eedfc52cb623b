"""What a search has found so far, written down as soon as it is known, and shown to whoever watches."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter
from types import TracebackType
from typing import Self

from evomal.config import LearnSettings
from evomal.engines.engine import Engine
from evomal.engines.steady_state import SteadyState
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.limits import ENDINGS, Ended, LimitReached, Limits
from evomal.evaluation.watching import Watcher
from evomal.foundation.contexts import uninterrupted
from evomal.foundation.errors import SettingError
from evomal.foundation.files import GO_ON, storing
from evomal.foundation.later_rooms import carried_out
from evomal.losses import LearnedLoss
from evomal.search.result import LearnResult, best_of
from evomal.store import Journal, RunFolder
from evomal.store.checkpointing import Checkpointing
from evomal.store.journal_schema import CandidateRow
from evomal.store.provenance import provenance
from evomal.tasks import TaskSet


class SearchLog:
    """Keeps every finished candidate and the best loss; the run folder gets both at once.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        folder: Where to write; None writes nothing.
        watcher: Told of every candidate.
        baseline: The task loss's metric after the same partial training.
        checkpointing: Where the search stands.
        archive: What earlier calls had finished.
        limits: When the search ends; those of its settings, from now on, if left out.
    """

    def __init__(
        self,
        tasks: TaskSet,
        settings: LearnSettings,
        folder: RunFolder | None,
        watcher: Watcher,
        baseline: float,
        checkpointing: Checkpointing | None = None,
        archive: Archive | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tasks, self.settings, self.folder, self.watcher = tasks, settings, folder, watcher
        self.baseline = baseline
        self.checkpointing = checkpointing or Checkpointing(start=perf_counter())
        self.limits = limits or Limits(settings.limits)
        self.archive = Archive() if archive is None else archive
        self.journal: Journal | None = None
        self._unknown = True

    def evaluated(self, generation: int) -> int:
        """Candidates that were evaluated, not known already, up to a generation."""
        return sum(member.own for member in self.archive.before(generation + 1))

    @property
    def best(self) -> Candidate | None:
        """The best candidate so far that was trained itself."""
        return self.archive.best

    def recall(self, generation: int) -> None:
        """Go on with what earlier calls had finished; its best loss is saved, as such a call may have died before.

        Args:
            generation: The one in progress; what was finished before it, the filters know.
        """
        members = list(self.archive.members.values())
        if not members:
            return
        self.archive.meet(self.archive.before(generation))
        if self.folder is not None:
            self.folder.keep()
        if self.best is not None:
            self._save(self.best)
        self.watcher.resumed(members, self.best, generation)

    def add(self, candidate: Candidate) -> None:
        """Take down a finished candidate; a new best loss is saved at once.

        Raises:
            LimitReached: The search ends here.
        """
        with uninterrupted():
            self._write(candidate)
        self.watcher.member(candidate, self.best)
        self.limits.check_best(self.best)
        self.limits.check_time()

    def _write(self, candidate: Candidate) -> None:
        if self.folder is not None and self.journal is not None:
            self.folder.require_there()
            self.journal.write(CandidateRow.of(candidate, self.tasks.task_type, self.settings).record())
            if not self.archive.members:
                self.folder.keep()
        if self.archive.add(candidate):
            self._save(candidate)

    def begin(self, generation: int, members: Sequence[Candidate], engine: Engine) -> None:
        """A generation begins, or goes on.

        Raises:
            LimitReached: The search ends here.
        """
        if self.best is not None and self.best.generation <= generation:
            self.limits.check_best(self.best)
        self._unknown = any(member.outcome is None for member in members)
        if self._unknown:
            self.checkpointing.turn(generation, engine, self.baseline)

    def generation(self, number: int) -> None:
        """A generation is complete.

        Raises:
            LimitReached: The search ends here.
        """
        if self._unknown:
            self.watcher.generation(number, self.best)
        self.limits.check_generation(number, self.best, self.evaluated(number))

    def begin_asynchronous(self, engine: SteadyState) -> None:
        """A search without generations begins, or goes on.

        Raises:
            LimitReached: The search ends here.
        """
        self.limits.check_best(self.best)
        self._check_window(engine.told)
        self.checkpointing.turn(0, engine, self.baseline)

    def told(self, engine: SteadyState) -> None:
        """The engine of a search without generations was told of the latest candidate.

        Raises:
            LimitReached: The search ends here.
        """
        if engine.told % self.settings.population == 0:
            self.watcher.generation(engine.told // self.settings.population - 1, self.best)
            self._check_window(engine.told)
            self.checkpointing.turn(0, engine, self.baseline)

    def _check_window(self, told: int) -> None:
        """As many candidates as a generation has are finished: what limits say of a generation."""
        number, rest = divmod(told, self.settings.population)
        if told and not rest:
            evaluated = sum(member.own for member in self.archive.members.values())
            self.limits.check_generation(number - 1, self.best, evaluated)

    def concluded(self, loop: Callable[[], None]) -> LearnResult:
        """Run a loop to its end, or to where a limit or Ctrl-C stops it; the result of what was found, saved."""
        ended: Ended = "generations"
        try:
            loop()
        except LimitReached as limit:
            ended = limit.ended
        except KeyboardInterrupt:
            if not self.archive.members:
                raise
            ended = "interrupt"
        return self._unlost(ended)

    def _unlost(self, ended: Ended) -> LearnResult:
        """`result`; Ctrl-C while it is made makes it that of a search that was stopped."""
        found: list[LearnResult] = []
        try:
            with uninterrupted():
                found.append(self.result(ended))
        except KeyboardInterrupt:
            if not found:
                raise
            self.checkpointing.end("interrupt", self.baseline, len(found[0].members))
            return replace(found[0], ended="interrupt")
        return found[0]

    def result(self, ended: Ended) -> LearnResult:
        """The result of the search, saved.

        Raises:
            SettingError: Nothing is finished.
        """
        members = tuple(self.archive.members[place] for place in sorted(self.archive.members))
        if not members:
            way = "give it more time" if self.folder is None else GO_ON
            raise SettingError(f"the search stopped {ENDINGS[ended]} before its first candidate was finished; {way}")
        best = best_of(members)
        loss = self._save(best)
        self.checkpointing.end(ended, self.baseline, len(members))
        seconds = self.checkpointing.seconds
        return LearnResult(loss, best.own_fitness, self.baseline, best, members, self.settings, seconds, ended)

    def _save(self, candidate: Candidate) -> LearnedLoss:
        loss = candidate.finished_loss(self.tasks, self.settings)
        candidate.write_out(loss)
        loss.info = provenance(loss, candidate, self.tasks, self.settings, self.baseline)
        if self.folder is not None:
            self.folder.require_there()
            with storing(self.folder.loss):
                loss.save(self.folder.loss)
        return loss

    def __enter__(self) -> Self:
        """Put the run folder in its place and open the journal."""
        if self.folder is not None:
            self.folder.begin()
            self.journal = self.folder.journal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()


def shown(name: str, settings: LearnSettings, progress: bool | None) -> AbstractContextManager[Watcher]:
    """The display of a search, shown inside the block; a watcher that shows nothing where nobody watches.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        progress: Whether to show it; None: on a terminal or in a notebook.

    Example:
        >>> with shown("digits/mlp", LearnSettings(), progress=False) as watcher:
        ...     watcher.generation(0, None)
    """
    notebook = in_notebook()
    if progress is None:
        progress = notebook or (sys.stderr is not None and sys.stderr.isatty())
    if not progress:
        return nullcontext(Watcher())
    found: AbstractContextManager[Watcher] = carried_out("progress_of", name, settings, notebook)
    return found


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, where output is shown as HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's, Colab's
