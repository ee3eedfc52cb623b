"""The numbers of a comparison: contenders on one task, and the cells of its table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from evomal.comparison.contenders import Contender
from evomal.evaluation.statistics import PairedTest, holm, paired_test
from evomal.foundation.errors import DataError, SettingError, unknown_name
from evomal.store.provenance import Origin


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
    """A contender at the fixed rate, and at its own best one.

    Args:
        contender: The contender.
        fixed: At the fixed rate, against the baseline at the same.
        best: At its own best rate, against the baseline at the baseline's own best.
    """

    contender: Contender
    fixed: Cell
    best: Cell


@dataclass(frozen=True, slots=True)
class Results:
    """Contenders on one task, over the same seeds and learning rates; see `evomal.comparison.Comparison`."""

    task: str
    metric: str
    baseline: str
    fixed_lr: float
    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]
    settings: dict[str, Any]
    origin: Origin = field(default_factory=Origin)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a baseline that is no contender."""
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

        In each of the two columns p is corrected by Holm over all contenders but the baseline, those whose test is not
        defined or whose training diverged among them: what failed does not make the others more significant.
        """
        fixed = self._column([self.fixed_lr] * len(self.contenders))
        best = self._column([contender.best_rate(self.lrs) for contender in self.contenders])
        return tuple(Row(*parts) for parts in zip(self.contenders, fixed, best, strict=True))

    def _column(self, rates: Sequence[float]) -> list[Cell]:
        pairs = list(zip(self.contenders, rates, strict=True))
        (rival,) = (contender.values(lr, self.seeds) for contender, lr in pairs if contender.name == self.baseline)
        cells = [_cell(lr, contender.values(lr, self.seeds)) for contender, lr in pairs]
        rivals = [contender.name != self.baseline for contender in self.contenders]
        tests = [paired_test(rival, cell.values) if other else None for cell, other in zip(cells, rivals, strict=True)]
        corrected = iter(holm([test.p if test else None for test, other in zip(tests, rivals, strict=True) if other]))
        return [
            replace(cell, test=_corrected(test, next(corrected))) if other else cell
            for cell, test, other in zip(cells, tests, rivals, strict=True)
        ]


def _corrected(test: PairedTest | None, p: float | None) -> PairedTest | None:
    return None if test is None else replace(test, p_holm=p)


def _cell(lr: float, values: tuple[float, ...]) -> Cell:
    finite = all(map(math.isfinite, values))
    mean = fmean(values) if finite else math.nan
    sd = None if len(values) < 2 else stdev(values) if finite else math.nan
    return Cell(lr, mean, sd, values, None)
