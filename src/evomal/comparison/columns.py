"""The columns of a comparison's table as text, for Markdown and for terminals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evomal.comparison.contenders import Contender
from evomal.comparison.results import Cell, Comparison
from evomal.evaluation.statistics import PairedTest
from evomal.foundation.serialization import duration, finite_or_none


@dataclass(frozen=True, slots=True)
class Column:
    """A column of text.

    Args:
        head: Its head.
        cells: One for each contender.
        best: The places of its best cells.
    """

    head: str
    cells: list[str]
    best: frozenset[int] = frozenset()


def columns_of(comparison: Comparison, text: Callable[[object], str]) -> list[Column]:
    """Test metric at the fixed and at the best rate, what is gained, and what each search took.

    Args:
        comparison: The comparison.
        text: Makes a name safe to print.

    Returns:
        The columns; with a single learning rate there are none for the best one.
    """
    rows, metric = comparison.rows(), text(comparison.metric)
    columns = [Column("loss", [_marked(row.contender, comparison.baseline, text) for row in rows])]
    columns += _block(f"test {metric} at lr {comparison.fixed_lr:g}", "gain", [row.fixed for row in rows])
    if len(comparison.lrs) > 1:
        value, *gains = _block(f"test {metric} at best lr", "gain left", [row.best for row in rows])
        columns += [value, Column("lr", [f"{row.best.lr:g}" for row in rows]), *gains]
    contenders = comparison.contenders
    seconds = [contender.seconds_a_search for contender in contenders]
    return [
        *columns,
        Column("search time per seed", ["" if each is None else duration(each) for each in seconds]),
        Column("partial trainings per seed", _counts([contender.evaluations_a_search for contender in contenders])),
        Column("meta steps per seed", _counts([contender.meta_steps_a_search for contender in contenders])),
    ]


def _marked(contender: Contender, baseline: str, text: Callable[[object], str]) -> str:
    """A name, with what must be known before its numbers are read."""
    empty, searches = sum(search.fitness is None for search in contender.searches), len(contender.searches)
    remarks = ["baseline"] if contender.name == baseline else []
    remarks += [f"{empty} of {searches} searches found nothing"] if empty else []
    return f"{text(contender.name)} ({', '.join(remarks)})" if remarks else text(contender.name)


def _counts(numbers: Sequence[float | None]) -> list[str]:
    return ["" if number is None else f"{number:.0f}" for number in numbers]


def _block(head: str, gain: str, cells: Sequence[Cell]) -> list[Column]:
    """Test metric, gain, effect and p of every contender at a rate."""
    means = [f"{cell.mean:.4f}" if math.isfinite(cell.mean) else "diverged" for cell in cells]
    least = min((float(mean) for mean in means if mean != "diverged"), default=None)
    # What reads the same is equally good: means are compared as they are printed.
    best = frozenset(place for place, mean in enumerate(means) if mean != "diverged" and float(mean) == least)
    spreads = [f" ± {cell.sd:.4f}" if finite_or_none(cell.sd) is not None else "" for cell in cells]
    tests = [cell.test for cell in cells]
    return [
        Column(f"{head} (mean ± sd)", [mean + spread for mean, spread in zip(means, spreads, strict=True)], best),
        Column(f"{gain} [95 %]", [_gain(test) for test in tests]),
        Column("d", [f"{test.effect:z.2f}" if test and test.effect is not None else "" for test in tests]),
        Column("p (Holm)", [_p(test) for test in tests]),
    ]


def _gain(test: PairedTest | None) -> str:
    if test is None:
        return ""
    interval = "" if test.low is None else f" [{test.low:z.4f}, {test.high:z.4f}]"
    return f"{test.gain:+z.4f}{interval}"


def _p(test: PairedTest | None) -> str:
    if test is None or test.p_holm is None:
        return ""
    return "<0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}"
