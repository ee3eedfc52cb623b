"""Random expressions: the initial population of genetic programming."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from evomal.expressions.operators import LEAVES, OPERATORS, TABLE_1, TERMINALS
from evomal.expressions.tree import MAX_NODES, Expression
from evomal.foundation.errors import ExpressionError, SettingError, UnknownNameError, unknown_name

MAX_GROWN_DEPTH = 12
"""Nothing deeper is drawn: a full tree grows by half with each level and soon passes `MAX_NODES`."""

TRIES = 1000
"""How often a tree that passes `MAX_NODES` is drawn anew: of all operators one full tree of depth 12 in thousands."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What random expressions are made of; `vocabulary` makes one of names.

    Args:
        operators: Names of operators, in the order of their table.
        terminals: Names of terminals, in the order of theirs.
    """

    operators: tuple[str, ...] = TABLE_1
    terminals: tuple[str, ...] = LEAVES

    @property
    def symbols(self) -> tuple[str, ...]:
        """Operators and terminals."""
        return (*self.operators, *self.terminals)

    @property
    def binary(self) -> tuple[str, ...]:
        """Operators of two arguments, which repair needs."""
        return tuple(name for name in self.operators if OPERATORS[name].arity == 2)

    def least_nodes(self, depth: int) -> int:
        """The size of the smallest tree without a leaf above a depth.

        Example:
            >>> vocabulary(["add", "mul"]).least_nodes(2), PAPER.least_nodes(2)
            (7, 3)
        """
        return depth + 1 if len(self.binary) < len(self.operators) else 2 ** (depth + 1) - 1

    def stranger(self, expression: Expression) -> str | None:
        """The first symbol of an expression that is not one of these, or None."""
        known = {*self.symbols}
        return next((node.symbol for node in expression.preorder() if node.symbol not in known), None)


PAPER = Vocabulary()
"""The operators of Table 1 and the terminals of the paper."""


def vocabulary(operators: Iterable[str] = TABLE_1, terminals: Iterable[str] = LEAVES) -> Vocabulary:
    """Operators and terminals by name, in the order of their tables, whatever the order in which they are given.

    Raises:
        UnknownNameError: There is no such operator or terminal.
        SettingError: `y` or `f` is missing, or every operator has a single argument.

    Example:
        >>> vocabulary(["mul", "log", "add"], ["f", "y", "prior"])
        Vocabulary(operators=('add', 'mul', 'log'), terminals=('y', 'f', 'prior'))
    """
    chosen = Vocabulary(_of_table("operator", operators, OPERATORS), _of_table("terminal", terminals, TERMINALS))
    if missing := [name for name in ("y", "f") if name not in chosen.terminals]:
        raise SettingError(f"setting 'terminals': {' and '.join(missing)} is missing; a loss needs both y and f")
    if not chosen.binary:
        pairs = ", ".join(name for name in TABLE_1 if OPERATORS[name].arity == 2)
        raise SettingError(f"setting 'operators': none takes two arguments, to bring y and f together; add {pairs}, …")
    return chosen


def _of_table(kind: str, names: Iterable[str], table: Iterable[str]) -> tuple[str, ...]:
    given, known = list(names), list(table)
    for name in given:
        if name not in known:
            told = str(unknown_name(kind, name, known))
            own = "; one of your own has to be registered first" if kind == "operator" else ""
            raise UnknownNameError(told + own)
    return tuple(name for name in known if name in given)


def random_leaf(rng: random.Random, words: Vocabulary = PAPER) -> Expression:
    """One of the terminals, each as likely as the others."""
    return Expression(rng.choice(words.terminals))


def full(rng: random.Random, depth: int, words: Vocabulary = PAPER) -> Expression:
    """A random tree all of whose leaves lie at one depth.

    Args:
        rng: Where the randomness comes from.
        depth: The depth of every leaf, 0 to `MAX_GROWN_DEPTH`.
        words: Operators and terminals.

    Returns:
        The tree; inner nodes are drawn evenly from the operators, leaves evenly from the leaves.

    Raises:
        ExpressionError: `depth` is out of range.

    Example:
        >>> tree = full(random.Random(0), 3)
        >>> tree.height
        3
    """
    return grow(rng, depth, depth, words)


def grow(rng: random.Random, min_depth: int, max_depth: int, words: Vocabulary = PAPER) -> Expression:
    """A random tree of uneven shape.

    Down to `min_depth` only operators are drawn, so no leaf lies nearer to the root; from there on
    operators and leaves alike, each as likely as the others; at `max_depth` only leaves.

    Args:
        rng: Where the randomness comes from.
        min_depth: The least depth of any leaf.
        max_depth: The greatest depth of any leaf, at most `MAX_GROWN_DEPTH`.
        words: Operators and terminals.

    Returns:
        The tree, of a height from `min_depth` to `max_depth`.

    Raises:
        ExpressionError: The depths are out of range, or trees of these operators pass `MAX_NODES` there.

    Example:
        >>> 2 <= grow(random.Random(0), 2, 4).height <= 4
        True
    """
    _check_depths(min_depth, max_depth)
    for _ in range(TRIES if words.least_nodes(min_depth) <= MAX_NODES else 0):
        try:
            return _grown(rng, min_depth, max_depth, words)
        except ExpressionError:  # more than MAX_NODES
            continue
    raise ExpressionError(
        f"random formulas of depth {min_depth} to {max_depth} of the operators {', '.join(words.operators)} pass "
        f"{MAX_NODES:,} nodes: use lower depths, or more operators of one argument"
    )


def _check_depths(min_depth: int, max_depth: int) -> None:
    if not 0 <= min_depth <= max_depth <= MAX_GROWN_DEPTH:
        raise ExpressionError(
            f"random formulas of depth {min_depth} to {max_depth} cannot be drawn: "
            f"use depths from 0 to {MAX_GROWN_DEPTH}, the least first"
        )


def _grown(rng: random.Random, min_depth: int, max_depth: int, words: Vocabulary) -> Expression:
    if max_depth == 0:
        return random_leaf(rng, words)
    symbol = rng.choice(words.operators if min_depth > 0 else words.symbols)
    if symbol in TERMINALS:
        return Expression(symbol)
    arity = OPERATORS[symbol].arity
    return Expression(symbol, tuple(_grown(rng, max(min_depth - 1, 0), max_depth - 1, words) for _ in range(arity)))


def ramped_half_and_half(
    rng: random.Random, count: int, min_depth: int = 2, max_depth: int = 4, words: Vocabulary = PAPER
) -> list[Expression]:
    """Random trees of mixed sizes and shapes: half of them full, half of them grown.

    The depths `min_depth` to `max_depth` take turns; at each, a full tree of that depth is followed by one
    grown to at most that depth (and at least `min_depth`).

    Args:
        rng: Where the randomness comes from.
        count: Number of trees.
        min_depth: The least depth.
        max_depth: The greatest depth.
        words: Operators and terminals.

    Returns:
        `count` trees, as drawn: `y` or `f` may be missing (see `repair`).

    Raises:
        ExpressionError: The depths are out of range.

    Example:
        >>> [tree.height for tree in ramped_half_and_half(random.Random(0), 6)][::2]
        [2, 3, 4]

    Source: Koza 1992; depths from D5.
    """
    _check_depths(min_depth, max_depth)
    trees = []
    for number in range(count):
        depth = min_depth + (number // 2) % (max_depth - min_depth + 1)
        trees.append(full(rng, depth, words) if number % 2 == 0 else grow(rng, min_depth, depth, words))
    return trees
