"""Plain values: numbers as JSON can hold them, times and names for people."""

import math
from collections.abc import Iterable
from typing import Any


def finite_or_none(value: float | None) -> float | None:
    """The number, or None where it is infinite or not a number.

    Example:
        >>> finite_or_none(0.5), finite_or_none(math.inf), finite_or_none(None)
        (0.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


def finite(value: Any) -> Any:
    """A copy of plain values in which numbers that are not finite are None, as JSON can hold them.

    Example:
        >>> finite({"mean": float("nan"), "runs": (1.0, float("inf"))})
        {'mean': None, 'runs': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(name): finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return finite_or_none(value) if isinstance(value, float) else value


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(3.21), duration(75), duration(7380)
        ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def places(values: Iterable[float | None]) -> int:
    """Places after the point with which metrics are shown: four, or more where the greatest is below a thousandth.

    A mean squared error depends on the unit of the targets, and may be small throughout.

    Example:
        >>> places([0.2125, 0.00004]), places([3.2e-5, math.nan, None]), places([0.0])
        (4, 7, 4)
    """
    greatest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return 4 if greatest >= 1e-3 or greatest == 0 else 2 - math.floor(math.log10(greatest))


def shown(value: float) -> str:
    """A single metric, with `places` of its own.

    Example:
        >>> shown(0.2125), shown(3.2e-5)
        ('0.2125', '0.0000320')
    """
    return f"{value:.{places([value])}f}"


def cleaned(text: object) -> str:
    r"""Text from a file without anything that a terminal would obey.

    Example:
        >>> cleaned("digits\x1b[31m")
        'digits?[31m'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def flattened(values: Any, name: str = "") -> dict[str, Any]:
    """Nested plain values by names such as ``training: base: lr``.

    Example:
        >>> flattened({"training": {"base": {"lr": 0.1}, "seeds": [0, 1]}})
        {'training: base: lr': 0.1, 'training: seeds': [0, 1]}
    """
    if not isinstance(values, dict):
        return {name: values}
    return {
        inner: value
        for key, entry in values.items()
        for inner, value in flattened(entry, f"{name}: {key}" if name else str(key)).items()
    }


def by_value(values: Any) -> Any:
    """Functions and objects of a user, lambdas too, such that pickling sends their code along.

    Args:
        values: Anything.

    Returns:
        A stand-in; what comes out at the other end are the values themselves.

    Example:
        >>> import pickle
        >>> pickle.loads(pickle.dumps(by_value({"three": lambda: 3})))["three"]()
        3
    """
    from joblib import wrap_non_picklable_objects

    return wrap_non_picklable_objects(values, keep_wrapper=False)
