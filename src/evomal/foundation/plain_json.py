"""JSON from files that anybody may have written, as plain data within limits."""

import json
import math
import sys
from typing import Any, NoReturn

MAX_NESTING = 20
MAX_TEXT = 100_000
"""Characters of a text or a name, as many as of a formula."""
MAX_NUMBER = 320
"""Characters of a number; a longer whole one is beyond what a float holds."""
MAX_FLOAT = sys.float_info.max

INVALID = "it is not complete, valid JSON"
TOO_DEEP = f"its entries nest more than {MAX_NESTING} deep"


class NotPlainError(ValueError):
    """What is wrong with data, in words such as "it is not complete, valid JSON"."""


def read_json(text: str | bytes) -> Any:
    """JSON as plain values; stricter than `json.loads`, which takes NaN, an entry that is there twice, and any size.

    Args:
        text: The document; bytes are UTF-8, with or without the mark that some editors put first.

    Returns:
        Its value, for which `check_limits` has passed.

    Raises:
        NotPlainError: It is no JSON, or past a limit.

    Example:
        >>> read_json('{"weights": [1, 0.5]}')
        {'weights': [1, 0.5]}
        >>> read_json('{"weights": [1e400]}')
        Traceback (most recent call last):
        evomal.foundation.plain_json.NotPlainError: it has a number that no float holds, or of more than 320 characters
    """
    value = parsed_json(text)
    check_limits(value)
    return value


def parsed_json(text: str | bytes) -> Any:
    """The same before `check_limits`; a number that is too large or too long is infinite.

    Raises:
        NotPlainError: It is no JSON, or nests too deep to be read at all.
    """
    try:
        return json.loads(
            text.decode("utf-8-sig") if isinstance(text, bytes) else text,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
            parse_int=lambda number: int(number) if len(number) <= MAX_NUMBER else math.inf,
            parse_float=lambda number: float(number) if len(number) <= MAX_NUMBER else math.inf,
        )
    except RecursionError:
        raise NotPlainError(TOO_DEEP) from None
    except ValueError:
        raise NotPlainError(INVALID) from None


def check_limits(value: Any) -> None:
    """Make sure that plain values nest no deeper, and hold no longer text or greater numbers, than files may.

    Raises:
        NotPlainError: They do.

    Example:
        >>> check_limits({"seed": 10**400})
        Traceback (most recent call last):
        evomal.foundation.plain_json.NotPlainError: it has a number that no float holds, or of more than 320 characters
    """
    # Level by level, not by recursion: JSON is read up to a depth at which recursion would fail.
    level: list[Any] = [value]
    for _ in range(MAX_NESTING + 1):
        for each in level:
            _check(each)
        lists = [each for each in level if isinstance(each, list)]
        objects = [each for each in level if isinstance(each, dict)]
        if not lists and not objects:
            return
        level = [inner for each in lists for inner in each]
        level += [inner for each in objects for pair in each.items() for inner in pair]
    raise NotPlainError(TOO_DEEP)


def _check(value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise NotPlainError(f"it has a text of more than {MAX_TEXT:,} characters")
    if isinstance(value, int | float) and not abs(value) <= MAX_FLOAT:
        raise NotPlainError(f"it has a number that no float holds, or of more than {MAX_NUMBER} characters")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an entry is there twice")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
