import random
from collections import Counter
from itertools import pairwise

import pytest
import torch

from evomal.expressions import (
    LEAVES,
    OPERATORS,
    Expression,
    canonical,
    crossover,
    evaluate,
    finished,
    full,
    grow,
    mutate,
    parse,
    ramped_half_and_half,
    random_leaf,
    repair,
)
from evomal.expressions.generate import Vocabulary
from evomal.foundation.errors import ExpressionError


def test_full_trees_have_all_leaves_at_one_depth() -> None:
    rng = random.Random(0)
    for depth in range(6):
        assert {_depths(full(rng, depth)) for _ in range(30)} == {(depth, depth)}


def test_grown_trees_keep_to_both_depths() -> None:
    rng = random.Random(0)
    seen = {_depths(grow(rng, 1, 3)) for _ in range(400)}
    assert all(1 <= nearest <= furthest <= 3 for nearest, furthest in seen)
    assert {(1, 1), (1, 3), (3, 3)} <= seen


def test_ramping_is_even_and_half_full() -> None:
    trees = ramped_half_and_half(random.Random(4), 60, min_depth=2, max_depth=4)
    assert Counter(_depths(tree) for tree in trees[::2]) == {(2, 2): 10, (3, 3): 10, (4, 4): 10}
    assert all(2 <= tree.height <= 2 + (number % 3) for number, tree in enumerate(trees[1::2]))


