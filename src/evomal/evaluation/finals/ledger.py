"""What was measured, and what it cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from evomal.evaluation.finals.plan import FinalsPlan


@dataclass(frozen=True, slots=True, order=True)
class Trial:
    """One training of a fresh network.

    Args:
        entrant: Number of the loss.
        lr: Base learning rate.
        split: Number of the split, which also fixes initialisation and batches: all losses meet the same ones.
        steps: Base steps; 0 measures what comes without any.
    """

    entrant: int
    lr: float
    split: int
    steps: int


Measure = Callable[[Sequence[Trial]], Sequence[float]]
"""Metrics of trials, in their order; infinite where a training failed."""
Follow = Callable[[Trial, float], Sequence[Trial]]
"""Which trials are sure to be asked for once the metric of another is known."""


@dataclass(slots=True)
class Ledger:
    """Has trials measured once each, and keeps account.

    Args:
        plan: What may be spent.
        measure: Does the work.
        ahead: Told what is sure to follow; None where nobody wants to know.

    Example:
        >>> ledger = Ledger(FinalsPlan(10, (0.1,), 5, 1, 3, 100, 0.25), lambda trials: [0.5] * len(trials))
        >>> ledger.run([Trial(0, 0.1, 0, 10)]), ledger.run([Trial(0, 0.1, 0, 10)]), ledger.left
        (None, None, 90)
    """

    plan: FinalsPlan
    measure: Measure
    ahead: Callable[[Follow], None] | None = None
    scores: dict[Trial, float] = field(default_factory=dict)

    @property
    def spent(self) -> int:
        """Base steps so far; a training that failed early counts in full, so that plans do not depend on it."""
        return sum(trial.steps for trial in self.scores)

    @property
    def left(self) -> int:
        """Base steps that are left."""
        return self.plan.budget - self.spent

    def run(self, trials: Sequence[Trial], follow: Follow = lambda trial, value: ()) -> None:
        """Measure what is not known yet.

        Args:
            trials: What is asked for.
            follow: What is sure to be asked for next, so that it may begin.
        """
        if self.ahead is not None:
            self.ahead(follow)
        fresh = list(dict.fromkeys(trial for trial in trials if trial not in self.scores))
        if fresh:
            values = self.measure(fresh)
            self.scores |= {
                trial: float(value) if math.isfinite(value) else math.inf
                for trial, value in zip(fresh, values, strict=True)
            }

    def values(self, entrant: int, lr: float, splits: Sequence[int], steps: int) -> list[float]:
        """The metrics of one loss at one rate on some splits."""
        return [self.scores[Trial(entrant, lr, split, steps)] for split in splits]

    def mean(self, entrant: int, lr: float, splits: Sequence[int], steps: int) -> float:
        """Their mean; infinite if one of these trainings failed."""
        return fmean(self.values(entrant, lr, splits, steps))

    def tried(self, entrant: int) -> list[float]:
        """The rates at which a loss was trained at all, in rising order."""
        return sorted({trial.lr for trial in self.scores if trial.entrant == entrant and trial.steps})
