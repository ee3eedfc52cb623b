"""`evomal report`: one HTML page on runs and comparisons."""

from pathlib import Path
from typing import Annotated

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, print_json
from evomal.cli.plot import Classes
from evomal.foundation.atomic import require_free

REPORT = "report.html"


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, and folders of comparisons.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file (default report.html in the first folder).")
    ] = None,
    classes: Classes = 10,
    force: Annotated[bool, typer.Option("--force", help="Replace the file --out.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Write a report: verdict, formula, what the loss does, how it was found, settings. One file, no network needed."""
    from evomal.report.page import write_report

    # The report of a run lies in its folder, and is made anew each time.
    file = folders[0] / REPORT if out is None else require_free(out, REPORT, force)
    path = write_report(folders, file, classes)
    print_json({"report": str(path), "folders": [str(folder) for folder in folders]}) if as_json else print(
        f"written to {path}"
    )
    return GOOD
