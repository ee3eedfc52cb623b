"""Losses beside one another: what each seed gave, and whether a difference is more than chance.

`compare` takes methods, each of which searches for a loss of its own, and losses; `train` takes losses alone.
"""

from evomal.comparison.calls import compare, train
from evomal.comparison.comparison import Comparison, read_comparison, write_tables
from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.results import Cell, Row
from evomal.comparison.running import ComparisonWatcher
from evomal.comparison.trained import TrainedLoss, TrainResult
from evomal.store.provenance import Origin

__all__ = [
    "Cell",
    "Comparison",
    "ComparisonWatcher",
    "Contender",
    "Origin",
    "Row",
    "SearchSummary",
    "TrainResult",
    "TrainedLoss",
    "compare",
    "read_comparison",
    "train",
    "write_tables",
]
