"""What stands below the table of a comparison: the metric at every learning rate, and the losses that were found."""

import math
from collections.abc import Callable
from statistics import fmean

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.results import Comparison

MOST = 160  # letters of a formula


def rates_table(comparison: Comparison, text: Callable[[object], str]) -> list[list[str]]:
    """Mean test metric of every contender at every rate (as Figure 11 of the paper), heads first.

    Args:
        comparison: The comparison.
        text: Makes a name safe to print.

    Returns:
        Rows of cells; the last column is the median ratio of the first gradient's length to the task loss's.
    """
    rows = [["loss", *(f"lr {lr:g}" for lr in comparison.lrs), "gradient ratio"]]
    for contender in comparison.contenders:
        means = [fmean(contender.values(lr, comparison.seeds)) for lr in comparison.lrs]
        shown = [f"{mean:.4f}" if math.isfinite(mean) else "diverged" for mean in means]
        ratio = "" if contender.gradient_ratio is None else f"{contender.gradient_ratio:.3g}"
        rows.append([text(contender.name), *shown, ratio])
    return rows


def losses_table(comparison: Comparison, text: Callable[[object], str]) -> list[list[str]]:
    """Every loss that was found: method, seed, fitness, what the task loss reached beside it, formula; heads first.

    Args:
        comparison: The comparison.
        text: Makes a formula safe to print.

    Returns:
        Rows of cells; the head alone if nothing was searched for.
    """
    found = [(contender, search) for contender in comparison.contenders for search in contender.searches]
    return [
        ["method", "seed", "fitness", "task loss", "formula"],
        *(_found(contender, search, text) for contender, search in found),
    ]


def _found(contender: Contender, search: SearchSummary, text: Callable[[object], str]) -> list[str]:
    formula = search.formula if len(search.formula) <= MOST else f"{search.formula[:MOST]}…"
    numbers = [_number(search.fitness), _number(search.baseline)]
    return [text(contender.name), str(search.seed), *numbers, text(formula)]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
