import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.expressions import LEAVES, MAX_DEPTH, MAX_NODES, OPERATORS, Expression, check_weights, parse
from evomal.foundation.errors import ExpressionError

leaves = st.sampled_from(LEAVES).map(Expression)


def _with_operator(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def build(name: str) -> st.SearchStrategy[Expression]:
        arguments = st.tuples(*[children] * OPERATORS[name].arity)
        return arguments.map(lambda chosen: Expression(name, chosen))

    return st.sampled_from(list(OPERATORS)).flatmap(build)


expressions = st.recursive(leaves, _with_operator, max_leaves=12)
relaxed = settings(deadline=None, derandomize=True, max_examples=100)


def test_the_design_s_example_has_four_edges() -> None:
    tree = parse("abs(log(mul(y, f)))")
    assert (tree.size, tree.height, tree.edges) == (5, 3, 4)
    assert [node.symbol for node in tree.preorder()] == ["abs", "log", "mul", "y", "f"]
    assert [leaf.symbol for leaf in tree.leaves] == ["y", "f"]


@relaxed
@given(expressions)
def test_size_and_height_agree_with_counting_in_the_text(tree: Expression) -> None:
    text = str(tree)
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    assert tree.height == deepest
    assert tree.size == len(text.replace("(", " ").replace(")", " ").replace(",", " ").split())


@relaxed
@given(expressions, expressions, st.data())
def test_at_and_replace_agree_with_preorder(tree: Expression, other: Expression, data: st.DataObject) -> None:
    nodes = list(tree.preorder())
    index = data.draw(st.integers(0, tree.size - 1))
    old = tree.at(index)
    assert old is nodes[index]
    changed = tree.replace(index, other)
    symbols = [node.symbol for node in tree.preorder()]
    symbols[index : index + old.size] = [node.symbol for node in other.preorder()]
    assert [node.symbol for node in changed.preorder()] == symbols
    assert changed.replace(index, old) == tree


@relaxed
@given(expressions)
def test_equal_trees_hash_alike_and_survive_pickling(tree: Expression) -> None:
    again = parse(str(tree))
    assert again == tree
    assert hash(again) == hash(tree)
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert eval(repr(tree), {"parse": parse}) == tree


def test_order_of_arguments_matters_to_equality() -> None:
    assert parse("sub(y, f)") != parse("sub(f, y)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mul(y, f)", True),
        ("mul(y, sign(f))", False),
        ("add(sign(f), abs(mul(f, y)))", True),
        ("sign(abs(log(mul(y, f))))", False),
        ("square(mul(y, 1))", False),
        ("mul(sign(abs(f)), sub(y, sign(sub(y, f))))", False),
    ],
)
def test_has_gradient(text: str, expected: bool) -> None:
    assert parse(text).has_gradient is expected


def test_complete_needs_y_and_f() -> None:
    assert parse("mul(y, f)").complete
    assert not parse("mul(y, 1)").complete
    assert not parse("mul(f, f)").complete


@pytest.mark.parametrize(
    ("symbol", "children", "message"),
    [
        ("pow", (), "unknown name 'pow'; known are add, sub, mul"),
        ("logg", (), "unknown name 'logg'; did you mean 'log'?"),
        ("mul", (Expression("y"),), "operator 'mul' takes 2 arguments, not 1"),
        ("abs", (), "operator 'abs' takes 1 argument, not 0"),
        ("y", (Expression("f"),), "leaf 'y' takes no arguments"),
    ],
)
def test_what_cannot_be_built(symbol: str, children: tuple[Expression, ...], message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(symbol, children)
    assert str(caught.value).startswith(message)


def test_depth_has_a_limit() -> None:
    tree = Expression("f")
    for _ in range(MAX_DEPTH):
        tree = Expression("abs", (tree,))
    assert tree.height == MAX_DEPTH
    assert hash(tree) == hash(parse(str(tree)))
    with pytest.raises(ExpressionError, match="nested 65 deep; at most 64 levels are allowed"):
        Expression("abs", (tree,))


def test_shared_subtrees_do_not_get_round_the_size_limit() -> None:
    tree = Expression("f")
    for _ in range(8):
        tree = Expression("mul", (tree, tree))
    with pytest.raises(ExpressionError, match=f"has 1023 nodes; at most {MAX_NODES} are allowed"):
        Expression("mul", (tree, tree))


@pytest.mark.parametrize("index", [-1, 5])
def test_a_node_that_is_not_there(index: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("abs(log(mul(y, f)))").at(index)
    assert str(caught.value) == f"'abs(log(mul(y, f)))' has no node {index}: its nodes are numbered 0 to 4"


def test_weights_must_fit() -> None:
    tree = parse("abs(log(mul(y, f)))")
    assert check_weights(tree, [1, 2, 3, 4]) == (1.0, 2.0, 3.0, 4.0)
    with pytest.raises(ExpressionError) as caught:
        check_weights(tree, [1.0] * 5)
    assert str(caught.value) == (
        "'abs(log(mul(y, f)))' has 4 edges and needs as many weights, in pre-order of the child node; got 5"
    )
    with pytest.raises(ExpressionError, match=r"weight 2 of 'abs\(log\(mul\(y, f\)\)\)' is nan: weights must be"):
        check_weights(tree, [1.0, 1.0, float("nan"), 1.0])
