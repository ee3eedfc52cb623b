"""Trained losses as a table for terminals."""

from collections.abc import Sequence

from rich.table import Table

from evomal.comparison.trained import TrainedLoss, rows_of_trained
from evomal.report.tables import make_table


def table_of_trained(results: Sequence[TrainedLoss]) -> Table:
    """One row a loss: chosen rate, mean ± standard deviation over seeds, each seed's value, seconds."""
    heads, *rows = rows_of_trained(results)
    table = make_table(*heads, left=("loss", "each seed"))
    for row in rows:
        table.add_row(*row)
    return table
