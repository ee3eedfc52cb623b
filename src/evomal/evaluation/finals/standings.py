"""Where everybody stands: while finals are going on, and at their end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from evomal.evaluation.finals.plan import Entrant, FinalsPlan
from evomal.evaluation.statistics import rank_correlation


@dataclass(slots=True)
class Runner:
    """An entrant in the race.

    Args:
        number: Of the entrant.
        lrs: The rates that are still open, the better first.
        folds: Folds that it was trained on in full.
        mean: Its mean metric over these at the better rate; that of the screening before there are any.
    """

    number: int
    lrs: list[float]
    folds: int = 0
    mean: float = math.inf

    @property
    def lr(self) -> float:
        """The rate that is its best so far."""
        return self.lrs[0]

    @property
    def rank(self) -> tuple[float, int]:
        """Sorting key: the metric, then who entered first."""
        return self.mean, self.number


@dataclass(frozen=True, slots=True)
class StandingsRow:
    """What came out for one entrant.

    Args:
        entrant: The entrant.
        lr: Its best rate; None if it failed at every one.
        folds: Folds of the race that it took part in; 0 if it left in the screening.
        race: Its mean metric over these, or that of the screening; None if it failed.
        retest: Its metric on every split of the re-test, at that rate; empty if it did not come so far.
        lrs: The rates that it was tried at.
    """

    entrant: Entrant
    lr: float | None
    folds: int
    race: float | None
    retest: tuple[float, ...]
    lrs: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean metric of the re-test; infinite if a training failed or there was none."""
        return fmean(self.retest) if self.retest else math.inf

    @property
    def at_an_edge(self) -> bool:
        """Whether its best rate is the least or greatest that was tried."""
        return self.lr is not None and self.lr in (min(self.lrs), max(self.lrs))


@dataclass(frozen=True, slots=True)
class FinalsOutcome:
    """All that finals found out.

    Args:
        rows: Everybody who took part, in the order of places: the re-test first, then who came furthest in the race.
        chance: The metric of whoever has learned nothing on every split of the re-test: an untrained network, or
            constant predictions, if those are better.
        plan: How the finals were held.
        spent: Base steps.
    """

    rows: tuple[StandingsRow, ...]
    chance: tuple[float, ...]
    plan: FinalsPlan
    spent: int

    @property
    def retested(self) -> tuple[StandingsRow, ...]:
        """Those that the re-test measured, the best first."""
        return tuple(row for row in self.rows if row.retest)

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's ρ between the fitness of the finalists that the search found and their places."""
        found = [(row.entrant.fitness, place) for place, row in enumerate(self.rows) if row.entrant.learned]
        known = [(fitness, place) for fitness, place in found if fitness is not None and math.isfinite(fitness)]
        return rank_correlation([fitness for fitness, _ in known], [float(place) for _, place in known])


@dataclass(slots=True)
class Places:
    """Keeps those that left, in the order in which they did."""

    left: list[Runner] = field(default_factory=list)

    def leave(self, runners: Sequence[Runner]) -> None:
        """They leave at once: the worst of them first."""
        self.left += sorted(runners, key=lambda runner: runner.rank, reverse=True)

    def without_failed(self, runners: Sequence[Runner]) -> list[Runner]:
        """Those of whom no training failed; the others leave."""
        self.leave([runner for runner in runners if not math.isfinite(runner.mean)])
        return [runner for runner in runners if math.isfinite(runner.mean)]

    def final(self, staying: Sequence[Runner]) -> list[Runner]:
        """Everybody by place, those that stay to the end first."""
        return [*sorted(staying, key=lambda runner: runner.rank), *reversed(self.left)]
