"""A comparison as a Markdown document."""

import re
from collections.abc import Sequence

from evomal.comparison.columns import columns_of
from evomal.comparison.details import losses_table, rates_table
from evomal.comparison.results import Comparison
from evomal.foundation.serialization import cleaned


def as_markdown(comparison: Comparison) -> str:
    """A comparison as a Markdown document: how to read it, the table, notes, every rate, and the losses found.

    Args:
        comparison: The comparison.

    Returns:
        The text; names and notes are escaped, so that they stay text.
    """
    columns = columns_of(comparison, _markdown)
    rows = [[column.head for column in columns]]
    for place in range(len(comparison.contenders)):
        rows.append([f"**{c.cells[place]}**" if place in c.best else c.cells[place] for c in columns])
    verdict = f"Verdict: {_markdown(comparison.verdict)}."
    parts = [f"# Comparison on {_markdown(comparison.task)}", _reading(comparison), verdict, _table(rows)]
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
        "losses beside the baseline. The best mean of each column is bold."
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
