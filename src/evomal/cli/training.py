"""What `evomal train` works on: a new call, or one that it goes on with."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomal.cli.source import TaskSource, found_here, source_of
from evomal.config import TrainSettings, train_settings
from evomal.foundation.errors import SettingError

if TYPE_CHECKING:
    from evomal.comparison.train_call import TrainCall
    from evomal.comparison.train_journal import TrainingJournal
    from evomal.comparison.training import TrainJob


@dataclass(frozen=True, slots=True)
class GivenTraining:
    """What the command line said; None, or nothing, where an option was left out.

    Args:
        losses: Names of losses.
        task: The options of the task, by name.
        preset: The name of a preset.
        workers: Trainings at a time.
        settings: Single settings by flat name.
        command: All arguments.
    """

    losses: Sequence[str]
    task: Mapping[str, Any]
    preset: str | None
    workers: int | None
    settings: Mapping[str, Any]
    command: Sequence[str]

    def options(self) -> dict[str, Any]:
        """All that was given, by name."""
        task = {name: str(value) if isinstance(value, Path) else value for name, value in self.task.items()}
        own = {"losses": list(self.losses) or None, "preset": self.preset, "workers": self.workers}
        return {name: value for name, value in {**task, **self.settings, **own}.items() if value is not None}


def new_job(given: GivenTraining, out: Path | None, force: bool) -> "tuple[TaskSource, TrainJob]":
    """Trainings that begin.

    Raises:
        EvomalError: An option is odd, a loss does not fit the task, or there is something in the place of the results.
    """
    if not given.losses:
        raise SettingError("missing option '--loss'")
    source, settings = TaskSource(**given.task), train_settings(given.preset, **given.settings)
    workers = given.workers or 1
    from evomal.comparison.contenders import path_name
    from evomal.comparison.training import begin, new_journal

    places = {path_name(name): name for name in given.losses}
    if out is None:
        return source, _job(places, source, settings, workers)
    with new_journal(out, force) as journal:
        job = _job(places, source, settings, workers, journal)
        command = shlex.join(["evomal", *given.command])
        begin(job, force, options=source.stored(), preset=given.preset, command=command)
    return source, job


def old_job(given: GivenTraining, out: Path, override: bool) -> "tuple[TaskSource, TrainJob]":
    """Trainings that go on: all is as it was begun, and what is given beside must agree.

    Raises:
        SettingError: Something that was given does not agree, or code would be run that only the journal names.
        RunFolderError: There is nothing to go on with, another process is at work, or task or losses have changed.
    """
    from evomal.comparison.training import go_on, old_journal

    with old_journal(out) as (journal, before):
        if not before.options:
            raise SettingError(
                f"'{journal.out}' was begun from Python, with a task that only Python has; go on there, with "
                f"evomal.train(task, resume={str(journal.out)!r})"
            )
        code = before.options.get("task")
        if isinstance(code, str) and "task" not in given.task:
            named = f"--task {shlex.quote(found_here(code, before.directory))}"
            raise SettingError(
                f"'{journal.out}' was begun with {named}, whose code is run only where it is named; add {named}"
            )
        call = before.agreed(_as_named(given, before), override, journal.out)
        source = source_of({**call.options, **given.task}, journal.path)
        job = _job(_places(given, before, call), source, call.settings, call.workers, journal)
        go_on(job, call)
    return source, job


def _job(
    places: Mapping[str, str],
    source: TaskSource,
    settings: TrainSettings,
    workers: int,
    journal: "TrainingJournal | None" = None,
) -> "TrainJob":
    """Every loss, then the task: a bad name costs no time, and what does not fit shows before any training."""
    from evomal.comparison.training import job_of, read_losses

    losses = read_losses(places)
    return job_of(source.load(), losses, settings, workers, source.as_dict(), journal)


def _as_named(given: GivenTraining, call: "TrainCall") -> dict[str, Any]:
    """All that was given; files by the names that the call knows, as their content is compared, not their names."""
    options, known = given.options(), [loss.name for loss in call.losses]
    if len(given.losses) == len(known):
        pairs = zip(known, given.losses, strict=True)
        options["losses"] = [old if _is_file(old) and _is_file(new) else new for old, new in pairs]
    if call.options.get("task") is not None:
        options.pop("task", None)
    return options


def _places(given: GivenTraining, before: "TrainCall", call: "TrainCall") -> dict[str, str]:
    """Where each loss of a call that goes on is now."""
    named = dict(zip((loss.name for loss in before.losses), given.losses, strict=False))
    return {
        loss.name: named.get(loss.name) or (found_here(loss.name, call.directory) if _is_file(loss.name) else loss.name)
        for loss in call.losses
    }


def _is_file(name: str) -> bool:
    from evomal.losses import HANDCRAFTED

    return name not in HANDCRAFTED
