"""The sections of a report on a comparison: the table with both rate columns, rates, searches over seeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evomal.analysis import best_so_far, outcomes_by_generation
from evomal.analysis.runs import UNKNOWN_METRIC, SearchRecord, metrics_of
from evomal.comparison import Comparison
from evomal.comparison.tables import columns_of, losses_table, rates_table
from evomal.foundation.serialization import cleaned, flattened
from evomal.report.figures import plot_filters, plot_rates, plot_search
from evomal.report.figures.style import new_axes
from evomal.report.page.blocks import Block, Code, Drawer, LinesBlock, Rows, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 6  # contenders from which a figure is larger


def table_section(comparison: Comparison, title: str = "Meta-testing") -> Section:
    """Test metric at the common rate and at each one's best, with what is left of a gain."""
    # The effect size is in the files that the comparison wrote; here it would make the table wider than most screens.
    columns = [column for column in columns_of(comparison, cleaned) if column.head != "d"]
    count = len(comparison.contenders)
    rows = [
        [f"{column.cells[place]} ★" if place in column.best else column.cells[place] for column in columns]
        for place in range(count)
    ]
    numbers = frozenset(range(1, len(columns)))
    caption = f"{cleaned(comparison.task)}: {len(comparison.seeds)} seeds, test data that no search saw; ★ best mean"
    blocks: list[Block] = [Rows([column.head for column in columns], rows, caption, numbers)]
    return Section(title, [*blocks, LinesBlock([cleaned(note) for note in comparison.notes()], "list")])


def rates_section(comparison: Comparison, drawer: Drawer, title: str = "Learning rates") -> Section:
    """Error against learning rate, for every loss."""
    many = len(comparison.contenders) > MANY
    axes = plot_rates(comparison, new_axes(size=(9.0, 5.2)) if many else None)
    caption = (
        "Test metric against base learning rate. A gain at one rate that is gone at others was a change of step size."
    )
    head, *rows = rates_table(comparison, cleaned)
    table = Rows(head, rows, "The same in numbers", frozenset(range(1, len(head))), folded=True)
    return Section(title, [drawer(axes, caption), table])


def searches_section(
    searches: Mapping[str, Sequence[SearchRecord]], drawer: Drawer, title: str = "The searches"
) -> Section | None:
    """Search curves over seeds, and what filters saved on average; None without a journal."""
    known = {name: [each for each in records if each.records] for name, records in searches.items()}
    known = {name: records for name, records in known.items() if records}
    if not known:
        return None
    blocks: list[Block] = [
        drawer(_curves(known, metric), "Best fitness so far; shaded, one standard deviation.")
        for metric in metrics_of([each for records in known.values() for each in records])
    ]
    for name, records in known.items():
        counts = [outcomes_by_generation(each.records) for each in records]
        mean = mean_outcomes(counts)
        if len(mean) > 1:
            over = f", mean over {len(records)} searches" if len(records) > 1 else ""
            caption = f"{cleaned(name)}: what became of the members of each generation{over}."
            blocks.append(drawer(plot_filters(mean), caption))
    return Section(title, blocks)


def _curves(searches: Mapping[str, Sequence[SearchRecord]], metric: str) -> "Axes":
    """The best fitness so far of all searches that minimise a metric."""
    fitting = (metric, UNKNOWN_METRIC)
    chosen = {name: [each for each in records if each.metric in fitting] for name, records in searches.items()}
    curves = {name: [best_so_far(each.records) for each in records] for name, records in chosen.items() if records}
    baselines = {each.baseline for records in chosen.values() for each in records}
    return plot_search(curves, metric, baselines.pop() if len(baselines) == 1 else None)


def mean_outcomes(counts: Sequence[Sequence[Counter[str]]]) -> list[dict[str, float]]:
    """Mean counts of each generation over the searches that reached it."""
    longest = max(map(len, counts), default=0)
    result = []
    for at in range(longest):
        reached = [search[at] for search in counts if at < len(search)]
        names = {name for count in reached for name in count}
        result.append({name: sum(count[name] for count in reached) / len(reached) for name in names})
    return result


def found_section(comparison: Comparison, title: str = "The losses that were found") -> Section | None:
    """Every loss of every search."""
    head, *rows = losses_table(comparison, cleaned)
    if not rows:
        return None
    return Section(title, [Rows(head, rows, "", frozenset({1, 2, 3}))])


def comparison_settings(comparison: Comparison, title: str = "Settings, versions, and how to repeat it") -> Section:
    """How it all was run."""
    blocks: list[Block] = []
    if comparison.origin.command:
        blocks.append(Code("The command that made it", cleaned(comparison.origin.command)))
    settings = flattened({"settings": comparison.settings, "versions": dict(comparison.origin.versions)})
    rows = [(name, cleaned(value)[:300]) for name, value in settings.items()]
    return Section(title, [*blocks, Rows(("setting", "value"), rows, "Every setting, and versions", folded=True)])