def test_every_symbol_is_drawn_alike() -> None:
    rng = random.Random(9)
    leaves = Counter(random_leaf(rng).symbol for _ in range(4000))
    roots = Counter(full(rng, 1).symbol for _ in range(12000))
    assert set(leaves) == set(LEAVES)
    assert set(roots) == set(OPERATORS)
    # Five standard deviations of a binomial count.
    assert all(abs(count - 1000) < 5 * 27.4 for count in [*leaves.values()])
    assert all(abs(count - 1000) < 5 * 30.3 for count in [*roots.values()])


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-1, 2), (2, 13)])
def test_depths_out_of_reach(low: int, high: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        ramped_half_and_half(random.Random(0), 3, low, high)
    assert str(caught.value) == (
        f"random formulas of depth {low} to {high} cannot be drawn: use depths from 0 to 12, the least first"
    )


def test_trees_that_pass_all_limits_are_given_up() -> None:
    pairs = Vocabulary(operators=("add", "mul"))
    assert full(random.Random(0), 8, pairs).size == 2**9 - 1
    message = "^random formulas of depth 9 to 9 of the operators add, mul pass 1,000 nodes: use lower depths, or more"
    with pytest.raises(ExpressionError, match=message):
        full(random.Random(0), 9, pairs)
    parent = parse("mul(y, f)")
    assert mutate(parent, _Deepest(), 12, pairs) is parent


class _Deepest(random.Random):
    """Always draws the greatest depth."""

    def randint(self, a: int, b: int) -> int:
        return b


def test_repair_changes_one_leaf_and_only_when_needed() -> None:
    rng = random.Random(1)
    for _ in range(300):
        tree = grow(rng, 0, 4)
        repaired = repair(tree, rng)
        assert repaired.complete
        if tree.complete:
            assert repaired is tree
            continue
        assert repaired.size == tree.size + 2
        changed = [i for i in range(tree.size) if tree.replace(i, repaired.at(i)) == repaired]
        new = repaired.at(changed[-1])
        assert OPERATORS[new.symbol].arity == 2
        assert {child.symbol for child in new.children} == {"y", "f"}


def test_repair_uses_every_leaf_operator_and_order() -> None:
    rng = random.Random(1)
    results = Counter(str(repair(parse("sub(1, f)"), rng)) for _ in range(2400))
    assert len(results) == 2 * 6 * 2
    assert all(abs(count - 100) < 5 * 9.8 for count in results.values())


def test_canonical_form_meets_whatever_the_order() -> None:
    rng = random.Random(3)
    for _ in range(200):
        tree = grow(rng, 1, 5)
        once = canonical(tree)
        assert canonical(once) == once
        assert canonical(_shuffled(tree, rng)) == once


def test_canonical_form_keeps_values_and_what_does_not_commute() -> None:
    rng = random.Random(3)
    y, f = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(100):
        tree = grow(rng, 1, 5)
        torch.testing.assert_close(
            evaluate(canonical(tree), y, f), evaluate(tree, y, f), rtol=0, atol=0, equal_nan=True
        )
    assert canonical(parse("sub(f, y)")) == parse("sub(f, y)")
    assert canonical(parse("div(f, y)")) == parse("div(f, y)")
    assert str(canonical(parse("abs(log(mul(f, y)))"))) == "abs(log(mul(y, f)))"


def test_crossover_puts_a_subtree_of_the_second_into_the_first() -> None:
    rng = random.Random(6)
    first, second = parse("sub(abs(y), tanh(f))"), parse("mul(square(1), -1)")
    expected = {str(first.replace(i, node)) for i in range(1, first.size) for node in second.preorder()}
    assert {str(crossover(first, second, rng)) for _ in range(600)} == expected


def test_mutation_replaces_any_node_by_a_new_subtree_of_depth_up_to_two() -> None:
    rng = random.Random(6)
    tree = parse("sub(abs(y), tanh(f))")
    fits = Counter()
    for _ in range(600):
        child = mutate(tree, rng, max_depth=2)
        heights = [child.at(i).height for i in range(tree.size) if _is_graft(tree, child, i)]
        assert min(heights) <= 2
        fits[min(heights)] += 1
        assert child.height <= 4
    assert set(fits) == {0, 1, 2}


def test_a_child_past_the_limits_gives_way_to_its_parent() -> None:
    deep = parse("abs(" * 63 + "mul(y, f)" + ")" * 63)
    rng = random.Random(0)
    children = [crossover(deep, deep, rng) for _ in range(50)]
    assert deep in children
    assert all(child.height <= 64 for child in children)


def test_height_is_checked_after_repair() -> None:
    parent = parse("mul(y, f)")
    too_high_once_repaired = parse("abs(abs(1))")
    for seed in range(20):
        rng = random.Random(seed)
        assert finished(too_high_once_repaired, parent, rng, max_height=2) is parent
        assert finished(too_high_once_repaired, parent, rng, max_height=3).height == 3


def test_a_finished_child_is_complete_canonical_and_low() -> None:
    rng = random.Random(12)
    trees = [canonical(repair(tree, rng)) for tree in ramped_half_and_half(rng, 40)]
    for _ in range(1000):
        first, second = rng.sample(trees, 2)
        child = finished(rng.choice([crossover(first, second, rng), mutate(first, rng)]), first, rng, max_height=5)
        assert child.complete
        assert canonical(child) == child
        assert child.height <= 5 or child is first


def test_variation_depends_on_its_generator_alone() -> None:
    def run() -> list[str]:
        rng = random.Random(77)
        trees = ramped_half_and_half(rng, 10)
        return [str(finished(crossover(a, b, rng), a, rng, 10)) for a, b in pairwise(trees)]

    assert run() == run()


def _depths(tree: Expression) -> tuple[int, int]:
    """The least and the greatest depth of a leaf."""
    if not tree.children:
        return 0, 0
    below = [_depths(child) for child in tree.children]
    return 1 + min(low for low, _ in below), 1 + max(high for _, high in below)


def _shuffled(tree: Expression, rng: random.Random) -> Expression:
    children = [_shuffled(child, rng) for child in tree.children]
    if children and OPERATORS[tree.symbol].commutative:
        rng.shuffle(children)
    return Expression(tree.symbol, tuple(children))


def _is_graft(tree: Expression, child: Expression, index: int) -> bool:
    return index < child.size and tree.replace(index, child.at(index)) == child
