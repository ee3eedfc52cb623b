"""What a notebook shows of losses, results and comparisons: HTML and LaTeX, with all text from files escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from evomal.comparison import Comparison, TrainResult
from evomal.comparison.tables import columns_of
from evomal.comparison.trained import rows_of_trained
from evomal.foundation.errors import EvomalError
from evomal.foundation.serialization import cleaned, duration
from evomal.losses.criterion import Criterion
from evomal.losses.exports import export
from evomal.report.tables import outcomes_text
from evomal.search import LearnResult
from evomal.search.tuning import TuneResult

MOST_LATEX = 5_000  # letters of a formula that a notebook is made to typeset
LEFT = 'style="text-align: left"'
# In upright mathematics, where MathJax, KaTeX and LaTeX agree; in their text they do not.
_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in " &%$#_{}"}
    | {"\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge ", "-": r"\text{-}"}
)


def html_of_loss(loss: Criterion) -> str:
    """A loss as HTML: its formula, and where it came from.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> "cross_entropy" in html_of_loss(HandcraftedLoss("cross_entropy"))
        True
    """
    return _pairs(type(loss).__name__, _told(loss))


def latex_of_loss(loss: Criterion) -> str | None:
    r"""The formula of a learned loss for a notebook's mathematics; None where there is none.

    Example:
        >>> from evomal.losses import SymbolicLoss
        >>> latex_of_loss(SymbolicLoss("square(sub(y, f))", [1.5, 1, 1], task_type="regression"))
        '$\\displaystyle \\left(1.5\\,\\left(y - f_\\theta(x)\\right)\\right)^2$'
    """
    try:
        latex = export(loss, "latex")
    except EvomalError:  # one by hand, or what the format cannot express
        return None
    assert isinstance(latex, str)
    return None if len(latex) > MOST_LATEX else rf"$\displaystyle {latex.strip()}$"


def html_of_result(result: LearnResult) -> str:
    """The result of a search as HTML: the message, the loss, and what was tried."""
    loss = result.loss
    told = _told(loss) if isinstance(loss, Criterion) else {"loss": result.formula}
    tried = {
        "fitness": "none"
        if result.fitness is None
        else f"{result.fitness:.4g} ({result.baseline:.4g} with the task loss)",
        "candidates": f"{outcomes_text(result.outcomes)} ({len(result.members)} in all)",
        "time": duration(result.seconds),
    }
    told = {name: value for name, value in told.items() if name not in ("verdict", "fitness")}
    return f"<p>{escape(cleaned(result.message))}</p>{_pairs('LearnResult', told | tried)}"


def latex_of_result(result: LearnResult) -> str | None:
    """The formula of the loss that is handed out, if it is a learned one."""
    return latex_of_loss(result.loss) if isinstance(result.loss, Criterion) else None


def html_of_comparison(comparison: Comparison) -> str:
    """A comparison as HTML: verdict, table and notes; the best mean of each column is bold."""
    columns = columns_of(comparison, cleaned)
    rows = [
        [(column.cells[place], place in column.best) for column in columns]
        for place in range(len(comparison.contenders))
    ]
    title = f"{comparison.task}: test {comparison.metric} over {len(comparison.seeds)} seeds"
    return (
        f"<div><p><b>{escape(cleaned(title))}</b></p><p>{escape(cleaned(comparison.verdict))}</p>"
        f"{_table([column.head for column in columns], rows)}{_list(comparison.notes())}</div>"
    )


def html_of_trained(result: TrainResult) -> str:
    """Losses that were trained beside one another as HTML: the table, and the notes."""
    if not result.losses:
        return "<p>no loss is finished</p>"
    head, *rows = rows_of_trained(result.losses)
    return f"<div>{_table(head, [[(cell, False) for cell in row] for row in rows])}{_list(result.notes)}</div>"


def html_of_tuned(result: TuneResult) -> str:
    """A loss with new coefficients as HTML."""
    return _pairs("TuneResult", result.pairs | ({} if result.reason is None else {"cannot be used": result.reason}))


def latex_of_comparison(comparison: Comparison) -> str:
    """The table of a comparison as an array of a notebook's mathematics; the best mean of each column is bold."""
    columns = columns_of(comparison, cleaned)
    lines = [_row((column.head, False) for column in columns)]
    for place in range(len(comparison.contenders)):
        lines.append(_row((column.cells[place], place in column.best) for column in columns))
    ruled = r" \\ ".join([f"{lines[0]} \\\\ \\hline {lines[1]}", *lines[2:]])
    return rf"$$\begin{{array}}{{l{'r' * (len(columns) - 1)}}} {ruled} \end{{array}}$$"


def _told(loss: Criterion) -> dict[str, str]:
    """A loss in words, as far as it knows itself."""
    info = getattr(loss, "info", None) or {}
    formula = getattr(loss, "formula", None)
    learned_on, tuned_for, verdict = (_entry(info, name) for name in ("learned_on", "tuned_for", "verdict"))
    told = {
        "formula": formula(digits=4) if callable(formula) else "",
        "for": loss.task_type,
        "learned on": learned_on.get("task", ""),
        "by": info.get("method", ""),
        "fitness": "" if info.get("fitness") is None else f"{info['fitness']} ({learned_on.get('metric', '')})",
        "tuned for": ", ".join(f"{name} {tuned_for[name]}" for name in ("optimizer", "lr") if name in tuned_for),
        "verdict": verdict.get("message", ""),
    }
    return {name: str(value) for name, value in told.items() if value}


def _entry(info: Any, name: str) -> Mapping[str, Any]:
    found = info.get(name) if isinstance(info, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _pairs(title: str, pairs: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th {LEFT}>{escape(name)}</th><td {LEFT}>{escape(cleaned(value))}</td></tr>"
        for name, value in pairs.items()
    )
    return f"<table><thead><tr><th {LEFT} colspan=2>{escape(title)}</th></tr></thead><tbody>{rows}</tbody></table>"


def _table(head: Sequence[str], rows: Iterable[Iterable[tuple[str, bool]]]) -> str:
    """Rows of cells, each of which may be the best of its column."""
    heads = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _list(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(cleaned(note))}</li>" for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def _cell(cell: tuple[str, bool]) -> str:
    text, best = cell
    return f"<td>{f'<b>{escape(text)}</b>' if best else escape(text)}</td>"


def _row(cells: Iterable[tuple[str, bool]]) -> str:
    return " & ".join(rf"\math{'bf' if best else 'rm'}{{{text.translate(_SPECIAL)}}}" for text, best in cells)
