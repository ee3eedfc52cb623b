"""`evomal plot`: one figure of losses, of runs, or of a comparison."""

from pathlib import Path
from typing import Annotated

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, print_json, require_free

Out = Annotated[Path | None, typer.Option("--out", "-o", help="The file, .svg, .png or .pdf (default WHAT.svg).")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file --out.")]
Classes = Annotated[int, typer.Option("--classes", min=2, help="Classes that losses for classification are shown for.")]


def plot(
    what: Annotated[str, typer.Argument(help="loss, gradient, rates, search, filters, operators or sizes.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            help="For loss and gradient: loss files, run folders, names of losses. For the others: run folders, or the "
            "folder of a comparison."
        ),
    ],
    out: Out = None,
    classes: Classes = 10,
    force: Force = False,
    as_json: options.AsJson = False,
) -> int:
    """Draw one figure, readable in print and by colour-blind eyes."""
    from evomal.report.drawing import draw, save_figure

    file = require_free(out or Path(f"{what}.svg"), f"{what}.svg", force or out is None)
    path = save_figure(draw(what, sources, classes), file)
    print_json({"figure": what, "file": str(path)}) if as_json else print(f"written to {path}")
    return GOOD
