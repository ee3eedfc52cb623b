"""The best losses of a journal: what `evomal show` tells of a run."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from evomal.expressions import parse, to_formula, to_text
from evomal.expressions.formula import activated, scaled
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.plain_json import check_limits
from evomal.foundation.serialization import cleaned
from evomal.losses import LearnedLoss, loss_from_entries
from evomal.report.described import DIGITS
from evomal.report.tables import make_table


def best_formulas(records: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The best distinct losses of a journal; formulas are told apart by expression, other losses by coefficients.

    Args:
        records: Its lines, of any family; a line that names none holds a formula.
        count: How many to give at most.

    Returns:
        A dictionary each, best first: by fitness, then size; those without fitness last, by rejection score. Its
        ``reason`` says why it failed or was rejected, or what ended its tuning.

    Raises:
        RunFolderError: A line lacks what a line holds.

    Example:
        >>> found = {"score": None, "outcome": "trained", "generation": 0, "task_type": "regression"}
        >>> squares = {"expression": "square(sub(y, f))", "output_activation": "identity", "weights": None}
        >>> taylor = {"family": "taylor", "weights": [0, 0.5, 0, 2, 0, 0, 0, 0], "scale": 3}
        >>> lines = [{**found, **squares, "fitness": 0.5, "index": 0}, {**found, **taylor, "fitness": 0.2, "index": 1}]
        >>> [(row["formula"], row["size"]) for row in best_formulas(lines, 2)]
        [('3·((f - 0.5)²)', 8), ('(y - f)²', 4)]
    """
    best: dict[Any, tuple[Rank, dict[str, Any]]] = {}
    worst: Any = None  # the key of the last of them, once there are enough
    for record in records:
        with _blamed(record):
            standing = _standing(record)
            if worst is not None and standing > best[worst][0][:2]:
                continue  # journals are long: formulas are read only where they may be shown
            key, size = _identity(record)
            rank = (*standing, size, record["generation"], record["index"])
        if key in best:
            if rank > best[key][0]:
                continue
        elif worst is not None:
            if rank > best[worst][0]:
                continue
            del best[worst]
        best[key] = rank, record
        worst = max(best, key=lambda known: best[known][0]) if len(best) == count else None
    return [_row(record) for _, record in sorted(best.values(), key=lambda known: known[0])]


Rank = tuple[int, float, int, int, int]


@contextmanager
def _blamed(record: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, EvomalError) as error:
        place = f"generation {record['generation']}, index {record['index']}"
        raise RunFolderError(f"the journal is damaged at {place} ({error!r}); it cannot be read") from None


def _identity(record: dict[str, Any]) -> tuple[Any, int]:
    """What tells a loss from others, and its size."""
    if record.get("family", "symbolic") == "symbolic":
        expression = parse(record["expression"])
        return to_text(expression), expression.size
    return tuple(record["weights"]), len(record["weights"])


def _row(record: dict[str, Any]) -> dict[str, Any]:
    with _blamed(record):
        check_limits(record)
        symbolic = record.get("family", "symbolic") == "symbolic"
        reason = record.get("reason")
        return {
            **(_formula_row(record) if symbolic else _other_row(record)),
            "fitness": None if record["fitness"] is None else float(record["fitness"]),
            "score": None if record["score"] is None else float(record["score"]),
            "outcome": str(record["outcome"]),
            "reason": None if reason is None else str(reason),
            "generation": record["generation"],
            "index": record["index"],
            "weights": record["weights"],
        }


def _formula_row(record: dict[str, Any]) -> dict[str, Any]:
    """A formula's own entries; no loss is built, as journals are long."""
    expression = parse(record["expression"])
    # Without weights it was never tuned, and all are 1.
    text = activated(to_formula(expression, record["weights"], DIGITS), record["output_activation"])
    formula = scaled(text, float(record.get("scale", 1.0)), DIGITS)
    return {"family": "symbolic", "expression": to_text(expression), "size": expression.size, "formula": formula}


def _other_row(record: dict[str, Any]) -> dict[str, Any]:
    loss = loss_from_entries(record)
    assert isinstance(loss, LearnedLoss)  # journals hold no other
    formula = loss.formula(digits=DIGITS)
    return {"family": loss.family, "expression": None, "size": len(loss.coefficients), "formula": formula}


def _standing(record: dict[str, Any]) -> tuple[int, float]:
    """Nothing is better than a fitness, that of a heat coming last; without one, the higher the score the better."""
    if record["fitness"] is not None:
        return int(record["outcome"] == "dropped"), float(record["fitness"])
    return 2, 1e9 if record["score"] is None else -float(record["score"])


def table_of_formulas(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a formula: fitness, size, outcome, formula, and why it has no fitness where one lacks."""
    reasons = any(row["reason"] for row in rows)
    columns = ("fitness", "size", "outcome", "formula", *(("reason",) if reasons else ()))
    table = make_table(*columns, left=("outcome", "formula", "reason"))
    for row in rows:
        fitness = "–" if row["fitness"] is None else f"{row['fitness']:.4g}"
        cells = [fitness, str(row["size"]), cleaned(row["outcome"]), cleaned(row["formula"])]
        table.add_row(*cells, *([cleaned(row["reason"] or "")] if reasons else []))
    return table
