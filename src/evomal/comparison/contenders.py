"""The contenders of a comparison, with all that their searches and trainings came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from evomal.training import TrainingRun
from evomal.training.meta_testing import best_rate


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """One search of a method.

    Args:
        seed: Seed of the search, and of the meta-test with what it found.
        seconds: Wall time.
        evaluations: Partial trainings, the price at which methods are compared.
        meta_steps: Gradient steps on coefficients, in all.
        fitness: The best loss's metric after partial training; None if the search found nothing (D11).
        baseline: The task loss's metric after the same partial training; None if that diverged.
        formula: The loss that was found.
        loss_file: Where it lies.
        outcomes: How many candidates ended in which way.
        workers: How many searches ran on the machine at a time, this one among them; None if that is not known.
        verdict: What its finals came to, such as ``learned`` or ``tie``; None without finals.
    """

    seed: int
    seconds: float
    evaluations: int
    meta_steps: int
    fitness: float | None
    baseline: float | None
    formula: str
    loss_file: str
    outcomes: dict[str, int]
    workers: int | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A loss, or a method that finds one for each seed, with all its trainings.

    Args:
        name: What it is called in tables.
        kind: A handcrafted loss, a method whose losses were searched for, or a loss from a file.
        searches: One for each seed of a method; none for the others.
        runs: Full trainings at every rate and seed.
        ratios: How much longer its first gradients are than the task loss's, one for each seed; None where that is not
            finite.
        tuned_lrs: The learning rates that its losses were tuned or chosen for, one for each seed; None where that is
            not known.
    """

    name: str
    kind: Literal["handcrafted", "learned", "file"]
    searches: tuple[SearchSummary, ...]
    runs: tuple[TrainingRun, ...]
    ratios: tuple[float | None, ...] = ()
    tuned_lrs: tuple[float | None, ...] = ()

    def missing(self, lrs: Sequence[float], seeds: Sequence[int]) -> list[tuple[float, int]]:
        """Rates and seeds that it was not trained with."""
        done = {(run.lr, run.seed) for run in self.runs}
        return [(lr, seed) for lr in lrs for seed in seeds if (lr, seed) not in done]

    def values(self, lr: float, seeds: Sequence[int]) -> tuple[float, ...]:
        """Test metric at a rate, in the order of the seeds; not finite where the training diverged."""
        found = {run.seed: run.test for run in self.runs if run.lr == lr}
        return tuple(found[seed] for seed in seeds)

    def best_rate(self, lrs: Sequence[float]) -> float:
        """The rate with the lowest mean validation metric; one at which any training diverged comes last."""
        return best_rate(self.runs, lrs)

    @property
    def gradient_ratio(self) -> float | None:
        """Median of `ratios`; None without one that is finite."""
        known = [ratio for ratio in self.ratios if ratio is not None]
        return median(known) if known else None

    @property
    def seconds_a_search(self) -> float | None:
        """Mean wall time of a search; None without one."""
        return fmean(search.seconds for search in self.searches) if self.searches else None

    @property
    def evaluations_a_search(self) -> float | None:
        """Mean number of partial trainings in a search; None without one."""
        return fmean(search.evaluations for search in self.searches) if self.searches else None

    @property
    def meta_steps_a_search(self) -> float | None:
        """Mean number of meta gradient steps in a search; None without one."""
        return fmean(search.meta_steps for search in self.searches) if self.searches else None
