"""Words for numbers, and text that is safe to print."""

from collections.abc import Mapping

OUTCOMES = ("trained", "equivalent", "rejected", "failed", "archived", "elite")


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(3.21), duration(75), duration(7380)
        ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def outcomes_text(counts: Mapping[str, int]) -> str:
    """How many candidates ended in which way, in a fixed order.

    Example:
        >>> outcomes_text({"rejected": 3, "trained": 2})
        'trained 2, rejected 3'
    """
    return ", ".join(f"{name} {counts[name]}" for name in OUTCOMES if counts.get(name))


def cleaned(text: object) -> str:
    r"""Text from a file without anything that a terminal would obey.

    Example:
        >>> cleaned("digits\x1b[31m")
        'digits?[31m'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def between(low: str, high: str) -> str:
    """A range, or one value where both ends are the same.

    Example:
        >>> between("3", "5"), between("3", "3")
        ('3 to 5', '3')
    """
    return low if low == high else f"{low} to {high}"
