"""Numbers as JSON can hold them."""

import math


def finite_or_none(value: float | None) -> float | None:
    """The number, or None where it is infinite or not a number.

    Example:
        >>> finite_or_none(0.5), finite_or_none(math.inf), finite_or_none(None)
        (0.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None
