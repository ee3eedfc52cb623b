"""What `evomal train` works on: a new call, or one that it goes on with."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evomal.cli.arguments import source_of
from evomal.cli.going_on import found_here
from evomal.cli.output import require_free
from evomal.cli.source import TaskSource
from evomal.config import BaseSettings, TrainSettings, train_settings
from evomal.config import given as given_names
from evomal.foundation.errors import SettingError

if TYPE_CHECKING:
    from evomal.comparison.meta_tests import Loss
    from evomal.comparison.train_call import TrainCall
    from evomal.comparison.training_journal import TrainingJournal
    from evomal.tasks import Task


@dataclass(frozen=True, slots=True)
class Given:
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


@dataclass(frozen=True, slots=True)
class Job:
    """Meta-tests that can be done.

    Args:
        source: Where the task comes from.
        settings: How networks are trained.
        workers: Trainings at a time.
        losses: The losses by name, on the task's device.
        task: The task.
        journal: What is finished, open; None if nothing is written down.
    """

    source: TaskSource
    settings: TrainSettings
    workers: int
    losses: "dict[str, Loss]"
    task: "Task"
    journal: "TrainingJournal | None"


def new_job(given: Given, out: Path | None, force: bool) -> Job:
    """Meta-tests that begin.

    Raises:
        EvomalError: An option is odd, a loss does not fit the task, or there is something in the place of the results.
    """
    if not given.losses:
        raise SettingError("missing option '--loss'")
    source, settings = TaskSource(**given.task), train_settings(given.preset, **given.settings)
    workers = given.workers or 1
    if out is None:
        return Job(source, settings, workers, *_loaded(_named(given), source, settings.base), None)
    from evomal.comparison.records import digest
    from evomal.comparison.train_call import NamedLoss, TrainCall, task_identity
    from evomal.comparison.training_journal import TrainingJournal

    journal = TrainingJournal(out)
    with _closed_if_refused(journal):
        journal.require_free(force)
        require_free(out, "train.json", force)
        losses, task = _loaded(_named(given), source, settings.base)
        call = TrainCall(
            losses=tuple(NamedLoss(name=name, digest=digest(loss)) for name, loss in losses.items()),
            settings=settings,
            given=tuple(sorted(given_names(settings))),
            options=source.stored(),
            directory=str(Path.cwd()),
            task=task_identity(task),
            workers=workers,
            preset=given.preset,
            command=shlex.join(["evomal", *given.command]),
        )
        journal.begin(call, force)
    return Job(source, settings, workers, losses, task, journal)


def old_job(given: Given, out: Path, override: bool) -> Job:
    """Meta-tests that go on: all is as it was begun, and what is given beside must agree.

    Raises:
        SettingError: Something that was given does not agree, or code would be run that only the journal names.
        RunFolderError: There is nothing to go on with, another process is at work, or task or losses have changed.
    """
    from evomal.comparison.train_call import task_identity
    from evomal.comparison.training_journal import TrainingJournal

    journal = TrainingJournal(out)
    with _closed_if_refused(journal):
        before = journal.reopen()
        code = before.options.get("task")
        if isinstance(code, str) and "task" not in given.task:
            named = f"--task {shlex.quote(found_here(code, before.directory))}"
            raise SettingError(
                f"'{journal.out}' was begun with {named}, whose code is run only where it is named; add {named}"
            )
        call = before.agreed(_as_named(given, before), override, journal.out)
        source = source_of({**call.options, **given.task}, journal.path)
        losses, task = _loaded(_places(given, before, call), source, call.settings.base)
        call.require_same(losses, task_identity(task), journal.out)
        journal.go_on(call)
    return Job(source, call.settings, call.workers, losses, task, journal)


def _named(given: Given) -> dict[str, str]:
    return {name: name for name in given.losses}


def _as_named(given: Given, call: "TrainCall") -> dict[str, Any]:
    """All that was given; files by the names that the call knows, as their content is compared, not their names."""
    options, known = given.options(), [loss.name for loss in call.losses]
    if len(given.losses) == len(known):
        pairs = zip(known, given.losses, strict=True)
        options["losses"] = [old if _is_file(old) and _is_file(new) else new for old, new in pairs]
    if call.options.get("task") is not None:
        options.pop("task", None)
    return options


def _places(given: Given, before: "TrainCall", call: "TrainCall") -> dict[str, str]:
    """Where each loss of a call that goes on is now."""
    named = dict(zip((loss.name for loss in before.losses), given.losses, strict=False))
    return {
        loss.name: named.get(loss.name) or (found_here(loss.name, call.directory) if _is_file(loss.name) else loss.name)
        for loss in call.losses
    }


def _is_file(name: str) -> bool:
    from evomal.losses import HANDCRAFTED

    return name not in HANDCRAFTED


@contextmanager
def _closed_if_refused(journal: "TrainingJournal") -> Iterator[None]:
    try:
        yield
    except BaseException:
        journal.close()
        raise


def _loaded(places: Mapping[str, str], source: TaskSource, base: BaseSettings) -> "tuple[dict[str, Loss], Task]":
    """Every loss, then the task: a bad name costs no time, and what does not fit shows before any training."""
    from evomal.cli.losses import read_loss
    from evomal.tasks import probe
    from evomal.training.optimizers import fitted_base

    named = {name: read_loss(place) for name, place in places.items()}
    task = source.load()
    probe(task)
    fitted_base(base, task.own)
    return {name: loss.fitted(task) for name, loss in named.items()}, task
