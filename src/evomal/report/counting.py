"""What a search has come to so far: outcomes, the best formula, its pace, and the time that is left."""

from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

from evomal.config import LearnSettings
from evomal.evaluation.finals import Entrant, FinalsPlan, Trial
from evomal.foundation.serialization import duration
from evomal.search import Candidate, Watcher


class Progress(Watcher):
    """Keeps count and shows nothing.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        clock: Seconds that only go forward.

    Attributes:
        counts: Members so far by outcome.
        best: The best candidate so far that was trained itself.
        done: Complete generations.
    """

    def __init__(self, name: str, settings: LearnSettings, clock: Callable[[], float] = perf_counter) -> None:
        self.name, self.settings = name, settings
        self.counts: Counter[str] = Counter()
        self.best: Candidate | None = None
        self.done = 0
        self.plan: FinalsPlan | None = None
        self.entrants = self.final_steps = 0
        self._before: Counter[str] = Counter()
        self._clock, self._start = clock, clock()

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """Count what an earlier call had finished."""
        self.counts.update(member.outcome or "unfinished" for member in members)
        self._before = Counter(self.counts)
        self.best, self.done = best, generation

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """Count an outcome."""
        self.counts[candidate.outcome or "unfinished"] += 1
        self.best = best

    def generation(self, number: int, best: Candidate | None) -> None:
        """Count a generation."""
        self.done = number + 1

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """The finals have begun."""
        self.plan, self.entrants = plan, len(entrants)

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """Count base steps of the finals."""
        self.final_steps += trial.steps * (1 if self.plan is None else self.plan.tasks)

    @property
    def finals_text(self) -> str:
        """What the finals are, in words; nothing before they begin."""
        if self.plan is None:
            return ""
        plan = self.plan
        return f"finals: {self.entrants} losses, {plan.steps} steps a training, {plan.whole_budget} in all at most"

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return self._clock() - self._start

    @property
    def per_minute(self) -> float:
        """Evaluations per minute; what the outer filter answers is none."""
        now = self.counts - self._before
        known = now["archived"] + now["elite"]
        return 60 * (now.total() - known) / max(self.seconds, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds left if the rest goes like what is done; None before the first generation is complete.

        Later generations meet more known formulas, so it is rather less.
        """
        now = self.counts.total() - self._before.total()
        left = self.settings.evaluations - self.counts.total()
        return self.seconds * left / now if self.done and now else None

    @property
    def formula(self) -> str:
        """The best formula so far, with its coefficients, as short as it can be."""
        return "" if self.best is None else self.best.short or self.best.formula

    @property
    def fitness(self) -> str:
        """The best fitness so far."""
        return "none yet" if self.best is None else f"{self.best.fitness:.4g}"

    @property
    def pace(self) -> str:
        """Evaluations per minute, and the time left."""
        left = "" if not self.left else f", about {duration(self.left)} left"
        return f"{self.per_minute:.3g} evaluations/min{left}"

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
