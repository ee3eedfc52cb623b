"""Losses in words and formulas: what `evomal show` tells."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from evomal.errors import RunFolderError
from evomal.expressions import parse, simplify, to_formula, to_latex, to_text
from evomal.expressions.formula import activated, activated_latex
from evomal.losses import SymbolicLoss
from evomal.report.tables import make_table
from evomal.report.text import cleaned

DIGITS = 4


def describe(loss: SymbolicLoss) -> dict[str, Any]:
    """A loss as plain values: formula, simplified formula, LaTeX, and every coefficient with its edge.

    Example:
        >>> loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
        >>> described = describe(loss)
        >>> described["formula"], described["edges"][0]
        ('(y - f)²', {'edge': 0, 'child': 'sub(y, f)', 'weight': 1.0})
    """
    expression, weights = loss.expression, loss.weights.detach().tolist()
    short = simplify(expression, weights, DIGITS)
    edges = [
        {"edge": edge, "child": to_text(expression.at(edge + 1)), "weight": weight}
        for edge, weight in enumerate(weights)
    ]
    return {
        "formula": loss.formula(digits=DIGITS),
        "simplified": {
            "text": activated(short.text, loss.output_activation),
            "latex": activated_latex(short.latex, loss.output_activation),
            "note": short.note,
        },
        "latex": activated_latex(to_latex(expression, weights, DIGITS), loss.output_activation),
        "expression": to_text(expression),
        "weights": weights,
        "edges": edges,
        "task_type": loss.task_type,
        "output_activation": loss.output_activation,
    }


def history(info: dict[str, Any]) -> dict[str, str]:
    """What a loss file says of its past, one line for each entry.

    Example:
        >>> history({"seed": 3, "tuned_for": {"lr": 0.01, "momentum": 0.0}})
        {'seed': '3', 'tuned for': 'lr 0.01, momentum 0'}
    """
    return {cleaned(name).replace("_", " "): _line(value) for name, value in info.items()}


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return cleaned(", ".join(f"{name.replace('_', ' ')} {_line(entry)}" for name, entry in value.items()))
    return cleaned(f"{value:.6g}" if isinstance(value, float) else value)


def table_of_weights(edges: Sequence[dict[str, Any]]) -> Table:
    """φ: the weight of each edge, with the subtree that it multiplies."""
    table = make_table("edge", "φ", "child node", left=("child node",))
    for edge in edges:
        table.add_row(str(edge["edge"]), f"{edge['weight']:.6g}", edge["child"])
    return table


def best_formulas(records: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The best distinct formulas of a journal.

    Args:
        records: Its lines.
        count: How many to give at most.

    Returns:
        A dictionary each, best first: by fitness, then size; those without fitness last, by rejection score.

    Raises:
        RunFolderError: A line lacks what a line holds.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in map(_row, records):
        known = best.get(row["expression"])
        if known is None or _rank(row) < _rank(known):
            best[row["expression"]] = row
    return sorted(best.values(), key=_rank)[:count]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    try:
        expression = parse(record["expression"])
        weights = record["weights"]
        return {
            "fitness": None if record["fitness"] is None else float(record["fitness"]),
            "score": None if record["score"] is None else float(record["score"]),
            "size": expression.size,
            "outcome": str(record["outcome"]),
            "generation": record["generation"],
            "index": record["index"],
            "formula": activated(to_formula(expression, weights, DIGITS), record["output_activation"]),
            "expression": to_text(expression),
            "weights": weights,
        }
    except (KeyError, TypeError, ValueError) as error:
        place = f"generation {record['generation']}, index {record['index']}"
        raise RunFolderError(f"the journal is damaged at {place} ({error!r}); it cannot be read") from None


def _rank(row: dict[str, Any]) -> tuple[Any, ...]:
    # Nothing is better than a fitness; without one, the higher the score the better.
    by = (
        (0, row["fitness"])
        if row["fitness"] is not None
        else (1, -(row["score"] if row["score"] is not None else -1e9))
    )
    return (*by, row["size"], row["generation"], row["index"])


def table_of_formulas(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a formula: fitness, size, outcome, formula."""
    table = make_table("fitness", "size", "outcome", "formula", left=("outcome", "formula"))
    for row in rows:
        fitness = "–" if row["fitness"] is None else f"{row['fitness']:.4g}"
        table.add_row(fitness, str(row["size"]), cleaned(row["outcome"]), row["formula"])
    return table
