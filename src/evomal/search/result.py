"""What a search ends with."""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.limits import ENDINGS, Ended
from evomal.expressions.tree import shortened
from evomal.foundation.errors import EvomalError
from evomal.foundation.later_rooms import carried_out
from evomal.foundation.serialization import finite_or_none, shown
from evomal.losses import HandcraftedLoss, LearnedLoss, SavedLoss, load_loss
from evomal.losses.criterion import LossFunction
from evomal.search.verdict import Verdict
from evomal.store.resuming import PreviousRun

SHOWN = 160  # characters of a formula in a short text


@dataclass(frozen=True, slots=True, repr=False)
class LearnResult:
    """A loss and how it came to be.

    Args:
        loss: The loss that the verdict names, a PyTorch criterion, learned or not; without finals the best learned one.
        fitness: The metric of the best learned one after partial training; None if every candidate was rejected (D11).
        baseline: The task loss's metric after the same partial training; infinite if that failed.
        best: The candidate that the best learned loss comes from: the best of the finals, or of the search.
        members: Every member of every generation, by (generation, index).
        settings: The settings of the search.
        seconds: Wall time, over all calls.
        ended: What ended the search: its last ``generations``, a limit (``target``, ``patience``, ``evaluations``,
            ``time``), or an ``interrupt``.
        verdict: What the finals came to; None where there were none, or they are not finished.
        best_learned: The best learned loss; None where it is `loss`.
    """

    loss: LossFunction
    fitness: float | None
    baseline: float
    best: Candidate
    members: tuple[Candidate, ...]
    settings: LearnSettings
    seconds: float
    ended: Ended = "generations"
    verdict: Verdict | None = None
    best_learned: LearnedLoss | None = None

    def __repr__(self) -> str:
        """What came out, in a line or two; all of it is in `as_dict`."""
        fitness = "none" if self.fitness is None else f"{self.fitness:.4g}"
        found = f"{shortened(self.formula, SHOWN)!r}, fitness={fitness}, candidates={len(self.members)}"
        verdict = "" if self.verdict is None else f", verdict={self.verdict.kind!r}"
        return f"LearnResult({found}, ended={self.ended!r}{verdict})"

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
    def learned(self) -> LearnedLoss:
        """The best learned loss, whether it is handed out or not."""
        if self.best_learned is not None:
            return self.best_learned
        assert isinstance(self.loss, LearnedLoss)
        return self.loss

    @property
    def formula(self) -> str:
        """The loss that is handed out, in one line: a formula, or the name of one that is not learned."""
        if isinstance(self.loss, SavedLoss):
            return self.loss.formula(digits=4)
        return "the task loss" if self.verdict is None else self.verdict.name

    @property
    def message(self) -> str:
        """In plain words, what came out: the verdict, or what is known without one."""
        if self.verdict is not None and self.verdict.kind != "not tested":
            return self.verdict.message
        finals = self.settings.finals.finals and self.ended in ("time", "interrupt")
        untested = "" if self.verdict is None else f"; {self.verdict.message}"
        return self._searched + untested + ("; its finals are still to be held" if finals else "")

    @property
    def _searched(self) -> str:
        """What came out of the search alone."""
        count = len(self.members)
        after = f"after {count} candidate{'s' * (count > 1)}"
        if self.fitness is None and self.best.outcome == "dropped":
            return f"none of the {count} candidates was trained in full; the loss is the one that was best in its heat"
        if self.fitness is None and self.ended != "generations":
            stopped = f"stopped {ENDINGS[self.ended]} {after}"
            return f"{stopped}, before any was trained; the loss has no fitness"
        if self.fitness is None and count == 1:
            return f"the loss could not be trained ({self.best.reason}); it has no fitness"
        if self.fitness is None:
            return (
                f"none of the {count} candidates could be trained: all were rejected or failed; the loss is the one "
                "that came nearest to passing the rejection filter, and has no fitness"
            )
        lost = self.baseline < self.fitness
        worse = f" (worse than {shown(self.baseline)} of the task loss in the same training)" if lost else ""
        if self.ended == "generations":
            return f"fitness {shown(self.fitness)}{worse}, from {count} candidates"
        return f"fitness {shown(self.fitness)}{worse}, stopped {ENDINGS[self.ended]} {after}"

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
        return carried_out("plot_result", self, what, ax)

    def report(self, out: str | PathLike[str] = "report.html", classes: int | None = None) -> Path:
        """Write the report of the search: one HTML page that needs nothing else.

        Args:
            out: The file; one that exists is replaced.
            classes: How many classes figures of a loss for classification assume; None: as many as the task has.

        Returns:
            The file.

        Raises:
            SettingError: It cannot be written.
        """
        path: Path = carried_out("report_of_result", self, out, classes)
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(carried_out("html_of_result", self))

    def _repr_latex_(self) -> str | None:
        """The same in LaTeX, where the loss has a formula."""
        found: str | None = carried_out("latex_of_result", self)
        return found

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "formula": self.formula,
            "learned_formula": self.learned.formula(digits=4),
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
            "verdict": None if self.verdict is None else self.verdict.entries(),
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
    finals = now.finals.finals
    try:
        loss = load_loss(past.folder.loss)
        learned = load_loss(past.folder.learned) if finals else loss
    except EvomalError:  # the search itself finds it again
        return None
    verdict = Verdict.of(loss.info.get("verdict")) if finals else None
    if finals and (verdict is None or verdict != Verdict.of(learned.info.get("verdict"))):
        return None
    best = _candidate(learned, past, finals)
    if best is None or not isinstance(learned, LearnedLoss) or not _is_named(loss, learned, verdict):
        return None  # somebody has saved another one over it
    best.write_out(learned)
    members = tuple(past.archive.members[place] for place in sorted(past.archive.members))
    found = best.own_fitness, state.measured_baseline, best, members, now, state.seconds, state.ended
    return LearnResult(loss, *found, verdict=verdict, best_learned=learned)


def _candidate(loss: SavedLoss, past: PreviousRun, finals: bool) -> Candidate | None:
    """The candidate that a learned loss is: the best of the search, or with finals that which its file names."""
    best = best_of([past.archive.members[place] for place in sorted(past.archive.members)])
    where = loss.info.get("found")
    if finals and isinstance(where, dict):
        named = [member for member in past.archive.members.values() if member.place == tuple(where.values())]
        best = named[0] if named else best
    is_it = isinstance(loss, LearnedLoss) and past.settings is not None and _is_of(loss, best, past.settings)
    return best if is_it else None


def _is_named(loss: SavedLoss, learned: SavedLoss, verdict: Verdict | None) -> bool:
    """Whether a loss is what a verdict names, as far as that can be told."""
    if verdict is None or verdict.loss_kind == "learned":
        return loss.all_entries() == learned.all_entries()
    if isinstance(loss, HandcraftedLoss):
        return loss.name == verdict.name
    # A formula that the search started from; or, for a function that cannot be saved, the learned loss.
    return verdict.loss_kind in ("known", "task")


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
