"""`evomal learn`: search for the loss that suits a task best."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import evomal
from evomal.cli import options
from evomal.cli.output import GOOD, INTERRUPTED, print_json, say, warn_of_workers
from evomal.cli.source import TaskSource, task_options
from evomal.config import LearnSettings, learn_settings
from evomal.runs import RunFolder

if TYPE_CHECKING:
    from evomal.search import LearnResult


@options.setting_options(LearnSettings)
@task_options
def learn(
    context: typer.Context,
    source: TaskSource,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            help="A further task to learn on at once, as DATASET/MODEL or my_module.py:make_task; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run folder (default runs/DATASET-MODEL-seedN, with the method if another)."),
    ] = None,
    force: options.Force = False,
    preset: options.Preset = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would cost, by a short probe; write nothing.")
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Search for the loss that suits a task best, and save it as loss.json in a run folder."""
    chosen = learn_settings(preset, **options.with_tuples(settings))
    sources = [source, *(source.beside(spec) for spec in also or ())]
    warn_of_workers(chosen.workers)
    if dry_run:
        return _price(sources, chosen, as_json)
    method = "" if chosen.method == "evomal" else f"-{chosen.method}"
    slug = "+".join(each.slug for each in sources)
    folder = RunFolder(out or Path("runs") / f"{slug}{method}-seed{chosen.seed}", force)
    # Before torch is imported: a run that dies at once leaves word of what it was.
    folder.prepare(
        {
            "command": shlex.join(["evomal", *context.obj]),
            "evomal": evomal.__version__,
            "preset": preset,
            "task": source.as_dict(),
            **({"also": also} if also else {}),
            "settings": chosen.model_dump(mode="json"),
        }
    )
    try:
        result = _search(sources, chosen, folder, quiet, sys.stderr if as_json else sys.stdout)
    finally:
        folder.discard()
    _report(result, folder, source, as_json)
    return INTERRUPTED if result.interrupted else GOOD


def _search(
    sources: list[TaskSource], settings: LearnSettings, folder: RunFolder, quiet: bool, stream: Any
) -> "LearnResult":
    tasks = [source.load() for source in sources]
    from evomal.report.progress import make_progress
    from evomal.search import make_method
    from evomal.tasks import TaskSet

    together = TaskSet.of(tasks)
    method = make_method(settings)
    if settings.method == "glo" and not quiet:  # two phases are easily forgotten
        print(f"budget: {method.budget(len(tasks))}", file=stream, flush=True)
    with make_progress(together.name, settings, stream, quiet) as progress:
        return method.learn(together, out=folder, watcher=progress)


def _report(result: "LearnResult", folder: RunFolder, source: TaskSource, as_json: bool) -> None:
    from evomal.report.tables import print_pairs, result_pairs

    if as_json:
        print_json({**result.as_dict(), "task": source.as_dict(), "out": str(folder.path), "loss": str(folder.loss)})
    else:
        print_pairs(result_pairs(result, folder.loss), sys.stdout)
    if result.interrupted:
        say(f"stopped by Ctrl-C; the best loss so far is in {folder.loss}")


def _price(sources: list[TaskSource], settings: LearnSettings, as_json: bool) -> int:
    tasks = [source.load() for source in sources]
    from evomal.report.tables import print_table, table_of_price
    from evomal.search.pricing import price

    priced = price(tasks, settings)
    if as_json:
        print_json(priced.as_dict())
    else:
        print_table(table_of_price(priced), sys.stdout)
        print(f"assumed: {priced.assumption}")
    return 0
