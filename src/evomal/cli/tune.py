"""`evomal tune`: local search only, an old formula with new coefficients for a new task."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import print_json, say
from evomal.cli.source import TaskSource, task_options
from evomal.config import LearnSettings, flat_fields, learn_settings
from evomal.foundation.atomic import require_free

if TYPE_CHECKING:
    from evomal.search.tuning import TuneResult

SETTINGS = [name for name, stage in flat_fields(LearnSettings).items() if stage in ("base", "local_search")] + ["seed"]


@options.setting_options(LearnSettings, SETTINGS)
@task_options
def tune(
    loss: Annotated[str, typer.Option("--loss", help="A loss file, or a run folder (its best loss).")],
    out: Annotated[
        Path,
        typer.Option("--out", help="The new loss file, or a folder for loss.json."),
    ],
    source: TaskSource,
    force: options.Force = False,
    preset: options.Preset = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start from untuned coefficients: 1 for a formula, 0 for a Taylor loss, drawn for a network.",
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Tune the coefficients of an old formula for a new task; the formula stays as it is."""
    chosen = learn_settings(preset, **options.with_tuples(settings))
    file = require_free(out, "loss.json", force)
    from evomal.losses.loading import tunable_by_name
    from evomal.search.tuning import saved, tuned

    learned = tunable_by_name(loss)
    task = source.load()
    result = tuned(task, learned, loss, chosen, fresh)
    if result.reason:
        say(f"error: loss '{loss}' cannot be tuned on task '{task.name}': {result.reason}")
        return 1
    try:
        result = saved(result, file)
    finally:  # what was tuned is not to be lost with a file that cannot be written
        _print(result, quiet, as_json)
    return 0


def _print(result: "TuneResult", quiet: bool, as_json: bool) -> None:
    from evomal.report.tables import print_pairs

    if as_json:
        print_json(result.as_dict())
        return
    pairs = result.pairs | {"loss file": result.file or "none, as it cannot be written"}
    print_pairs({name: pairs[name] for name in ("after", "loss file")} if quiet else pairs, sys.stdout)
