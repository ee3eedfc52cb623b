"""Times as people write them."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in UNITS))


def seconds_of(text: str) -> float:
    """The seconds that a text means: a number, or numbers with ``d``, ``h``, ``m`` and ``s`` after them, in this order.

    Raises:
        ValueError: It means no time.

    Example:
        >>> seconds_of("90"), seconds_of("45m"), seconds_of("2h30m"), seconds_of("1.5d")
        (90.0, 2700.0, 9000.0, 129600.0)
    """
    written = text.strip()
    parts = _PARTS.fullmatch(written)
    if parts is not None and written:
        return sum(float(part or 0) * unit for part, unit in zip(parts.groups(), UNITS.values(), strict=True))
    seconds = float(written)
    if not math.isfinite(seconds):
        raise ValueError("no finite time")
    return seconds


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return seconds_of(value)
    except ValueError:
        raise ValueError(f"setting 'max_time': {value!r} is no time; write seconds, or such as 45m or 2h30m") from None


Duration = Annotated[float, BeforeValidator(_read), Field(gt=0)]
"""Seconds above zero, which may be given as `seconds_of` reads them."""
