"""What the journal of finals tells: the metric of every finalist at every rate."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_KNOWN_AS = re.compile(r"(?P<name>.*) [0-9a-f]{16}")


def final_metrics(lines: Iterable[Mapping[str, Any]], steps: int) -> dict[str, dict[float, list[float]]]:
    """The metrics of full trainings of finals, by loss and rate; a rate at which a training failed is left out.

    Args:
        lines: Of ``finals.jsonl``.
        steps: Base steps of a full training; shorter ones only chose rates.

    Returns:
        For each loss, by rising rate, one metric for each split.

    Example:
        >>> line = {"loss": "focal 0123456789abcdef", "lr": 0.1, "split": 0, "folds": 5, "steps": 9, "value": 0.25}
        >>> final_metrics([line, {**line, "steps": 3}, {**line, "lr": 0.3, "value": None}], steps=9)
        {'focal': {0.1: [0.25]}}
    """
    found: dict[str, dict[float, list[float | None]]] = {}
    for line in lines:
        loss, lr, value = line.get("loss"), line.get("lr"), line.get("value")
        if isinstance(loss, str) and isinstance(lr, int | float) and line.get("steps") == steps:
            named = _KNOWN_AS.fullmatch(loss)
            rates = found.setdefault(named["name"] if named else loss, {})
            rates.setdefault(float(lr), []).append(float(value) if isinstance(value, int | float) else None)
    return {
        loss: {lr: [v for v in rates[lr] if v is not None] for lr in sorted(rates) if None not in rates[lr]}
        for loss, rates in found.items()
    }
