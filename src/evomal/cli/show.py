"""`evomal show`: a loss, in any format, or the best of a run; and `evomal list`: the names that commands take."""

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import print_json
from evomal.config import PRESETS
from evomal.foundation.errors import SettingError
from evomal.foundation.files import LEARNED, LOSS, require_free, write_atomically
from evomal.foundation.serialization import cleaned

if TYPE_CHECKING:
    from evomal.losses.criterion import Criterion


def show(
    path: Annotated[Path, typer.Argument(help="A loss file, a run folder, or the name of a loss.", show_default=False)],
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Of a run folder: list that many best distinct losses.")
    ] = None,
    audited: Annotated[
        bool, typer.Option("--audit", help="What it does to predictions, measured: in words and numbers.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--as", help="In another format: python, numpy, jax, latex, sympy, keras, onnx or torchscript."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --as: the file to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="With --as: replace the file --out.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Show a loss: formula, simplified formula, LaTeX, coefficients φ, and where it came from."""
    if form is None and out is not None:
        raise SettingError("--out is the file that --as writes; say a format, such as --as python")
    asked = [
        option for option, given in (("--top", top), ("--audit", audited or None), ("--as", form)) if given is not None
    ]
    if len(asked) > 1:
        raise SettingError(f"{asked[0]} and {asked[1]} show different things; leave out one of them")
    if top is not None:
        return _show_top(path, top, as_json)
    if form is not None:
        return show_as(str(path), form, out, force, as_json)
    from evomal.losses import HANDCRAFTED
    from evomal.losses.loading import loss_by_name
    from evomal.report.described import describe, shown, table_of_weights
    from evomal.report.tables import print_pairs, print_table

    loss = loss_by_name(str(path))
    if audited:
        return _show_audit(loss, as_json)
    if str(path) in HANDCRAFTED:
        raise SettingError(f"'{path}' is a handcrafted loss, of which `evomal list` says what there is; add --audit")
    described = describe(loss)
    if as_json:
        print_json({**described, "info": loss.info})
        return 0
    print_pairs(shown(described, loss.info), sys.stdout)
    table = table_of_weights(described)
    if table is not None:
        print_table(table, sys.stdout)
    return 0


def _show_audit(loss: "Criterion", as_json: bool) -> int:
    from evomal.analysis import audit
    from evomal.report.tables import print_table, table_of_audit

    found = audit(loss)
    if as_json:
        print_json(found.as_dict())
        return 0
    for sentence in found.words():
        print(cleaned(sentence))
    print()
    print_table(table_of_audit(found), sys.stdout)
    return 0


def _show_top(path: Path, count: int, as_json: bool) -> int:
    from evomal.report.described import best_formulas, table_of_formulas
    from evomal.report.tables import print_table
    from evomal.store import skim_journal

    if not path.is_dir():
        raise SettingError(f"--top needs a run folder, and '{path}' is none; leave out --top to show a loss file")
    rows = best_formulas(skim_journal(path), count)
    if as_json:
        print_json({"run": str(path), "formulas": rows})
    else:
        print_table(table_of_formulas(rows), sys.stdout)
    return 0


def show_as(name: str, form: str, out: Path | None, force: bool, as_json: bool) -> int:
    """Print a loss in another format, or write it.

    Args:
        name: A loss file, a run folder, or a name.
        form: The format.
        out: The file; a folder means a file of the loss's own in it. None prints.
        force: Replace a file that is there.
        as_json: Print a JSON document instead of the text.

    Raises:
        SettingError: The format cannot express the loss, or is no text and has no file to go to.
    """
    from evomal.losses import HandcraftedLoss
    from evomal.losses.exports import FORMATS, export
    from evomal.losses.loading import loss_by_name

    loss = loss_by_name(name)
    learned = _learned_beside(Path(name))
    if isinstance(loss, HandcraftedLoss) and form in FORMATS and learned is not None:
        raise SettingError(
            f"'{loss.name}' is no learned loss, and {form} is made of those alone; the best learned one of this search "
            f"is '{learned}': name that"
        )
    content = export(loss, form)
    if out is not None:
        file = require_free(out, f"loss{FORMATS[form].file}", force)
        write_atomically(file, content)
        print_json({"format": form, "file": str(file)}) if as_json else print(f"written to {file}")
        return 0
    if isinstance(content, bytes):
        raise SettingError(f"{form} is no text; say where it shall go, such as --out loss{FORMATS[form].file}")
    if as_json:
        print_json({"format": form, "text": content})
    else:
        sys.stdout.write(content)
    return 0


def _learned_beside(path: Path) -> Path | None:
    """The best learned loss of the run that a loss file belongs to, where the run handed out another loss."""
    learned = (path if path.is_dir() else path.parent) / LEARNED
    is_of_run = path.is_dir() or path.name == LOSS
    return learned if is_of_run and learned.is_file() else None


def list_names(
    published: Annotated[
        bool, typer.Option("--published", help="Learned losses of others: formula, source, and what is doubtful.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """List data sets, models, methods, handcrafted and published losses, metrics, presets and operators."""
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
    from evomal.losses.published import PUBLISHED
    from evomal.search import METHODS
    from evomal.tasks import DATASETS, METRICS, MODELS

    def formula(name: str, arity: int) -> str:
        return to_formula(Expression(name, (Expression("y"), Expression("f"))[-arity:]))

    return {
        "data_sets": {name: f"{source.summary} ({source.task_type})" for name, source in DATASETS.items()},
        "models": {name: _first_line(model) for name, model in MODELS.items()},
        "methods": {name: method.summary for name, method in METHODS.items()},
        "handcrafted_losses": {
            name: f"{entry.summary} ({'; '.join((entry.task_type, entry.suits, *entry.values))})"
            for name, entry in HANDCRAFTED.items()
        },
        "published_losses": {name: entry.summary for name, entry in PUBLISHED.items()},
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
