"""Every table and figure of the paper by one call, beside the numbers that it prints.

Source:
    Raymond, Chen, Xue and Zhang, "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
"""

from evomal.reproduction.call import plan_price, reproduce
from evomal.reproduction.execution import Reproduction, ReproductionWatcher
from evomal.reproduction.numbers import DOUBTS, PAPER, Printed
from evomal.reproduction.plans import WHATS
from evomal.reproduction.tables import Entry, Table

__all__ = [
    "DOUBTS",
    "PAPER",
    "WHATS",
    "Entry",
    "Printed",
    "Reproduction",
    "ReproductionWatcher",
    "Table",
    "plan_price",
    "reproduce",
]
