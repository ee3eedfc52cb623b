"""Who takes part in finals, and what they may cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["task", "handcrafted", "known", "learned"]
"""What an entrant is: the task loss, a handcrafted one, a formula that the search started from, or found by it."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A loss in the finals, by what is known of it beforehand.

    Args:
        name: What it is called; no two share one.
        kind: What it is.
        fitness: Its fitness in the search; None for those that the search did not find.
        variant_of: The name of the loss whose hyper-parameters it has others of; such entrants only take part where
            that loss does well.
    """

    name: str
    kind: Kind
    fitness: float | None = None
    variant_of: str | None = None

    @property
    def learned(self) -> bool:
        """Whether the search found it."""
        return self.kind == "learned"

    @property
    def group(self) -> str:
        """What it shares with its variants."""
        return self.variant_of or self.name


@dataclass(frozen=True, slots=True)
class FinalsPlan:
    """How finals are held.

    Args:
        steps: Base steps of a full training.
        lrs: The learning rates that every loss tries first, in rising order; further ones lie at the same distance.
        folds: Splits of the race, K.
        repeats: How often the race may go through fresh splits; more than once where data are few.
        retests: How often the re-test goes through K fresh splits, at most.
        budget: Base steps in all, on one task.
        overlap: Instances tested on / instances trained on, see `resampled_test`; 0 where splits are seeds.
        looks: Splits of the screening; more than one where there are few instances to test on.
        tasks: On how many tasks every training is done.
        varied: Of how many losses, at most, the variants are tried.

    Example:
        >>> FinalsPlan(1000, (0.025, 0.1, 0.4), 5, 1, 3, 150_000, 0.25).trainings
        150
    """

    steps: int
    lrs: tuple[float, ...]
    folds: int
    repeats: int
    retests: int
    budget: int
    overlap: float
    looks: int = 1
    tasks: int = 1
    varied: int = 0

    @property
    def whole_budget(self) -> int:
        """Base steps in all, on all tasks."""
        return self.budget * self.tasks

    @property
    def common(self) -> int:
        """Base steps without those that are kept for variants: what there is for all others, whatever these cost."""
        return round(self.budget / (1 + VARIED_SHARE)) if self.varied else self.budget

    @property
    def trainings(self) -> int:
        """Full trainings that the budget buys."""
        return self.budget // self.steps

    @property
    def race_splits(self) -> int:
        """Splits of the race; those of the re-test have the numbers that follow."""
        return self.folds * self.repeats

    @property
    def factor(self) -> float:
        """How far rates lie apart."""
        lrs = self.lrs
        return (lrs[-1] / lrs[0]) ** (1 / (len(lrs) - 1)) if len(lrs) > 1 else 4.0


VARIED_SHARE = 0.1
"""Of what all others may cost, for variants."""
LEAST_RETEST = 3
"""Trainings of each loss in a re-test, without which nothing can be said."""
LEAST_RACE = 2
"""Folds of a race, without which nobody can be told apart."""
LEAST_TRAININGS = 20
"""Full trainings of three losses on so many folds, and of three in so short a re-test."""


def least_budget(plan: FinalsPlan, entrants: int) -> int:
    """Base steps without which finals of so many entrants come to no verdict.

    Example:
        >>> least_budget(FinalsPlan(1000, (0.025, 0.1, 0.4), 5, 1, 3, 0, 0.25), 10)
        21500
    """
    return entrants * short_trainings(plan) * shortest(plan.steps) + LEAST_TRAININGS * plan.steps


def short_trainings(plan: FinalsPlan) -> int:
    """Trainings of a loss in the screening: at every rate of the grid, and at its best one on further splits."""
    return len(plan.lrs) + plan.looks - 1


def shortest(steps: int) -> int:
    """Steps of the shortest training that a screening trusts."""
    return max(1, steps // 20)


def by_kind(entrants: Sequence[Entrant], learned: bool) -> list[int]:
    """Numbers of the entrants that the search found, or of the others; variants are neither."""
    return [number for number, one in enumerate(entrants) if one.learned == learned and one.variant_of is None]
