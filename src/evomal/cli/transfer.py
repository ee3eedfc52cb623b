"""An old loss on another task: `evomal transfer` learns nothing anew (Table 3), `evomal tune` its coefficients."""

import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import lasting, print_json, say
from evomal.cli.source import TaskSource, given_task_options, task_options
from evomal.cli.train import SETTINGS, carried_out
from evomal.cli.training import GivenTraining, new_job
from evomal.config import LearnSettings, TrainSettings, flat_fields, learn_settings
from evomal.foundation.errors import SettingError
from evomal.foundation.files import LOSS, require_free
from evomal.foundation.serialization import shown

if TYPE_CHECKING:
    from evomal.losses.loading import SavedLoss
    from evomal.search.tuning import TuneResult


@options.setting_options(TrainSettings, SETTINGS)
@given_task_options
def transfer(
    context: typer.Context,
    task: dict[str, Any],
    losses: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            help="A loss file or a run folder; of several, say one for each seed, that with the best fitness is taken.",
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The data set to train on; --task or --data instead.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A JSON file for the results, or a folder for train.json; go on with `train`."),
    ] = None,
    force: options.Force = False,
    preset: options.Preset = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Trainings at a time, one thread each (default 1).")
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Train fresh networks of another task with a learned loss, beside that task's own loss.

    Nothing is learned anew: formula and coefficients stay as they are, for any number of classes.
    """
    from evomal.losses import USUAL

    if to is not None and "dataset" in task:
        raise SettingError("--to and --dataset say the same; leave out --dataset")
    if to is not None and "data" in task:
        raise SettingError(f"--data {task['data']} and --to {to} are two data sets; leave one out")
    where = task if to is None else {**task, "dataset": to}
    name, loss = best_of(losses or ())
    beside = where.get("task_loss") or USUAL[loss.task_type]
    given = GivenTraining([name, beside], where, preset, workers, options.with_tuples(settings), context.obj)
    source, job = new_job(given, out, force)
    if not quiet:
        print(told(name, loss, job.task.name), file=lasting(sys.stderr if as_json else sys.stdout), flush=True)
    if job.task.name == learned_on(loss):
        say(f"note: '{name}' was learned on {job.task.name} itself, so this is no transfer")
    return carried_out(source, job, quiet, as_json)


def best_of(names: Sequence[str]) -> "tuple[str, SavedLoss]":
    """The loss of the best fitness, as the paper takes the best of its seeds by validation.

    Raises:
        SettingError: None is given, one is handcrafted, or several were learned on different tasks, so that their
            fitnesses say nothing of one another.
        LossFileError: A file cannot be read.
    """
    from evomal.losses import HANDCRAFTED
    from evomal.losses.loading import learned_by_name

    if not names:
        raise SettingError("missing option '--loss'")
    found: list[tuple[str, SavedLoss]] = []
    for name in names:
        if name in HANDCRAFTED:
            raise SettingError(f"loss '{name}' was not learned on a task; give a loss file, or use `evomal train`")
        found.append((name, learned_by_name(name)))
    if len({learned_on(loss) for _, loss in found}) > 1:
        raise SettingError(
            f"losses {', '.join(names)} were learned on different tasks, so that their fitnesses cannot be compared; "
            "give those of one task"
        )
    return min(found, key=lambda pair: _fitness(pair[1]))


def told(name: str, loss: "SavedLoss", task: str) -> str:
    """What is about to be done, in a line."""
    fitness = _fitness(loss)
    known = "" if fitness == inf else f" (fitness {shown(fitness)})"
    return f"{name}{known}, learned on {learned_on(loss) or 'an unknown task'}, on {task}: nothing is learned anew"


def learned_on(loss: "SavedLoss") -> str | None:
    """The name of the task that a loss was learned on; None where its file does not say."""
    where = loss.info.get("learned_on")
    return str(where.get("task")) if isinstance(where, dict) and "task" in where else None


def _fitness(loss: "SavedLoss") -> float:
    fitness = loss.info.get("fitness")
    return float(fitness) if isinstance(fitness, int | float) else inf


TUNED = [name for name, stage in flat_fields(LearnSettings).items() if stage in ("base", "local_search")] + ["seed"]


@options.setting_options(LearnSettings, TUNED)
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
    file = require_free(out, LOSS, force)
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
