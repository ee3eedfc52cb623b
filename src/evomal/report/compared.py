"""A comparison as a table for terminals, as Markdown and as CSV."""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from evomal.comparison import Cell, Comparison, PairedTest, Row
from evomal.plain import finite_or_none
from evomal.report.compared_details import losses_table, rates_table
from evomal.report.tables import make_table
from evomal.report.text import cleaned, duration


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as text; `best` holds the places of its best cells."""

    head: str
    cells: list[str]
    best: frozenset[int] = frozenset()


def table_of_comparison(comparison: Comparison) -> Table:
    """One row a contender: test metric at the fixed and at its best rate, with what is gained, and the search's price.

    Args:
        comparison: The comparison.

    Returns:
        The table; the best mean of each column is bold. With a single learning rate the second block is left out.
    """
    # The effect size is in the Markdown table; a terminal has no room for it.
    columns = [column for column in _columns(comparison, cleaned) if column.head != "d"]
    table = make_table(*(column.head for column in columns), left=("loss",))
    for place in range(len(comparison.contenders)):
        styled = [Text(column.cells[place], style="bold" if place in column.best else "") for column in columns]
        table.add_row(*styled)
    return table


def as_markdown(comparison: Comparison) -> str:
    """A comparison as a Markdown document: how to read it, the table, notes, every rate, and the losses found.

    Args:
        comparison: The comparison.

    Returns:
        The text; names and notes are escaped, so that they stay text.
    """
    columns = _columns(comparison, _markdown)
    rows = [[column.head for column in columns]]
    for place in range(len(comparison.contenders)):
        rows.append([f"**{c.cells[place]}**" if place in c.best else c.cells[place] for c in columns])
    parts = [f"# Comparison on {_markdown(comparison.task)}", _reading(comparison), _table(rows)]
    notes = [f"- {_markdown(note)}" for note in comparison.notes()]
    if notes:
        parts.append("\n".join(["Notes:", "", *notes]))
    if len(comparison.lrs) > 1:
        head = f"## Mean test {_markdown(comparison.metric)} at every learning rate"
        parts += [head, _table(rates_table(comparison, _markdown))]
    losses = losses_table(comparison, _markdown)
    if len(losses) > 1:
        parts += ["## Losses found", _table(losses, left=("formula",))]
    return "\n\n".join(parts) + "\n"


def as_csv(comparison: Comparison) -> str:
    """A comparison as CSV, a row for each contender and learning rate, with unrounded numbers.

    The header: ``loss``, ``kind`` (handcrafted, learned, file), ``rates`` (``fixed``, or ``best`` where each side has
    its own best rate), ``lr``, ``mean`` and ``sd`` of the test metric over seeds, ``diverged`` (trainings); against
    the baseline ``gain``, ``gain_low``, ``gain_high`` (95 %), ``d_z``, ``p``, ``p_holm``; for each seed of a learned
    loss the mean ``search_seconds`` and ``evaluations``; ``gradient_ratio`` (median over seeds, to the task loss's);
    and ``test_seed_N``, the test metric of seed N. What does not exist or is not finite is empty.

    Args:
        comparison: The comparison.

    Returns:
        The text. With a single learning rate there are no ``best`` rows.
    """
    records = []
    for row in comparison.rows():
        records.append(_record(row, "fixed", row.fixed, comparison.seeds))
        if len(comparison.lrs) > 1:
            records.append(_record(row, "best", row.best, comparison.seeds))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row, rates: str, cell: Cell, seeds: Sequence[int]) -> dict[str, Any]:
    contender, test = row.contender, cell.test
    ratios = [ratio for ratio in contender.ratios if ratio is not None]
    return {
        "loss": cleaned(contender.name),
        "kind": contender.kind,
        "rates": rates,
        "lr": cell.lr,
        "mean": finite_or_none(cell.mean),
        "sd": finite_or_none(cell.sd),
        "diverged": sum(not math.isfinite(value) for value in cell.values),
        "gain": test and test.gain,
        "gain_low": test and test.low,
        "gain_high": test and test.high,
        "d_z": test and test.effect,
        "p": test and test.p,
        "p_holm": test and test.p_holm,
        "search_seconds": contender.seconds_a_search,
        "evaluations": contender.evaluations_a_search,
        "gradient_ratio": median(ratios) if ratios else None,
        **{f"test_seed_{seed}": finite_or_none(value) for seed, value in zip(seeds, cell.values, strict=True)},
    }


def _columns(comparison: Comparison, text: Callable[[object], str]) -> list[_Column]:
    rows, metric = comparison.rows(), text(comparison.metric)
    names = [text(row.contender.name) for row in rows]
    marked = [f"{name} (baseline)" if name == text(comparison.baseline) else name for name in names]
    columns = [_Column("loss", marked)]
    columns += _block(f"test {metric} at lr {comparison.fixed_lr:g}", "gain", [row.fixed for row in rows])
    if len(comparison.lrs) > 1:
        value, *gains = _block(f"test {metric} at best lr", "gain left", [row.best for row in rows])
        columns += [value, _Column("lr", [f"{row.best.lr:g}" for row in rows]), *gains]
    seconds = [row.contender.seconds_a_search for row in rows]
    counts = [row.contender.evaluations_a_search for row in rows]
    return [
        *columns,
        _Column("search time per seed", ["" if each is None else duration(each) for each in seconds]),
        _Column("evaluations per seed", ["" if each is None else f"{each:.0f}" for each in counts]),
    ]


def _block(head: str, gain: str, cells: Sequence[Cell]) -> list[_Column]:
    """Test metric, gain, effect and p of every contender at a rate."""
    means = [f"{cell.mean:.4f}" if math.isfinite(cell.mean) else "diverged" for cell in cells]
    least = min((float(mean) for mean in means if mean != "diverged"), default=None)
    # What reads the same is equally good: means are compared as they are printed.
    best = frozenset(place for place, mean in enumerate(means) if mean != "diverged" and float(mean) == least)
    spreads = [f" ± {cell.sd:.4f}" if finite_or_none(cell.sd) is not None else "" for cell in cells]
    tests = [cell.test for cell in cells]
    return [
        _Column(f"{head} (mean ± sd)", [mean + spread for mean, spread in zip(means, spreads, strict=True)], best),
        _Column(f"{gain} [95 %]", [_gain(test) for test in tests]),
        _Column("d", [f"{test.effect:z.2f}" if test and test.effect is not None else "" for test in tests]),
        _Column("p (Holm)", [_p(test) for test in tests]),
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


def _reading(comparison: Comparison) -> str:
    """How the numbers come about, in words."""
    baseline, metric, seeds = _markdown(comparison.baseline), _markdown(comparison.metric), comparison.seeds
    over = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    rates = ", ".join(f"{lr:g}" for lr in comparison.lrs)
    chosen = (
        f"The best lr is each loss's own of {rates}, chosen on validation data. " if len(comparison.lrs) > 1 else ""
    )
    return (
        f"Baseline: {baseline}. Test {metric} over {over}; lower is better. {chosen}"
        f"A gain is {baseline} minus the loss, seed by seed: positive is better than {baseline}. Its 95 % interval, "
        "effect size d (Cohen's d_z) and p are those of a paired t test; p is corrected by Holm for the number of "
        "losses in the column. The best mean of each column is bold."
    )


def _markdown(text: object) -> str:
    r"""Text from a file that Markdown leaves as it is: no pipe ends a cell, and no letter is markup.

    Example:
        >>> print(_markdown("a|b *c*"))
        a\|b \*c\*
    """
    return re.sub(r"([\\|`*<\[])", r"\\\1", cleaned(text))


def _table(rows: Sequence[Sequence[str]], left: Sequence[str] = ()) -> str:
    """Rows as a Markdown table, heads first; the first column and those in `left` hold text, the others numbers."""
    heads, *body = rows
    ruler = ["---" if not place or head in left else "---:" for place, head in enumerate(heads)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ruler, *body))
