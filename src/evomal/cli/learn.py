"""`evomal learn`: search for the loss that suits a task best."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, INTERRUPTED, lasting, print_json, say, warn_of_workers
from evomal.cli.run import GivenSearch, Run, new_run, old_run
from evomal.cli.source import given_task_options
from evomal.config import PRACTICE, LearnSettings, learn_settings, method_entry
from evomal.foundation.errors import SettingError
from evomal.store import RunFolder

if TYPE_CHECKING:
    from evomal.search import LearnResult, Watcher


@options.setting_options(LearnSettings)
@given_task_options
def learn(
    context: typer.Context,
    task: dict[str, Any],
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
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Go on with the run in this folder; it says all that other options would."),
    ] = None,
    override: options.Override = False,
    force: options.Force = False,
    preset: options.Preset = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would cost, by a short probe; write nothing.")
    ] = False,
    own: Annotated[
        list[str] | None,
        typer.Option("--own", help="A setting that your own method alone has, as NAME=VALUE; may be repeated."),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Log the search for TensorBoard too, in the run folder; a resumed run goes on with it.",
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Search for the loss that suits a task best, and save it as loss.json in a run folder."""
    settings, method = with_own_method(options.with_tuples(settings), own or ())
    given = GivenSearch(task, also or [], preset, settings, context.obj, override, method)
    if dry_run:
        if resume is not None:
            raise SettingError("--dry-run prices a run that is yet to begin; leave out --resume")
        return _price(given, as_json)
    run = _begun(given, out, force) if resume is None else _reopened(given, resume, out, force)
    try:
        result = _search(run, quiet, tensorboard, lasting(sys.stderr if as_json else sys.stdout))
    except KeyboardInterrupt:
        if not run.folder.kept:
            raise
        say(f"stopped; what is finished is kept, go on with {run.resume_command}")
        return INTERRUPTED
    finally:
        run.folder.discard()
    try:
        _report(result, run, as_json)
        sys.stdout.flush()
    except OSError:
        say(f"the best loss is in {run.folder.loss}")
        raise
    return INTERRUPTED if result.interrupted else GOOD


def _begun(given: GivenSearch, out: Path | None, force: bool) -> Run:
    if given.override:
        raise SettingError("--override is for a run that goes on; give --resume DIR, or leave it out")
    run = new_run(given, out, force)
    _warn_of_workers(run.settings)
    return run


def _warn_of_workers(settings: LearnSettings) -> None:
    if settings.execution.executor != "ray":  # which has its own word on them
        warn_of_workers(settings.workers)


def _reopened(given: GivenSearch, folder: Path, out: Path | None, force: bool) -> Run:
    if force or (out is not None and out.resolve() != folder.resolve()):
        raise SettingError(f"--resume goes on in '{folder}'; leave out {'--force' if force else '--out'}")
    return old_run(given, folder)


def _search(run: Run, quiet: bool, tensorboard: bool, stream: Any) -> "LearnResult":
    """What a run comes to; a finished one tells its result at once, if it is that of the task."""
    tasks = [source.load() for source in run.sources]
    from evomal.report.progress import make_progress
    from evomal.search import Watchers, make_method
    from evomal.tasks import TaskSet
    from evomal.tasks.describing import described

    together = TaskSet.of(tasks)
    method = make_method(run.settings)
    if not quiet and not run.folder.resumed:
        for source, task in zip(run.sources, tasks, strict=True):
            if source.data is not None:  # a file may have been understood otherwise than it was meant
                print(described(task), file=stream, flush=True)
        if len(method_entry(run.settings.method).phases) > 1:  # two phases are easily forgotten
            print(f"budget: {method.budget(len(tasks))}", file=stream, flush=True)
    logs = _logs(run, tensorboard)
    with make_progress(together.name, run.settings, stream, quiet) as progress:
        watcher = Watchers(progress, *logs)
        return method.learn(together, out=run.folder, watcher=watcher, override=run.override, progress=False)


def _logs(run: Run, tensorboard: bool) -> "list[Watcher]":
    folder = run.folder.path / "tensorboard"
    if not tensorboard and not (run.folder.resumed and folder.is_dir()):
        return []
    from evomal.report.tensorboard import TensorBoard

    return [TensorBoard(folder)]


def _report(result: "LearnResult", run: Run, as_json: bool) -> None:
    from evomal.report.tables import print_pairs, result_pairs

    folder: RunFolder = run.folder
    if as_json:
        task = run.sources[0].as_dict()
        print_json({**result.as_dict(), "task": task, "out": str(folder.path), "loss": str(folder.loss)})
    else:
        print_pairs(result_pairs(result, folder.loss), sys.stdout)
    if result.interrupted:
        say(f"stopped; the best loss so far is in {folder.loss}, go on with {run.resume_command}")


def _price(given: GivenSearch, as_json: bool) -> int:
    settings = learn_settings(given.preset or PRACTICE, **given.settings)
    _warn_of_workers(settings)
    tasks = [source.load() for source in given.sources]
    from evomal.report.tables import print_table, table_of_price
    from evomal.search.pricing import price
    from evomal.tasks.describing import described

    priced, told = price(tasks, settings), [described(task) for task in tasks]
    if as_json:
        print_json({**priced.as_dict(), "tasks": told})
    else:
        print(*told, sep="\n")
        print_table(table_of_price(priced), sys.stdout)
        print(f"assumed: {priced.assumption}")
    return GOOD


def with_own_method(settings: Mapping[str, Any], own: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """Settings in which a class such as ``my_module.py:Mine`` has become the name of its method; this runs that file.

    Args:
        settings: As they were given, by flat name.
        own: Settings that the method alone has, each as ``name=value``.

    Returns:
        The settings, and where the method is from; None for a method by name.

    Raises:
        SettingError: There is no such class, or a setting is not written so.

    Example:
        >>> with_own_method({"method": "glo"}, ["depth=3"])
        ({'method': 'glo', 'depth': 3}, None)
    """
    read: dict[str, Any] = {}
    for text in own:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SettingError(f"--own {text} is no setting; write it as --own NAME=VALUE")
        read[name] = _value(value)
    spec = settings.get("method")
    if spec is None or ":" not in spec:
        return {**settings, **read}, None
    from evomal.search import load_method

    return {**settings, **read, "method": load_method(spec).name}, spec


def _value(text: str) -> Any:
    """A number, true, false, null or a list as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
