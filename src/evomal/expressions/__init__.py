"""What a loss is made of: operators, expressions, their text, and how they are drawn and varied."""

from evomal.expressions.canonical import canonical
from evomal.expressions.evaluate import check_weights, evaluate
from evomal.expressions.formula import to_formula, to_latex
from evomal.expressions.generate import (
    PAPER,
    Vocabulary,
    full,
    grow,
    ramped_half_and_half,
    random_leaf,
    vocabulary,
)
from evomal.expressions.operators import (
    EPSILON,
    LEAVES,
    OPERATORS,
    TABLE_1,
    TERMINALS,
    Notation,
    Operator,
    Terminal,
)
from evomal.expressions.own_operators import forget_operator, register_operator
from evomal.expressions.short import to_short
from evomal.expressions.simplify import Simplified, simplify, to_sympy
from evomal.expressions.text import parse, to_text
from evomal.expressions.tree import MAX_DEPTH, MAX_NODES, Expression
from evomal.expressions.variation import crossover, finished, mutate, repair

__all__ = [
    "EPSILON",
    "LEAVES",
    "MAX_DEPTH",
    "MAX_NODES",
    "OPERATORS",
    "PAPER",
    "TABLE_1",
    "TERMINALS",
    "Expression",
    "Notation",
    "Operator",
    "Simplified",
    "Terminal",
    "Vocabulary",
    "canonical",
    "check_weights",
    "crossover",
    "evaluate",
    "finished",
    "forget_operator",
    "full",
    "grow",
    "mutate",
    "parse",
    "ramped_half_and_half",
    "random_leaf",
    "register_operator",
    "repair",
    "simplify",
    "to_formula",
    "to_latex",
    "to_short",
    "to_sympy",
    "to_text",
    "vocabulary",
]
