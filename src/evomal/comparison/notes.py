"""What must be known to read the table of a comparison rightly."""

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from evomal.comparison.statistics import PairedTest

if TYPE_CHECKING:
    from evomal.comparison.results import Comparison, Contender, Row

LEVEL = 0.05  # below it, a corrected p is called significant
ENOUGH = 5  # seeds


def notes_of(comparison: "Comparison") -> list[str]:
    """Remarks on a comparison, one sentence each.

    Args:
        comparison: The comparison.

    Returns:
        Remarks on few seeds, fruitless searches, diverged trainings, best rates at the edge of those tried, tests that
        are not defined, and gains that are step size. Names in them are as given: clean them before printing.
    """
    rows = comparison.rows()
    notes = list(_few_seeds(len(comparison.seeds)))
    for contender in comparison.contenders:
        notes += [*_searches(contender), *_divergence(contender, comparison)]
    for row in rows:
        notes += _edge(row, comparison.lrs)
    for row in rows:
        notes += [*_undefined(row, comparison), *_step_size(row)]
    return notes


def _few_seeds(count: int) -> Iterator[str]:
    if count == 1:
        yield "with a single seed nothing tells a difference from chance; five or more are better"
    elif count < ENOUGH:
        yield f"a paired t over {count} seeds detects only large effects; five or more are better"


def _searches(contender: "Contender") -> Iterator[str]:
    seeds = [str(search.seed) for search in contender.searches if search.fitness is None]
    if seeds:
        which = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"
        yield f"the search of {contender.name} found nothing with {which}: the loss that stands for it has no fitness"


def _divergence(contender: "Contender", comparison: "Comparison") -> Iterator[str]:
    count = len(comparison.seeds)
    values = {lr: contender.values(lr, comparison.seeds) for lr in comparison.lrs}
    bad = {lr: sum(not isfinite(test) for test in tests) for lr, tests in values.items()}
    if any(bad.values()):
        told = ", ".join(f"{number} of {count} at lr {lr:g}" for lr, number in bad.items() if number)
        yield f"{sum(bad.values())} of {count * len(bad)} trainings with {contender.name} diverged ({told})"


def _edge(row: "Row", lrs: tuple[float, ...]) -> Iterator[str]:
    """Whether the best rate may lie outside those that were tried."""
    lr = row.best.lr
    if len(lrs) > 1 and lr in (min(lrs), max(lrs)) and isfinite(row.best.mean):
        further = "smaller" if lr == min(lrs) else "greater"
        yield f"the best lr {lr:g} of {row.contender.name} is at the edge of those tried; try {further} ones too"


def _undefined(row: "Row", comparison: "Comparison") -> Iterator[str]:
    cells = {f"at lr {comparison.fixed_lr:g}": row.fixed}
    if len(comparison.lrs) > 1:
        cells["at the best rates"] = row.best
    for where, cell in cells.items():
        if cell.test and cell.test.p is None:
            same = f"{row.contender.name} differs from {comparison.baseline} by the same amount at every seed {where}"
            yield f"{same}: no t test is defined"


def _step_size(row: "Row") -> Iterator[str]:
    """Whether a gain at the fixed rate is gone once each side has the step size that suits it."""
    fixed, best, name = row.fixed.test, row.best.test, row.contender.name
    if not fixed or not best or best.high is None or not _is_gain(fixed) or _is_gain(best):
        return
    # What is not significant is not absent: that takes an interval which leaves out the gain at the fixed rate.
    if best.gain <= 0 or best.high < fixed.gain:
        yield f"the gain of {name} at the fixed rate is step size: none is left when each side has its best rate"
    else:
        left = "what is left when each side has its best rate is not significant, yet may be as large; use more seeds"
        yield f"whether the gain of {name} at the fixed rate is step size stays open: {left}"


def _is_gain(test: PairedTest) -> bool:
    return test.p_holm is not None and test.p_holm < LEVEL and test.gain > 0
