"""Random expressions: the initial population of genetic programming."""

import random

from evomal.expressions.operators import LEAVES, OPERATORS
from evomal.expressions.tree import Expression
from evomal.foundation.errors import ExpressionError

MAX_GROWN_DEPTH = 12
"""Nothing deeper is drawn: a full tree grows by half with each level and soon passes `MAX_NODES`."""

_OPERATORS = tuple(OPERATORS)
_SYMBOLS = (*_OPERATORS, *LEAVES)


def random_leaf(rng: random.Random) -> Expression:
    """One of the leaves `y`, `f`, `1`, `-1`, each as likely as the others."""
    return Expression(rng.choice(LEAVES))


def full(rng: random.Random, depth: int) -> Expression:
    """A random tree all of whose leaves lie at one depth.

    Args:
        rng: Where the randomness comes from.
        depth: The depth of every leaf, 0 to `MAX_GROWN_DEPTH`.

    Returns:
        The tree; inner nodes are drawn evenly from the operators, leaves evenly from the leaves.

    Raises:
        ExpressionError: `depth` is out of range.

    Example:
        >>> tree = full(random.Random(0), 3)
        >>> tree.height
        3
    """
    return grow(rng, depth, depth)


def grow(rng: random.Random, min_depth: int, max_depth: int) -> Expression:
    """A random tree of uneven shape.

    Down to `min_depth` only operators are drawn, so no leaf lies nearer to the root; from there on
    operators and leaves alike, each as likely as the others; at `max_depth` only leaves.

    Args:
        rng: Where the randomness comes from.
        min_depth: The least depth of any leaf.
        max_depth: The greatest depth of any leaf, at most `MAX_GROWN_DEPTH`.

    Returns:
        The tree, of a height from `min_depth` to `max_depth`.

    Raises:
        ExpressionError: The depths are out of range.

    Example:
        >>> 2 <= grow(random.Random(0), 2, 4).height <= 4
        True
    """
    _check_depths(min_depth, max_depth)
    while True:
        try:
            return _grown(rng, min_depth, max_depth)
        except ExpressionError:  # more than MAX_NODES: one full tree of depth 12 in thousands
            continue


def _check_depths(min_depth: int, max_depth: int) -> None:
    if not 0 <= min_depth <= max_depth <= MAX_GROWN_DEPTH:
        raise ExpressionError(
            f"random formulas of depth {min_depth} to {max_depth} cannot be drawn: "
            f"use depths from 0 to {MAX_GROWN_DEPTH}, the least first"
        )


def _grown(rng: random.Random, min_depth: int, max_depth: int) -> Expression:
    if max_depth == 0:
        return random_leaf(rng)
    symbol = rng.choice(_OPERATORS if min_depth > 0 else _SYMBOLS)
    if symbol in LEAVES:
        return Expression(symbol)
    arity = OPERATORS[symbol].arity
    return Expression(symbol, tuple(_grown(rng, max(min_depth - 1, 0), max_depth - 1) for _ in range(arity)))


def ramped_half_and_half(rng: random.Random, count: int, min_depth: int = 2, max_depth: int = 4) -> list[Expression]:
    """Random trees of mixed sizes and shapes: half of them full, half of them grown.

    The depths `min_depth` to `max_depth` take turns; at each, a full tree of that depth is followed by one
    grown to at most that depth (and at least `min_depth`).

    Args:
        rng: Where the randomness comes from.
        count: Number of trees.
        min_depth: The least depth.
        max_depth: The greatest depth.

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
        trees.append(full(rng, depth) if number % 2 == 0 else grow(rng, min_depth, depth))
    return trees
