import random

import pytest

from evomal.expressions import grow, parse, to_text
from evomal.foundation.errors import ExpressionError


def test_print_after_parse_is_the_identity_on_the_one_spelling() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = to_text(grow(rng, 0, 6))
        assert to_text(parse(text)) == text


def test_white_space_means_nothing() -> None:
    assert parse("\n abs ( log(mul(y,\tf) ) )  ") == parse("abs(log(mul(y, f)))")
    assert str(parse("add(-1,1)")) == "add(-1, 1)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the formula is empty; write one such as 'mul(y, f)'"),
        ("  \n", "the formula is empty; write one such as 'mul(y, f)'"),
        ("mull(y, f)", "unknown name 'mull'; did you mean 'mul'? (position 1 of 'mull(y, f)')"),
        ("ABS(f)", "unknown name 'ABS'; did you mean 'abs'? (position 1 of 'ABS(f)')"),
        ("mul(y, f, 1)", "operator 'mul' takes 2 arguments, not 3 (position 1 of 'mul(y, f, 1)')"),
        ("abs(log())", "operator 'log' takes 1 argument, not 0 (position 5 of 'abs(log())')"),
        ("abs", "operator 'abs' takes 1 argument, not 0 (position 1 of 'abs')"),
        ("abs(y())", "leaf 'y' takes no arguments (position 5 of 'abs(y())')"),
        ("mul(y(f), f)", "leaf 'y' takes no arguments (position 5 of 'mul(y(f), f)')"),
        ("mul(y, f", "')' or ',' is missing at the end (position 9 of 'mul(y, f')"),
        ("mul(y f)", "')' or ',' is missing before 'f' (position 7 of 'mul(y f)')"),
        ("mul(y,", "an operator or leaf is missing at the end (position 7 of 'mul(y,')"),
        ("mul(,f)", "an operator or leaf is missing before ',' (position 5 of 'mul(,f)')"),
        ("(y)", "an operator or leaf is missing before '(' (position 1 of '(y)')"),
        ("abs(f))", "the formula is complete before ')' (position 7 of 'abs(f))')"),
        ("abs(f) abs(y)", "the formula is complete before 'abs' (position 8 of 'abs(f) abs(y)')"),
        ("y\x00", "unknown name 'y\x00'; did you mean 'y'? (position 1 of 'y\\x00')"),
    ],
)
def test_what_is_not_a_formula(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["0.5", "y*f", "__import__('os')", "lambda: 0", "add(y, 2)", "y.real", "ƒ"])
def test_nothing_but_the_table_is_known(text: str) -> None:
    with pytest.raises(ExpressionError, match="unknown name"):
        parse(text)


def test_only_text_is_parsed() -> None:
    with pytest.raises(ExpressionError, match=r"must be text such as 'mul\(y, f\)', not int"):
        parse(1)  # type: ignore[arg-type]


def test_messages_show_a_piece_of_a_long_formula() -> None:
    text = "abs(" * 40 + "lag(f)" + ")" * 40
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value).startswith("unknown name 'lag'; did you mean")
    assert "(position 161 of '…s(abs(abs(" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abs(" * 5000 + "f" + ")" * 5000, "the formula is nested 5000 deep; at most 64 levels are allowed"),
        ("abs(" * 5000, "the formula is nested 5000 deep; at most 64 levels are allowed"),
        ("y " * 1001, "the formula has 1001 nodes; at most 1000 are allowed"),
        ("y" * 100_001, "the formula has 100001 characters; at most 100000 are read"),
    ],
)
def test_what_is_too_large_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message
