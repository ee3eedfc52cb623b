"""`evomal show`: a loss file, a loss by name, or the best formulas of a run folder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomal.cli import options
from evomal.cli.output import print_json
from evomal.foundation.errors import SettingError
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
    if top is not None:
        return _show_top(path, top, as_json)
    if form is not None:
        from evomal.cli.exporting import show_as

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
    from evomal.report.audited import table_of_audit
    from evomal.report.tables import print_table

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
    from evomal.report.ranked import best_formulas, table_of_formulas
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
