"""What a comparison holds: searches and trainings of each contender, and the cells of its table."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any, Literal

from evomal.comparison.notes import notes_of
from evomal.comparison.statistics import PairedTest, holm, paired_test
from evomal.errors import DataError, SettingError, unknown_name
from evomal.plain import finite_or_none
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
    """

    name: str
    kind: Literal["handcrafted", "learned", "file"]
    searches: tuple[SearchSummary, ...]
    runs: tuple[TrainingRun, ...]
    ratios: tuple[float | None, ...] = ()

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
    def seconds_a_search(self) -> float | None:
        """Mean wall time of a search; None without one."""
        return fmean(search.seconds for search in self.searches) if self.searches else None

    @property
    def evaluations_a_search(self) -> float | None:
        """Mean number of partial trainings in a search; None without one."""
        return fmean(search.evaluations for search in self.searches) if self.searches else None


@dataclass(frozen=True, slots=True)
class Cell:
    """A contender at one learning rate.

    Args:
        lr: The rate.
        mean: Mean test metric over seeds; NaN if a training diverged.
        sd: Its standard deviation (n - 1); None for a single seed, NaN if a training diverged.
        values: The test metric, in the order of the seeds.
        test: Against the baseline; None for the baseline itself, for a single seed, and where either side diverged.
    """

    lr: float
    mean: float
    sd: float | None
    values: tuple[float, ...]
    test: PairedTest | None


@dataclass(frozen=True, slots=True)
class Row:
    """A contender at the fixed rate, and at its own best one."""

    contender: Contender
    fixed: Cell
    best: Cell


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders on one task, over the same seeds and learning rates.

    Args:
        task: What the task is called.
        metric: Name of the metric, minimised.
        baseline: Name of the contender that the others are tested against.
        fixed_lr: The rate of the first column, one of `lrs`.
        lrs: Every rate that was tried.
        seeds: One search and one training at each rate, for each of them.
        contenders: In the order of the table.
        settings: How it all was run, as plain values.

    Raises:
        SettingError: The baseline is not among the contenders, two have one name, or `fixed_lr` is not in `lrs`.
        DataError: A training is missing.

    Example:
        >>> def trained(*tests):
        ...     return tuple(TrainingRun(0.1, seed, test, test, 100, 1.0) for seed, test in enumerate(tests))
        >>> plain = Contender("cross_entropy", "handcrafted", (), trained(0.30, 0.28, 0.33))
        >>> focal = Contender("focal", "handcrafted", (), trained(0.21, 0.20, 0.22))
        >>> comparison = Comparison(
        ...     "digits/mlp", "error_rate", "cross_entropy", 0.1, (0.1,), (0, 1, 2), (plain, focal), {}
        ... )
        >>> cell = comparison.rows()[1].fixed
        >>> f"{cell.mean:.2f} ± {cell.sd:.2f}, gain {cell.test.gain:.4f}, p {cell.test.p_holm:.4f}"
        '0.21 ± 0.01, gain 0.0933, p 0.0088'
    """

    task: str
    metric: str
    baseline: str
    fixed_lr: float
    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        names = [contender.name for contender in self.contenders]
        if self.baseline not in names:
            raise unknown_name("baseline", self.baseline, names)
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"'{name}' is compared twice; give each loss or method once")
        if self.fixed_lr not in self.lrs:
            tried = ", ".join(f"{lr:g}" for lr in self.lrs)
            raise SettingError(f"the fixed learning rate {self.fixed_lr:g} is not among those tried ({tried}); add it")
        for contender in self.contenders:
            for lr, seed in contender.missing(self.lrs, self.seeds):
                lacks = f"lacks the training of '{contender.name}' at lr {lr:g} with seed {seed}"
                raise DataError(f"the comparison {lacks}; finish it or leave '{contender.name}' out")

    def rows(self) -> tuple[Row, ...]:
        """Every contender at the fixed rate, and at its own best one against the baseline at the baseline's own best.

        In each of the two columns p is corrected by Holm over all contenders but the baseline.
        """
        fixed = self._column([self.fixed_lr] * len(self.contenders))
        best = self._column([contender.best_rate(self.lrs) for contender in self.contenders])
        return tuple(Row(*parts) for parts in zip(self.contenders, fixed, best, strict=True))

    def notes(self) -> list[str]:
        """Remarks, one sentence each: what must be known to read the table rightly."""
        return notes_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON; what is not finite is None."""
        shown = {name: getattr(self, name) for name in ("task", "metric", "baseline", "fixed_lr", "lrs", "seeds")}
        rows = [asdict(row) for row in self.rows()]
        contenders = [row["contender"] | {"fixed": row["fixed"], "best": row["best"]} for row in rows]
        document = {**shown, "settings": self.settings, "contenders": contenders, "notes": self.notes()}
        return {name: _plain(value) for name, value in document.items()}

    def _column(self, rates: Sequence[float]) -> list[Cell]:
        pairs = list(zip(self.contenders, rates, strict=True))
        (rival,) = (contender.values(lr, self.seeds) for contender, lr in pairs if contender.name == self.baseline)
        cells = [_cell(lr, contender.values(lr, self.seeds)) for contender, lr in pairs]
        tests = [
            None if contender.name == self.baseline else paired_test(rival, cell.values)
            for contender, cell in zip(self.contenders, cells, strict=True)
        ]
        corrected = holm([test.p if test else None for test in tests])
        return [
            replace(cell, test=replace(test, p_holm=p) if test else None)
            for cell, test, p in zip(cells, tests, corrected, strict=True)
        ]


def _cell(lr: float, values: tuple[float, ...]) -> Cell:
    finite = all(map(math.isfinite, values))
    mean = fmean(values) if finite else math.nan
    sd = None if len(values) < 2 else stdev(values) if finite else math.nan
    return Cell(lr, mean, sd, values, None)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return finite_or_none(value) if isinstance(value, float) else value
