"""`evomal list`: all names that other commands take."""

import inspect
import sys
from typing import Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import print_json
from evomal.config import PRESETS


def list_names(
    published: Annotated[
        bool, typer.Option("--published", help="Learned losses of others: formula, source, and what is doubtful.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """List data sets, models, methods, handcrafted losses, metrics, presets and operators."""
    names = {"published_losses": _published()} if published else _names()
    if as_json:
        print_json(names)
        return 0
    from evomal.report.tables import print_pairs

    for title, entries in names.items():
        print(f"{title.replace('_', ' ')}:")
        print_pairs(entries, sys.stdout, indent=2)
    return 0


def _names() -> dict[str, dict[str, str]]:
    """Every kind of name, each name with a word on it."""
    from evomal.expressions import OPERATORS, TERMINALS, Expression, to_formula
    from evomal.losses import HANDCRAFTED
    from evomal.search import METHODS
    from evomal.tasks import DATASETS, METRICS, MODELS

    def formula(name: str, arity: int) -> str:
        return to_formula(Expression(name, (Expression("y"), Expression("f"))[-arity:]))

    return {
        "data_sets": {name: f"{source.summary} ({source.task_type})" for name, source in DATASETS.items()},
        "models": {name: _first_line(model) for name, model in MODELS.items()},
        "methods": {name: method.summary for name, method in METHODS.items()},
        "handcrafted_losses": {
            name: f"{entry.summary} ({entry.task_type}; {entry.suits})" for name, entry in HANDCRAFTED.items()
        },
        "metrics": {name: _first_line(metric.function) for name, metric in METRICS.items()},
        "presets": {
            name: ", ".join(f"{setting} {value}" for setting, value in preset.items())
            for name, preset in PRESETS.items()
        },
        "terminals": {name: terminal.meaning for name, terminal in TERMINALS.items()},
        "operators": {name: formula(name, operator.arity) for name, operator in OPERATORS.items()},
    }


def _published() -> dict[str, str]:
    """Every published loss with its formula, its source, and what is doubtful in its print."""
    from evomal.losses.published import PUBLISHED

    return {
        name: f"{entry.summary}  [{entry.source}]" + (f" ({entry.doubt})" if entry.doubt else "")
        for name, entry in PUBLISHED.items()
    }


def _first_line(named: Any) -> str:
    return (inspect.getdoc(named) or "").split("\n")[0].rstrip(".")
