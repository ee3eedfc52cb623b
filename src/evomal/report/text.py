"""Words for counts and ranges."""

from collections.abc import Mapping

OUTCOMES = ("trained", "equivalent", "dropped", "rejected", "failed", "archived", "elite")


def outcomes_text(counts: Mapping[str, int]) -> str:
    """How many candidates ended in which way, in a fixed order.

    Example:
        >>> outcomes_text({"rejected": 3, "trained": 2})
        'trained 2, rejected 3'
    """
    return ", ".join(f"{name} {counts[name]}" for name in OUTCOMES if counts.get(name))


def between(low: str, high: str) -> str:
    """A range, or one value where both ends are the same.

    Example:
        >>> between("3", "5"), between("3", "3")
        ('3 to 5', '3')
    """
    return low if low == high else f"{low} to {high}"
