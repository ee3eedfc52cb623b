"""The best losses of a journal: what `evomal show` tells of a run."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evomal.expressions import parse, to_formula, to_text
from evomal.expressions.formula import activated, scaled
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.serialization import cleaned
from evomal.losses import LearnedLoss, loss_from_entries
from evomal.report.described import DIGITS
from evomal.report.tables import make_table


def best_formulas(records: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The best distinct losses of a journal; formulas are told apart by expression, other losses by coefficients.

    Args:
        records: Its lines, of any family; a line that names none holds a formula.
        count: How many to give at most.

    Returns:
        A dictionary each, best first: by fitness, then size; those without fitness last, by rejection score.

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
    best: dict[Any, dict[str, Any]] = {}
    for row in map(_row, records):
        key = row["expression"] or tuple(row["weights"])
        known = best.get(key)
        if known is None or _rank(row) < _rank(known):
            best[key] = row
    return sorted(best.values(), key=_rank)[:count]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    try:
        symbolic = record.get("family", "symbolic") == "symbolic"
        return {
            **(_formula_row(record) if symbolic else _other_row(record)),
            "fitness": None if record["fitness"] is None else float(record["fitness"]),
            "score": None if record["score"] is None else float(record["score"]),
            "outcome": str(record["outcome"]),
            "generation": record["generation"],
            "index": record["index"],
            "weights": record["weights"],
        }
    except (KeyError, TypeError, ValueError, EvomalError) as error:
        place = f"generation {record['generation']}, index {record['index']}"
        raise RunFolderError(f"the journal is damaged at {place} ({error!r}); it cannot be read") from None


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


def _rank(row: dict[str, Any]) -> tuple[Any, ...]:
    # Nothing is better than a fitness, that of a heat coming last; without one, the higher the score the better.
    if row["fitness"] is not None:
        by = (int(row["outcome"] == "dropped"), row["fitness"])
    else:
        by = (2, -(row["score"] if row["score"] is not None else -1e9))
    return (*by, row["size"], row["generation"], row["index"])


def table_of_formulas(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a formula: fitness, size, outcome, formula."""
    table = make_table("fitness", "size", "outcome", "formula", left=("outcome", "formula"))
    for row in rows:
        fitness = "–" if row["fitness"] is None else f"{row['fitness']:.4g}"
        table.add_row(fitness, str(row["size"]), cleaned(row["outcome"]), cleaned(row["formula"]))
    return table
