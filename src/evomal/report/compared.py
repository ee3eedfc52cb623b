"""A comparison as a table for terminals; `evomal.comparison.write_tables` writes it as files."""

from rich.table import Table
from rich.text import Text

from evomal.comparison import Comparison
from evomal.comparison.tables import columns_of
from evomal.foundation.serialization import cleaned
from evomal.report.tables import make_table


def table_of_comparison(comparison: Comparison) -> Table:
    """One row a contender: test metric at the fixed and at its best rate, with what is gained, and the search's price.

    Args:
        comparison: The comparison.

    Returns:
        The table; the best mean of each column is bold. With a single learning rate the second block is left out.
    """
    # The effect size is in the Markdown table; a terminal has no room for it.
    columns = [column for column in columns_of(comparison, cleaned) if column.head != "d"]
    table = make_table(*(column.head for column in columns), left=("loss",))
    for place in range(len(comparison.contenders)):
        styled = [Text(column.cells[place], style="bold" if place in column.best else "") for column in columns]
        table.add_row(*styled)
    return table
