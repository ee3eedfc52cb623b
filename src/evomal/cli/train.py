"""`evomal train`: meta-testing, fresh networks trained in full with finished losses."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.atomic import write_atomically
from evomal.cli import options
from evomal.cli.output import GOOD, INTERRUPTED, as_json_text, print_json, require_free, say, warn_of_workers
from evomal.cli.source import TaskSource, task_options
from evomal.config import TrainSettings, flat_fields, train_settings
from evomal.runs import WorkerError

if TYPE_CHECKING:
    from evomal.report.trained import Trained
    from evomal.training import TrainingRun

# The rates of meta-testing are its own option, `--lr`, which takes several.
SETTINGS = [name for name in flat_fields(TrainSettings) if name != "lr"]


@options.setting_options(TrainSettings, SETTINGS)
@task_options
def train(
    losses: Annotated[
        list[str],
        typer.Option(
            "--loss", help="A loss file, a run folder (its best loss), or a handcrafted loss; several may be given."
        ),
    ],
    source: TaskSource,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A JSON file for the results, or a folder for train.json."),
    ] = None,
    force: options.Force = False,
    preset: options.Preset = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trainings at a time, one thread each.")] = 1,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Train fresh networks with finished losses, and compare them on test data.

    Options with a list take several values: --seeds 0 1 2, or --seeds 0,1,2, or --seeds 0 --seeds 1.
    """
    chosen = train_settings(preset, **options.with_tuples(settings))
    warn_of_workers(workers)
    file = None if out is None else require_free(out, "train.json", force)
    results, ended = _trained(source, losses, chosen, workers, _told(quiet, sys.stderr if as_json else sys.stdout))
    if ended is not None and not results:
        raise ended
    document = {
        "task": source.as_dict(),
        "workers": workers,
        "settings": chosen.model_dump(mode="json"),
        "results": [result.as_dict() for result in results],
    }
    if file is not None:
        write_atomically(file, as_json_text(document) + "\n")
    if as_json:
        print_json(document)
    else:
        _print(results)
    if ended is not None:
        say(f"{len(results)} of {len(losses)} losses are finished; the others were stopped")
        if isinstance(ended, KeyboardInterrupt):
            return INTERRUPTED
        raise ended
    return GOOD


def _trained(
    source: TaskSource, names: list[str], settings: TrainSettings, workers: int, told: Callable[..., None]
) -> "tuple[list[Trained], BaseException | None]":
    """Read every loss, then the data, then train with one loss after the other; an early end keeps what is finished."""
    from evomal.cli.losses import read_loss
    from evomal.losses import LearnedLoss
    from evomal.report.trained import Trained
    from evomal.runs import make_executor
    from evomal.training import meta_test
    from evomal.training.step_size import gradient_norm_ratio

    named = [read_loss(name) for name in names]
    task = source.load()
    losses = {loss.name: loss.fitted(task) for loss in named}
    executor = make_executor(workers)
    results = []
    try:
        for name, loss in losses.items():
            test = meta_test(task, loss, settings, executor.map, partial(told, name))
            ratio = None
            if isinstance(loss, LearnedLoss):
                ratio = gradient_norm_ratio(loss, task, settings.base.batch_size, settings.seeds[0])
            results.append(Trained(name, loss, test, task, settings, ratio))
    except (KeyboardInterrupt, WorkerError) as error:
        return results, error
    finally:
        executor.close()
    return results, None


def _told(quiet: bool, stream: Any) -> Callable[[str, "TrainingRun"], None]:
    def told(name: str, run: "TrainingRun") -> None:
        if not quiet:
            print(
                f"{name}  seed {run.seed}  lr {run.lr:g}: {run.ended}  ({run.seconds:.1f} s)", file=stream, flush=True
            )

    return told


def _print(results: "list[Trained]") -> None:
    from evomal.report.tables import print_table
    from evomal.report.trained import table_of_trained

    print_table(table_of_trained(results), sys.stdout)
    for result in results:
        for note in result.notes:
            print(f"{result.name}: {note}")
    if all(result.diverged == len(result.test.chosen) for result in results):
        say("every training diverged; try a smaller --lr")
