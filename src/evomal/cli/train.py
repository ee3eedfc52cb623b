"""`evomal train`: meta-testing, fresh networks trained in full with finished losses."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.arguments import given_task_options
from evomal.cli.going_on import resume_command
from evomal.cli.output import GOOD, INTERRUPTED, as_json_text, lasting, print_json, say, warn_of_workers
from evomal.cli.training import Given, Job, new_job, old_job
from evomal.config import TrainSettings, flat_fields
from evomal.executors import WorkerError
from evomal.foundation.atomic import storing, write_atomically
from evomal.foundation.errors import SettingError, StorageError

if TYPE_CHECKING:
    from evomal.report.trained import Trained
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
    given = Given(losses or (), task, preset, workers, options.with_tuples(settings), context.obj)
    job = _begun(given, out, force, override) if resume is None else _reopened(given, resume, out, force, override)
    return carried_out(job, quiet, as_json)


def carried_out(job: Job, quiet: bool, as_json: bool) -> int:
    """Do what a call is to do, write and print it; the exit code."""
    stream = lasting(sys.stderr if as_json else sys.stdout)
    try:
        warn_of_workers(job.workers)
        results, ended = _trained(job, _told(job, quiet, stream))
        return _reported(job, results, ended, as_json)
    finally:
        if job.journal is not None:
            job.journal.close()


def _begun(given: Given, out: Path | None, force: bool, override: bool) -> Job:
    if override:
        raise SettingError("--override is for a call that goes on; give --resume OUT, or leave it out")
    return new_job(given, out, force)


def _reopened(given: Given, resume: Path, out: Path | None, force: bool, override: bool) -> Job:
    if force or out is not None:
        raise SettingError(f"--resume goes on with '{resume}'; leave out {'--force' if force else '--out'}")
    job = old_job(given, resume, override)
    for note in [] if job.journal is None else job.journal.notes():
        say(f"warning: {note}; results may differ in their last bits")
    return job


def _trained(job: Job, told: Callable[..., None]) -> "tuple[list[Trained], BaseException | None]":
    """Train with one loss after the other; an early end keeps what is finished."""
    from evomal.comparison.meta_tests import meta_tests
    from evomal.executors import make_executor
    from evomal.report.trained import Trained

    executor = make_executor(job.workers)
    results = []
    try:
        for tested in meta_tests(job.task, job.losses, job.settings, executor, job.journal, told):
            results.append(Trained(tested.name, tested.loss, tested.test, job.task, job.settings, tested.ratio))
    except (KeyboardInterrupt, WorkerError, StorageError) as error:
        return results, error
    finally:
        executor.close()
    return results, None


def _told(job: Job, quiet: bool, stream: Any) -> Callable[[str, "TrainingRun"], None]:
    def told(name: str, run: "TrainingRun") -> None:
        if not quiet:
            print(
                f"{name}  seed {run.seed}  lr {run.lr:g}: {run.ended}  ({run.seconds:.1f} s)", file=stream, flush=True
            )

    if job.journal is not None and job.journal.finished and not quiet:
        print(f"{job.journal.finished} of {job.journal.all_trainings} trainings are finished", file=stream, flush=True)
    return told


def _reported(job: Job, results: "list[Trained]", ended: BaseException | None, as_json: bool) -> int:
    """Write and print what is finished; say how to go on with the rest."""
    if results:
        document = {
            "task": job.source.as_dict(),
            "workers": job.workers,
            "settings": job.settings.model_dump(mode="json"),
            "results": [result.as_dict() for result in results],
        }
        if job.journal is not None and not isinstance(ended, StorageError):
            with storing(job.journal.out):
                write_atomically(job.journal.out, as_json_text(document) + "\n")
        if as_json:
            print_json(document)
        else:
            _print(results)
    if ended is None:
        return GOOD
    _say_what_is_left(job, len(results))
    if isinstance(ended, KeyboardInterrupt) and (results or (job.journal is not None and job.journal.finished)):
        return INTERRUPTED
    raise ended


def _say_what_is_left(job: Job, results: int) -> None:
    journal = job.journal
    if journal is not None and journal.finished:
        kept = f"{journal.finished} of {journal.all_trainings} trainings are finished and kept"
        say(f"{kept}; go on with {resume_command('train', journal.out, [job.source])}")
    if results:
        say(f"{results} of {len(job.losses)} losses are finished; the others were stopped")


def _print(results: "list[Trained]") -> None:
    from evomal.report.tables import print_table
    from evomal.report.trained import table_of_trained

    print_table(table_of_trained(results), sys.stdout)
    for result in results:
        for note in result.notes:
            print(f"{result.name}: {note}")
    if all(result.diverged == len(result.test.chosen) for result in results):
        say("every training diverged; try a smaller --lr")
