"""What a search ends with."""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.limits import ENDINGS, Ended
from evomal.foundation.errors import EvomalError
from evomal.foundation.later_rooms import DRAWING, PAGE, carried_out
from evomal.foundation.serialization import finite_or_none
from evomal.losses import LearnedLoss, load_loss
from evomal.store.previous_run import PreviousRun


@dataclass(frozen=True, slots=True)
class LearnResult:
    """A learned loss and how it came to be.

    Args:
        loss: The best loss, a PyTorch criterion.
        fitness: Its metric after partial training; None if every candidate was rejected (D11).
        baseline: The task loss's metric after the same partial training; infinite if that failed.
        best: The candidate it comes from.
        members: Every member of every generation, by (generation, index).
        settings: The settings of the search.
        seconds: Wall time, over all calls.
        ended: What ended the search: its last ``generations``, a limit (``target``, ``patience``, ``evaluations``,
            ``time``), or an ``interrupt``.
    """

    loss: LearnedLoss
    fitness: float | None
    baseline: float
    best: Candidate
    members: tuple[Candidate, ...] = field(repr=False)
    settings: LearnSettings
    seconds: float
    ended: Ended = "generations"

    @property
    def interrupted(self) -> bool:
        """Whether the search was stopped from outside before its end."""
        return self.ended == "interrupt"

    @property
    def outcomes(self) -> Counter[str]:
        """How many members ended in which way."""
        return Counter(member.outcome or "unfinished" for member in self.members)

    @property
    def trainings(self) -> int:
        """Partial trainings that were done."""
        return sum(member.trainings for member in self.members)

    @property
    def meta_steps(self) -> int:
        """Meta gradient steps that were taken."""
        return sum(
            member.tuned_steps for member in self.members if member.same_as is None or member.outcome == "equivalent"
        )

    @property
    def message(self) -> str:
        """In plain words, what came out."""
        count = len(self.members)
        if self.fitness is None and self.best.outcome == "dropped":
            return f"none of the {count} candidates was trained in full; the loss is the one that was best in its heat"
        if self.fitness is None and self.ended != "generations":
            stopped = f"stopped {ENDINGS[self.ended]} after {count} candidates"
            return f"{stopped}, before any was trained; the loss has no fitness"
        if self.fitness is None and count == 1:
            return f"the loss could not be trained ({self.best.reason}); it has no fitness"
        if self.fitness is None:
            return (
                f"none of the {count} candidates could be trained: all were rejected or failed; the loss is the one "
                "that came nearest to passing the rejection filter, and has no fitness"
            )
        if self.ended == "generations":
            return f"fitness {self.fitness:.4f}, from {count} candidates"
        return f"fitness {self.fitness:.4f}, stopped {ENDINGS[self.ended]} after {count} candidates"

    def plot(self, what: str = "search", ax: Any = None) -> Any:
        """A figure of the search, or of its loss.

        Args:
            what: ``"search"``, ``"filters"``, ``"operators"`` or ``"sizes"``; ``"loss"`` or ``"gradient"``.
            ax: Axes of matplotlib to draw on; None makes a figure.

        Returns:
            The axes.

        Raises:
            UnknownNameError: There is no such figure.
        """
        return carried_out(DRAWING, "plot_result", self, what, ax)

    def report(self, out: str | PathLike[str] = "report.html", classes: int = 10) -> Path:
        """Write the report of the search: one HTML page that needs nothing else.

        Args:
            out: The file; one that exists is replaced.
            classes: How many classes figures of a loss for classification assume.

        Returns:
            The file.

        Raises:
            SettingError: It cannot be written.
        """
        path: Path = carried_out(PAGE, "report_of_result", self, out, classes)
        return path

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "formula": self.loss.formula(digits=4),
            **self.best.genome.entries(self.settings),
            "weights": self.best.weights,
            "scale": self.best.scale,
            "fitness": self.fitness,
            "baseline": finite_or_none(self.baseline),
            "generation": self.best.generation,
            "index": self.best.index,
            "outcomes": dict(self.outcomes),
            "trainings": self.trainings,
            "meta_steps": self.meta_steps,
            "seconds": self.seconds,
            "ended": self.ended,
            "interrupted": self.interrupted,
            "message": self.message,
        }


def finished_result(past: PreviousRun, now: LearnSettings) -> LearnResult | None:
    """The result of an earlier run that is finished; None if there is something left to do.

    Args:
        past: What earlier calls left.
        now: The settings to go on with.

    The result is that of the tasks of then: whoever hands it out asks `require_tasks` first.
    """
    state = past.finished(now)
    if state is None or state.ended is None or past.folder is None:
        return None
    try:
        loss = load_loss(past.folder.loss)
    except EvomalError:  # the search itself finds it again
        return None
    members = tuple(past.members[place] for place in sorted(past.members))
    best = best_of(members)
    if past.settings is None or not _is_of(loss, best, past.settings):  # somebody has saved another one over it
        return None
    best.formula = loss.formula(digits=4)
    baseline = state.measured_baseline
    return LearnResult(loss, best.own_fitness, baseline, best, members, now, state.seconds, state.ended)


def _is_of(loss: LearnedLoss, candidate: Candidate, settings: LearnSettings) -> bool:
    """Whether a loss is what a candidate stands for, as far as its record says."""
    wanted = candidate.genome.entries(settings) | ({} if candidate.weights is None else {"weights": candidate.weights})
    entries = loss.all_entries()
    return loss.scale == candidate.scale and all(entries[name] == value for name, value in wanted.items())


def best_of(members: Collection[Candidate]) -> Candidate:
    """The best candidate that was trained itself (D9), else the one that came nearest to it.

    That is the best one of a heat, or the one that came nearest to passing the rejection filter (D11).
    """
    for outcome in ("trained", "dropped"):
        reached = [member for member in members if member.outcome == outcome]
        if reached:
            return min(reached, key=lambda member: member.rank)
    return min(members, key=lambda member: (-_score(member), member.genome.size, member.place))


def _score(member: Candidate) -> float:
    return -math.inf if member.score is None or math.isnan(member.score) else member.score


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a search that a script had begun: it ends the script as well, and nothing is lost.

    Attributes:
        result: What the search had come to, its best loss so far included.
    """

    def __init__(self, result: LearnResult, where: object = None) -> None:
        place = "in the attribute `result` of this exception" if where is None else f"in '{where}'"
        super().__init__(f"the search was stopped by Ctrl-C; the best loss so far is {place}")
        self.result = result
