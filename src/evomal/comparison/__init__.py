"""Methods beside one another: what each seed gave, and whether a difference is more than chance."""

from evomal.comparison.comparing import compare
from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.results import Cell, Comparison, Row
from evomal.comparison.writing import write_tables
from evomal.store.environment import Origin

__all__ = [
    "Cell",
    "Comparison",
    "Contender",
    "Origin",
    "PairedTest",
    "Row",
    "SearchSummary",
    "compare",
    "holm",
    "paired_test",
    "write_tables",
]
