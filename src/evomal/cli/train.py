"""`evomal train`: meta-testing, fresh networks trained in full with finished losses."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, INTERRUPTED, lasting, print_json, say, warn_of_workers
from evomal.cli.source import TaskSource, given_task_options, resume_command
from evomal.cli.training import GivenTraining, new_job, old_job
from evomal.config import TrainSettings, flat_fields
from evomal.foundation.errors import SettingError, StorageError

if TYPE_CHECKING:
    from evomal.comparison.trained import TrainResult
    from evomal.comparison.training import TrainJob
    from evomal.training import TrainingRun

# The rates of meta-testing are its own option, `--lr`, which takes several.
SETTINGS = [name for name in flat_fields(TrainSettings) if name != "lr"]


@options.setting_options(TrainSettings, SETTINGS)
@given_task_options
def train(
    context: typer.Context,
    task: dict[str, Any],
    losses: Annotated[
        list[str] | None,
        typer.Option(
            "--loss", help="A loss file, a run folder (its best loss), or a handcrafted loss; several may be given."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A JSON file for the results, or a folder for train.json; finished trainings are kept beside it.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", help="Go on with a call that was stopped; give its --out, which says all that options would."
        ),
    ] = None,
    override: options.Override = False,
    force: options.Force = False,
    preset: options.Preset = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Trainings at a time, one thread each (default 1).")
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Train fresh networks with finished losses, and compare them on test data.

    Options with a list take several values: --seeds 0 1 2, or --seeds 0,1,2, or --seeds 0 --seeds 1.
    """
    given = GivenTraining(losses or (), task, preset, workers, options.with_tuples(settings), context.obj)
    source, job = (
        _begun(given, out, force, override) if resume is None else _reopened(given, resume, out, force, override)
    )
    return carried_out(source, job, quiet, as_json)


def carried_out(source: TaskSource, job: "TrainJob", quiet: bool, as_json: bool) -> int:
    """Do what a call is to do, write and print it; the exit code."""
    stream = lasting(sys.stderr if as_json else sys.stdout)
    try:
        warn_of_workers(job.workers)
        result, ended = job.run(_told(job, quiet, stream))
        return _reported(source, job, result, ended, as_json)
    finally:
        job.close()


def _begun(given: GivenTraining, out: Path | None, force: bool, override: bool) -> "tuple[TaskSource, TrainJob]":
    if override:
        raise SettingError("--override is for a call that goes on; give --resume OUT, or leave it out")
    return new_job(given, out, force)


def _reopened(
    given: GivenTraining, resume: Path, out: Path | None, force: bool, override: bool
) -> "tuple[TaskSource, TrainJob]":
    if force or out is not None:
        raise SettingError(f"--resume goes on with '{resume}'; leave out {'--force' if force else '--out'}")
    source, job = old_job(given, resume, override)
    for note in [] if job.journal is None else job.journal.notes():
        say(f"warning: {note}; results may differ in their last bits")
    return source, job


def _told(job: "TrainJob", quiet: bool, stream: Any) -> Callable[[str, "TrainingRun"], None]:
    def told(name: str, run: "TrainingRun") -> None:
        if not quiet:
            print(
                f"{name}  seed {run.seed}  lr {run.lr:g}: {run.ended}  ({run.seconds:.1f} s)", file=stream, flush=True
            )

    if job.journal is not None and job.journal.finished and not quiet:
        print(f"{job.journal.finished} of {job.journal.all_trainings} trainings are finished", file=stream, flush=True)
    return told


def _reported(
    source: TaskSource, job: "TrainJob", result: "TrainResult", ended: BaseException | None, as_json: bool
) -> int:
    """Write and print what is finished; say how to go on with the rest."""
    if len(result):
        if not isinstance(ended, StorageError):
            job.write(result)
        if as_json:
            print_json(result.as_dict())
        else:
            _print(result)
    if ended is None:
        return GOOD
    _say_what_is_left(source, job, len(result))
    if isinstance(ended, KeyboardInterrupt) and (len(result) or (job.journal is not None and job.journal.finished)):
        return INTERRUPTED
    raise ended


def _say_what_is_left(source: TaskSource, job: "TrainJob", results: int) -> None:
    journal = job.journal
    if journal is not None and journal.finished:
        kept = f"{journal.finished} of {journal.all_trainings} trainings are finished and kept"
        say(f"{kept}; go on with {resume_command('train', journal.out, [source])}")
    if results:
        say(f"{results} of {len(job.losses)} losses are finished; the others were stopped")


def _print(result: "TrainResult") -> None:
    from evomal.report.tables import print_table, table_of_trained

    print_table(table_of_trained(result.losses), sys.stdout)
    for note in result.notes:
        print(note)
    if all(each.diverged == len(each.test.chosen) for each in result):
        say("every training diverged; try a smaller --lr")
