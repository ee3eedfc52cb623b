"""`evomal report` and `evomal plot`: one HTML page, or one figure, of losses, runs and comparisons."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, print_json
from evomal.cli.source import TaskSource, given_task_options
from evomal.config import train_settings
from evomal.foundation.errors import SettingError, unknown_name
from evomal.foundation.files import require_free

REPORT = "report.html"
TASK_NEEDED = "landscape"

Out = Annotated[Path | None, typer.Option("--out", "-o", help="The file, .svg, .png or .pdf (default WHAT.svg).")]
Force = Annotated[bool, typer.Option("--force", help="Replace the figure that is there.")]
Classes = Annotated[
    int | None,
    typer.Option(
        "--classes",
        min=2,
        help="Classes that losses for classification are shown for (default those of the task, or 10).",
    ),
]


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, and folders of comparisons.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file (default report.html in the first folder, made anew each time)."),
    ] = None,
    classes: Classes = None,
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


@given_task_options
def plot(
    task: dict[str, Any],
    what: Annotated[
        str, typer.Argument(help="loss, gradient, rates, finals, search, filters, operators, sizes or landscape.")
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            help="For loss, gradient and landscape: loss files, run folders, names of losses. For the others: run "
            "folders, or the folder of a comparison."
        ),
    ],
    out: Out = None,
    classes: Classes = None,
    preset: Annotated[str | None, typer.Option("--preset", help="landscape: named settings of the trainings.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="landscape: base steps of the trainings.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="landscape: their base learning rate.")] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="landscape: of initialisation, batches, directions (default 0)."),
    ] = None,
    force: Force = False,
    as_json: options.AsJson = False,
) -> int:
    """Draw one figure, readable in print and by colour-blind eyes.

    A landscape trains a network with each loss first; the options of a task are for it alone.
    """
    from evomal.report.drawing import FIGURES, draw, draw_landscape, require_figure, save_figure

    if what not in (*FIGURES, TASK_NEEDED):
        raise unknown_name("figure", what, (*FIGURES, TASK_NEEDED))
    trainings = {"preset": preset, "steps": steps, "lr": lr, "seed": seed}
    file = require_figure(require_free(out or Path(f"{what}.svg"), f"{what}.svg", force))
    if what == TASK_NEEDED:
        if classes is not None:
            raise SettingError("figure 'landscape' has the classes of its task; leave out --classes")
        settings = train_settings(preset, steps=steps, lrs=None if lr is None else (lr,))
        axes = draw_landscape(sources, TaskSource(**task).load(), settings, seed or 0)
    else:
        if task:
            raise SettingError(f"figure '{what}' is of no task; leave out --{next(iter(task)).replace('_', '-')}")
        idle = next((name for name, value in trainings.items() if value is not None), None)
        if idle is not None:
            raise SettingError(f"figure '{what}' trains nothing; leave out --{idle}")
        axes = draw(what, sources, classes)
    path = save_figure(axes, file)
    print_json({"figure": what, "file": str(path)}) if as_json else print(f"written to {path}")
    return GOOD
