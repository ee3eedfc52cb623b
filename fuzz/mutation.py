"""Small changes to valid input: of what it says, if it is JSON, or of its bytes."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from evomal.expressions import LEAVES, OPERATORS

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 1e-320, 1e39, 3.4028235e38, 2**31, 2**63, 2**64, 10**40,
    10**310, float("nan"), float("inf"), "", "y", "f", "1", "x", "\x00", "\x1b[31m", "\ud800", "φ", "a\nb", "[/red]",
    "x" * 5000, [], {}, [[]], {"": None}, [1.0], ["y"], "symbolic", "taylor",
    "neural", "regression", "classification", "softplus",
)  # fmt: skip
WORDS = (*OPERATORS, *LEAVES, "(", ")", ",", " ", "\n", "abs(", "add(y, ", ")" * 10, "abs(" * 70, "2", "y()", "pow(")
PIECES = (b"&a ", b"*a", b"!!python/name:os.system ", b"<<: ", b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"? ", b'"',
          b"1e400", b"NaN", b"\\ud800", b"9" * 400, b"\xff", b"\x00", b"'", b"|\n", b"---\n", b"%T")  # fmt: skip


def mutated(data: bytes, draw: random.Random, rounds: int = 1) -> bytes:
    """The input with so many small changes, each of its structure if it has one, else of its bytes.

    Example:
        >>> mutated(b'{"scale": 1}', random.Random(0), rounds=3) != b'{"scale": 1}'
        True
    """
    for _ in range(rounds):
        change = draw.choice((_structure, _structure, _lines, _words, _bytes))
        data = change(data, draw)
    return data


def _structure(data: bytes, draw: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _lines(data, draw)
    places = list(_places(document))
    if not places:
        return _bytes(data, draw)
    holder, name = draw.choice(places)
    draw.choice(CHANGES)(holder, name, places, draw)
    try:
        return json.dumps(document).encode()
    except (RecursionError, ValueError):  # a value was put into itself
        return data


def _places(value: Any) -> Any:
    """Every entry as (what holds it, its name or number)."""
    if isinstance(value, dict | list):
        for name, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, name
            yield from _places(inner)


def _odd(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    holder[name] = draw.choice(ODD)


def _gone(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    del holder[name]


def _other(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    other, inner = draw.choice(places)
    holder[name] = json.loads(json.dumps(other[inner]))


def _nested(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 2, 18, 25))):
        holder[name] = draw.choice(([holder[name]], {"a": holder[name]}))


def _longer(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    if isinstance(holder, dict):
        holder[draw.choice(("new", "scale", "", "info", "\x1b"))] = draw.choice(ODD)
    else:
        holder.insert(name, draw.choice(ODD))


def _respelled(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    if isinstance(holder[name], str):
        holder[name] = _words(holder[name].encode("utf-8", "replace"), draw).decode("utf-8", "replace")
    elif isinstance(holder[name], int | float):
        with suppress(OverflowError):
            holder[name] = holder[name] * draw.choice((-1, 10, 1e-30, 1e30, 10**20))


def _edges(holder: Any, name: Any, places: Any, draw: random.Random) -> None:
    """A formula that grew or shrank gets as many weights as it needs, now and then."""
    _respelled(holder, name, places, draw)
    if isinstance(holder, dict) and isinstance(text := holder.get("expression"), str):
        holder["weights"] = [draw.choice((1.0, -2.5, 1e20, 1e-30))] * min(2000, sum(map(text.count, "(,")))


CHANGES: tuple[Callable[..., None], ...] = (_odd, _odd, _gone, _other, _nested, _longer, _respelled, _edges)


def _lines(data: bytes, draw: random.Random) -> bytes:
    """One line of several changed, left out, or written twice."""
    lines = data.split(b"\n")
    place = draw.randrange(len(lines))
    change = draw.choice(("same", "same", "gone", "twice", "swapped"))
    if change == "same":
        inner = _structure if lines[place].startswith((b"{", b"[")) and len(lines) > 1 else _bytes
        lines[place] = inner(lines[place], draw)
    elif change == "gone":
        del lines[place]
    elif change == "twice":
        lines.insert(place, lines[place])
    else:
        draw.shuffle(lines)
    return b"\n".join(lines)


def _words(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.choice((0, 0, 1, 2, 5)))
    return data[:start] + draw.choice(WORDS).encode() + data[end:]


def _bytes(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.choice((0, 0, 1, 1, 4, 50)))
    piece = draw.choice((b"", bytes([draw.randrange(256)]), draw.choice(PIECES), data[start:end] * 2))
    return data[:start] + piece + data[end:]
