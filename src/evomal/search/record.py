"""What a search has found so far, written down as soon as it is known."""

import math
from time import perf_counter
from types import TracebackType
from typing import Self

from evomal.config import LearnSettings
from evomal.losses import LearnedLoss
from evomal.plain import finite_or_none
from evomal.runs import Journal, RunFolder
from evomal.search.candidate import Candidate
from evomal.search.provenance import provenance
from evomal.search.result import LearnResult
from evomal.search.watching import Watcher
from evomal.tasks import TaskSet


class Record:
    """Keeps every finished candidate and the best loss; the run folder gets both at once.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        folder: Where to write; None writes nothing.
        watcher: Told of every candidate.
        baseline: The task loss's metric after the same partial training.
        start: When the search began, by `time.perf_counter`.
    """

    def __init__(
        self,
        tasks: TaskSet,
        settings: LearnSettings,
        folder: RunFolder | None,
        watcher: Watcher,
        baseline: float,
        start: float,
    ) -> None:
        self.tasks, self.settings, self.folder, self.watcher = tasks, settings, folder, watcher
        self.baseline = baseline
        self.best: Candidate | None = None
        self.members: list[Candidate] = []
        self.journal: Journal | None = None
        self.start = start

    def add(self, candidate: Candidate) -> None:
        """Take down a finished candidate; a new best loss is saved at once."""
        if self.folder is not None and self.journal is not None:
            self.journal.write(candidate.record(self.tasks.task_type, self.settings))
            if not self.members:
                self.folder.keep()
        self.members.append(candidate)
        # The best must have been trained itself (D9).
        if candidate.outcome == "trained" and (self.best is None or candidate.rank < self.best.rank):
            self.best = candidate
            self._save(candidate)
        self.watcher.member(candidate, self.best)

    def result(self, interrupted: bool) -> LearnResult:
        """The result of the search, saved."""
        best = self.best or max(self.members, key=lambda c: (_score(c), -c.genome.size))
        loss = self._save(best)
        members = tuple(sorted(self.members, key=lambda c: c.place))
        fitness = finite_or_none(best.fitness)
        seconds = perf_counter() - self.start
        return LearnResult(loss, fitness, self.baseline, best, members, self.settings, seconds, interrupted)

    def _save(self, candidate: Candidate) -> LearnedLoss:
        loss = candidate.finished_loss(self.tasks, self.settings)
        candidate.formula = loss.formula(digits=4)
        loss.info = provenance(loss, candidate, self.tasks, self.settings, self.baseline)
        if self.folder is not None:
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


def _score(candidate: Candidate) -> float:
    return -math.inf if candidate.score is None or math.isnan(candidate.score) else candidate.score
