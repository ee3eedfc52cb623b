"""Methods beside one another: what each seed gave, and whether a difference is more than chance."""

from evomal.comparison.comparing import compare
from evomal.comparison.results import Cell, Comparison, Contender, Row, SearchSummary
from evomal.comparison.statistics import PairedTest, holm, paired_test

__all__ = ["Cell", "Comparison", "Contender", "PairedTest", "Row", "SearchSummary", "compare", "holm", "paired_test"]
