"""Losses in words and formulas, one or the best of a journal: what `evomal show` tells."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.table import Table

from evomal.expressions import parse, simplify, to_formula, to_latex, to_text
from evomal.expressions.formula import activated, activated_latex, scaled, scaled_latex
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.plain_json import check_limits
from evomal.foundation.serialization import cleaned
from evomal.losses import (
    HANDCRAFTED,
    HandcraftedLoss,
    LearnedLoss,
    NeuralLoss,
    SymbolicLoss,
    TaylorLoss,
    loss_from_entries,
)
from evomal.losses.loading import SavedLoss
from evomal.report.tables import make_table

DIGITS = 4
TAYLOR_PARTS = (
    *("centre of y", "centre of f", "f - θ1", "½(f - θ1)²", "⅙(f - θ1)³"),
    *("(y - θ0)(f - θ1)", "½(y - θ0)(f - θ1)²", "½(y - θ0)²(f - θ1)"),
)
Rank = tuple[int, float, int, int, int]


def describe(loss: SavedLoss) -> dict[str, Any]:
    """A loss as plain values: formula, coefficients and settings; and what else there is to say of its family.

    A formula comes with its short and its simplified form, LaTeX, and every coefficient with its edge; a Taylor loss
    with LaTeX and every parameter with what it multiplies; a neural loss with the units of its layers; a handcrafted
    one with a word on what it is.

    Example:
        >>> loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
        >>> described = describe(loss)
        >>> described["formula"], described["edges"][0]
        ('(y - f)²', {'edge': 0, 'child': 'sub(y, f)', 'weight': 1.0})
    """
    if isinstance(loss, HandcraftedLoss):
        summary = HANDCRAFTED[loss.name].summary
        return {"family": loss.family, "formula": loss.name, "task_type": loss.task_type, "summary": summary}
    shared = {
        "family": loss.family,
        "formula": loss.formula(digits=DIGITS),
        "task_type": loss.task_type,
        "scale": loss.scale,
        "weights": loss.coefficients,
    }
    if loss.class_counts is not None:
        shared |= {"class_counts": list(loss.class_counts)}
    if isinstance(loss, SymbolicLoss) and loss.prior is not None:
        shared |= {"prior": list(loss.prior)}
    if isinstance(loss, SymbolicLoss):
        return shared | _symbolic(loss)
    if isinstance(loss, TaylorLoss):
        parts = enumerate(zip(TAYLOR_PARTS, loss.coefficients, strict=True))
        parameters = [{"parameter": f"θ{i}", "part": part, "weight": weight} for i, (part, weight) in parts]
        return shared | {"latex": loss.latex(DIGITS), "parameters": parameters}
    return shared | ({"sizes": list(loss.sizes)} if isinstance(loss, NeuralLoss) else {})


def _symbolic(loss: SymbolicLoss) -> dict[str, Any]:
    expression, weights = loss.expression, loss.coefficients
    short = simplify(expression, weights, DIGITS)

    def latex(text: str) -> str:
        return scaled_latex(activated_latex(text, loss.output_activation), loss.scale, DIGITS)

    # The simplified text is in Python's notation.
    text = scaled(activated(short.text, loss.output_activation), loss.scale, DIGITS).replace("·", "*")
    return {
        "short": loss.short(DIGITS),
        "simplified": {"text": text, "latex": latex(short.latex), "note": short.note},
        "latex": latex(to_latex(expression, weights, DIGITS)),
        "expression": to_text(expression),
        "edges": [
            {"edge": edge, "child": to_text(expression.at(edge + 1)), "weight": weight}
            for edge, weight in enumerate(weights)
        ],
        "output_activation": loss.output_activation,
    }


def shown(described: dict[str, Any], info: dict[str, Any]) -> dict[str, str]:
    """What `describe` says, one line for each entry, with the loss's past below it.

    Example:
        >>> shown(describe(TaylorLoss([0, 0, 0, 2, 0, 0, 0, 0], task_type="regression")), {"seed": 3})["formula"]
        'f²'
    """
    lines = {"in short": described["short"]} if "short" in described else {}
    lines["formula"] = described["formula"]
    if "simplified" in described:
        note = described["simplified"]["note"]
        lines["simplified"] = described["simplified"]["text"] + (f"   ({note})" if note else "")
    if "class_counts" in described:
        counts = ", ".join(map(str, described["class_counts"]))
        lines["f"] = f"the softmax of logits plus log prior, of {counts} training labels by class"
    if "prior" in described:
        shares = ", ".join(f"{share:.3g}" for share in described["prior"])
        lines["prior"] = f"{shares}, the classes' shares of the training labels"
    if "progress" in described.get("expression", ""):
        lines["progress"] = "the share of steps done: set criterion.progress = k / steps before each (1 if it never is)"
    named = {"what it is": "summary", "LaTeX": "latex", "expression": "expression", "task type": "task_type"}
    lines |= {title: described[name] for title, name in named.items() if name in described}
    return lines | history(info)


def history(info: dict[str, Any]) -> dict[str, str]:
    """What a loss file says of its past, one line for each entry.

    Example:
        >>> history({"seed": 3, "tuned_for": {"lr": 0.01, "momentum": 0.0}})
        {'seed': '3', 'tuned for': 'lr 0.01, momentum 0'}
    """
    return {cleaned(name).replace("_", " "): _line(value) for name, value in info.items()}


def _line(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("message"), str):  # a verdict: its evidence is a table
        return cleaned(value["message"])
    if isinstance(value, dict):
        return cleaned(", ".join(f"{name.replace('_', ' ')} {_line(entry)}" for name, entry in value.items()))
    return cleaned(f"{value:.6g}" if isinstance(value, float) else value)


def table_of_weights(described: dict[str, Any]) -> Table | None:
    """The coefficients of what `describe` describes, each with what it multiplies; None for a network's many.

    Example:
        >>> table_of_weights(describe(NeuralLoss(task_type="regression"))) is None
        True
    """
    if "parameters" in described:
        table = make_table("parameter", "value", "what it is or multiplies", left=("what it is or multiplies",))
        for row in described["parameters"]:
            table.add_row(row["parameter"], f"{row['weight']:.6g}", row["part"])
        return table
    if "edges" not in described:
        return None
    table = make_table("edge", "φ", "child node", left=("child node",))
    for row in described["edges"]:
        table.add_row(str(row["edge"]), f"{row['weight']:.6g}", row["child"])
    return table


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
