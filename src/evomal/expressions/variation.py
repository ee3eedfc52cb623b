"""How expressions change: repair, crossover, mutation, and what makes a child fit for the population."""

import random

from evomal.expressions.canonical import canonical
from evomal.expressions.generate import MAX_GROWN_DEPTH, PAPER, Vocabulary, grow
from evomal.expressions.tree import Expression
from evomal.foundation.errors import ExpressionError


def repair(expression: Expression, rng: random.Random, words: Vocabulary = PAPER) -> Expression:
    """The constraint that a loss has both arguments, `y` and `f`, enforced (D6).

    A random leaf is replaced by a random binary operator over `y` and `f` in random order; one replacement
    brings both. An expression that has both is returned as it is, without drawing.

    Args:
        expression: The formula.
        rng: Where the randomness comes from.
        words: Where the operator is from.

    Returns:
        A formula that contains `y` and `f`.

    Raises:
        ExpressionError: The repaired formula would pass `MAX_DEPTH` or `MAX_NODES`.

    Example:
        >>> from evomal.expressions import parse
        >>> repair(parse("abs(1)"), random.Random(0)).complete
        True

    Source: Raymond et al. 2023, Section 3.1.3 and Fig. 2.
    """
    if expression.complete:
        return expression
    places = [index for index, node in enumerate(expression.preorder()) if not node.children]
    order = rng.sample(("y", "f"), 2)
    binary = Expression(rng.choice(words.binary), tuple(Expression(leaf) for leaf in order))
    return expression.replace(rng.choice(places), binary)


def crossover(first: Expression, second: Expression, rng: random.Random) -> Expression:
    """One-point crossover of which the first child is kept (D5).

    A subtree of `second` comes in the place of one of `first`. The place is any node of `first` but its
    root (any at all if it is a leaf), the subtree any of `second`, each as likely as the others. A child
    past `MAX_DEPTH` or `MAX_NODES` gives way to `first`.

    Args:
        first: The parent that gives the frame.
        second: The parent that gives a subtree.
        rng: Where the randomness comes from.

    Returns:
        The child, not yet repaired nor canonical (see `finished`).

    Example:
        >>> from evomal.expressions import parse
        >>> str(crossover(parse("abs(y)"), parse("f"), random.Random(0)))
        'abs(f)'

    Source: Raymond et al. 2023, Section 3.1.2.
    """
    place = rng.randrange(1, first.size) if first.children else 0
    return _grafted(first, place, second.at(rng.randrange(second.size)))


def mutate(expression: Expression, rng: random.Random, max_depth: int = 2, words: Vocabulary = PAPER) -> Expression:
    """Uniform mutation: a random node's subtree is replaced by a new one (D5).

    The node is any, the root included, each as likely as the others; the new subtree is full, of a depth
    drawn evenly from 0 to `max_depth`. A child past `MAX_DEPTH` or `MAX_NODES` gives way to `expression`.

    Args:
        expression: The parent.
        rng: Where the randomness comes from.
        max_depth: The greatest depth of the new subtree.
        words: What the new subtree is made of.

    Returns:
        The child, not yet repaired nor canonical (see `finished`).

    Raises:
        ExpressionError: `max_depth` is out of range (see `grow`).

    Example:
        >>> from evomal.expressions import parse
        >>> mutate(parse("mul(y, f)"), random.Random(0)).height <= 3
        True

    Source: Raymond et al. 2023, Section 3.1.2.
    """
    place = rng.randrange(expression.size)
    depth = rng.randint(0, max_depth)
    try:
        return _grafted(expression, place, grow(rng, depth, depth, words))
    except ExpressionError:
        if max_depth > MAX_GROWN_DEPTH:
            raise
        return expression


def finished(
    child: Expression, parent: Expression, rng: random.Random, max_height: int, words: Vocabulary = PAPER
) -> Expression:
    """What enters the population in place of `child`: repaired, canonical and not too high (D5, D6, D7).

    The height is checked last, because repair can add a level.

    Args:
        child: What crossover or mutation made.
        parent: What a child that is too high gives way to.
        rng: Where the randomness of the repair comes from.
        max_height: The greatest height.
        words: Where the operator of a repair is from.

    Returns:
        The finished child, or `parent`.

    Example:
        >>> from evomal.expressions import parse
        >>> parent = parse("mul(y, f)")
        >>> finished(parse("abs(y)"), parent, random.Random(0), max_height=1) == parent
        True
    """
    try:
        done = canonical(repair(child, rng, words))
    except ExpressionError:  # repair would pass the limits that hold for every expression
        return parent
    return done if done.height <= max_height else parent


def _grafted(frame: Expression, place: int, subtree: Expression) -> Expression:
    try:
        return frame.replace(place, subtree)
    except ExpressionError:
        return frame
