"""A comparison as text: columns for people, as Markdown, and as CSV."""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.notes import notes_of, verdict_of
from evomal.comparison.results import Cell, Results, Row
from evomal.evaluation.statistics import PairedTest
from evomal.foundation.serialization import cleaned, duration, finite_or_none, places, shown

MOST = 160  # letters of a formula


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


def columns_of(comparison: Results, text: Callable[[object], str]) -> list[Column]:
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
    seconds = [each.mean_of_searches("seconds") for each in contenders]
    return [
        *columns,
        Column("search time per seed", ["" if each is None else duration(each) for each in seconds]),
        Column("partial trainings per seed", _counts([each.mean_of_searches("evaluations") for each in contenders])),
        Column("meta steps per seed", _counts([each.mean_of_searches("meta_steps") for each in contenders])),
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
    digits = places(cell.mean for cell in cells)
    means = [f"{cell.mean:.{digits}f}" if math.isfinite(cell.mean) else "diverged" for cell in cells]
    least = min((float(mean) for mean in means if mean != "diverged"), default=None)
    # What reads the same is equally good: means are compared as they are printed.
    best = frozenset(place for place, mean in enumerate(means) if mean != "diverged" and float(mean) == least)
    spreads = [f" ± {cell.sd:.{digits}f}" if finite_or_none(cell.sd) is not None else "" for cell in cells]
    tests = [cell.test for cell in cells]
    return [
        Column(f"{head} (mean ± sd)", [mean + spread for mean, spread in zip(means, spreads, strict=True)], best),
        Column(f"{gain} [95 %]", [_gain(test, digits) for test in tests]),
        Column("d", [f"{test.effect:z.2f}" if test and test.effect is not None else "" for test in tests]),
        Column("p (Holm)", [_p(test) for test in tests]),
    ]


def _gain(test: PairedTest | None, digits: int) -> str:
    if test is None:
        return ""
    interval = "" if test.low is None else f" [{test.low:z.{digits}f}, {test.high:z.{digits}f}]"
    return f"{test.gain:+z.{digits}f}{interval}"


def _p(test: PairedTest | None) -> str:
    if test is None or test.p_holm is None:
        return ""
    return "<0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}"


def rates_table(comparison: Results, text: Callable[[object], str]) -> list[list[str]]:
    """Mean test metric of every contender at every rate (as Figure 11 of the paper), heads first.

    Args:
        comparison: The comparison.
        text: Makes a name safe to print.

    Returns:
        Rows of cells; the last column is the median ratio of the first gradient's length to the task loss's.
    """
    rows = [["loss", *(f"lr {lr:g}" for lr in comparison.lrs), "gradient ratio"]]
    table = [[fmean(each.values(lr, comparison.seeds)) for lr in comparison.lrs] for each in comparison.contenders]
    digits = places(mean for means in table for mean in means)
    for contender, means in zip(comparison.contenders, table, strict=True):
        told = [f"{mean:.{digits}f}" if math.isfinite(mean) else "diverged" for mean in means]
        ratio = "" if contender.gradient_ratio is None else f"{contender.gradient_ratio:.3g}"
        rows.append([text(contender.name), *told, ratio])
    return rows


def losses_table(comparison: Results, text: Callable[[object], str]) -> list[list[str]]:
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
    return "none" if value is None else shown(value)


def as_markdown(comparison: Results) -> str:
    """A comparison as a Markdown document: how to read it, the table, notes, every rate, and the losses found.

    Args:
        comparison: The comparison.

    Returns:
        The text; names and notes are escaped, so that they stay text.
    """
    columns = columns_of(comparison, markdown_text)
    rows = [[column.head for column in columns]]
    for place in range(len(comparison.contenders)):
        rows.append([f"**{c.cells[place]}**" if place in c.best else c.cells[place] for c in columns])
    verdict = f"Verdict: {markdown_text(verdict_of(comparison))}."
    parts = [f"# Comparison on {markdown_text(comparison.task)}", _reading(comparison), verdict, markdown_table(rows)]
    notes = [f"- {markdown_text(note)}" for note in notes_of(comparison)]
    if notes:
        parts.append("\n".join(["Notes:", "", *notes]))
    if len(comparison.lrs) > 1:
        head = f"## Mean test {markdown_text(comparison.metric)} at every learning rate"
        parts += [head, markdown_table(rates_table(comparison, markdown_text))]
    losses = losses_table(comparison, markdown_text)
    if len(losses) > 1:
        parts += ["## Losses found", markdown_table(losses, left=("formula",))]
    return "\n\n".join(parts) + "\n"


def _reading(comparison: Results) -> str:
    """How the numbers come about, in words."""
    baseline, metric, seeds = markdown_text(comparison.baseline), markdown_text(comparison.metric), comparison.seeds
    over = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    rates = ", ".join(f"{lr:g}" for lr in comparison.lrs)
    chosen = (
        f"The best lr is each loss's own of {rates}, chosen on validation data. " if len(comparison.lrs) > 1 else ""
    )
    return (
        f"Baseline: {baseline}. Test {metric} over {over}; lower is better. {chosen}"
        f"A gain is {baseline} minus the loss, seed by seed: positive is better than {baseline}. Its 95 % interval, "
        "effect size d (Cohen's d_z) and p are those of a paired t test; p is corrected by Holm for the number of "
        "losses beside the baseline. The best mean of each column is bold."
    )


def markdown_text(text: object) -> str:
    r"""Text from a file that Markdown leaves as it is: no pipe ends a cell, and no letter is markup.

    Example:
        >>> print(markdown_text("a|b *c*"))
        a\|b \*c\*
    """
    return re.sub(r"([\\|`*<\[])", r"\\\1", cleaned(text))


def markdown_table(rows: Sequence[Sequence[str]], left: Sequence[str] = ()) -> str:
    """Rows as a Markdown table, heads first; the first column and those in `left` hold text, the others numbers."""
    heads, *body = rows
    ruler = ["---" if not place or head in left else "---:" for place, head in enumerate(heads)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ruler, *body))


def as_csv(comparison: Results) -> str:
    """A comparison as CSV, a row for each contender and learning rate, with unrounded numbers.

    The header: ``loss``, ``kind`` (handcrafted, learned, file, found, own), ``rates`` (``fixed``, or ``best`` where
    each side has its own best rate), ``lr``, ``mean`` and ``sd`` of the test metric over seeds, ``diverged``
    (trainings); against the baseline ``gain``, ``gain_low``, ``gain_high`` (95 %), ``d_z``, ``p``, ``p_holm``; for each
    seed of a learned loss the mean ``search_seconds``, ``evaluations`` (partial trainings) and ``meta_steps``;
    ``gradient_ratio`` (median over seeds, to the task loss's); and ``test_seed_N``, the test metric of seed N. What
    does not exist or is not finite is empty.

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
        "search_seconds": contender.mean_of_searches("seconds"),
        "evaluations": contender.mean_of_searches("evaluations"),
        "meta_steps": contender.mean_of_searches("meta_steps"),
        "gradient_ratio": contender.gradient_ratio,
        **{f"test_seed_{seed}": finite_or_none(value) for seed, value in zip(seeds, cell.values, strict=True)},
    }
