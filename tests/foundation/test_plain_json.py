import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.foundation.plain_json import MAX_NESTING, NotPlainError, check_limits, read_json

DEEP = "its entries nest more than 20 deep"
INVALID = "it is not complete, valid JSON"
NUMBER = "it has a number that no float holds, or of more than 320 characters"

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(value=PLAIN)
def test_plain_values_come_back_as_they_were(value):
    text = json.dumps(value)
    assert json.dumps(read_json(text)) == json.dumps(read_json(text.encode())) == text  # -0.0 too


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", INVALID),
        ("{", INVALID),
        ("[1,]", INVALID),
        ("[NaN]", INVALID),
        ("-Infinity", INVALID),
        ('{"a": 1, "a": 1}', INVALID),
        ('{"a": {"b": 1, "b": 2}}', INVALID),
        (b"\xff", INVALID),
        ('"\x00"', INVALID),
        ("1e400", NUMBER),
        ("[-1e400]", NUMBER),
        ("1" + "0" * 309, NUMBER),
        ("-" + "9" * 5000, NUMBER),
        ("0." + "1" * 320, NUMBER),
        ('{"a": [true, {"b": 1e999}]}', NUMBER),
        ('"' + "x" * 100_001 + '"', "it has a text of more than 100,000 characters"),
        ('{"' + "x" * 100_001 + '": 1}', "it has a text of more than 100,000 characters"),
        ("[" * 21 + "]" * 21, DEEP),
        ("[" * 700 + "]" * 700, DEEP),
        ("[" * 100_000 + "]" * 100_000, DEEP),
        ('{"a":' * 100_000, DEEP),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_plain_is_refused(text, what):
    with pytest.raises(NotPlainError) as caught:
        read_json(text)
    assert str(caught.value) == what


def test_the_limits_themselves_are_within():
    assert read_json("[" * MAX_NESTING + "]" * MAX_NESTING) is not None
    assert read_json('"' + "x" * 100_000 + '"') == "x" * 100_000
    assert read_json("1" + "0" * 308) == 10**308
    assert read_json("1.7976931348623157e308") == 1.7976931348623157e308
    check_limits([True, None, -0.0, 5e-324])


def test_the_mark_that_some_editors_put_first_is_no_part_of_a_document():
    assert read_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
