"""Losses beside one another without searches: what `evomal.train` and the command `train` do."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.contenders import Contender, Given, named_objects, path_name
from evomal.comparison.plan import CONTENDERS, listed
from evomal.comparison.train_call import NamedLoss, TrainCall, task_identity
from evomal.comparison.train_journal import TrainingJournal
from evomal.comparison.trained import TrainedLoss, TrainResult
from evomal.comparison.trainings import FinishedTraining, Key, digest, loss_of, train_left
from evomal.config import TrainSettings, train_settings
from evomal.config import given as given_names
from evomal.executors import WorkerError, make_executor
from evomal.foundation.atomic import require_free, storing, write_atomically
from evomal.foundation.errors import EvomalError, SettingError, StorageError
from evomal.foundation.recording import recording
from evomal.foundation.serialization import finite
from evomal.losses import HANDCRAFTED, HandcraftedLoss
from evomal.losses.criterion import LossFunction
from evomal.losses.named import learned_by_name
from evomal.losses.published import PUBLISHED
from evomal.search import LearnResult
from evomal.store.provenance import described
from evomal.tasks import Task, probe
from evomal.training import MetaTest, TrainingRun
from evomal.training.meta_testing import best_rate, require_test_split
from evomal.training.optimizers import fitted_base
from evomal.training.step_size import gradient_norm_ratio

Told = Callable[[str, TrainingRun], None]
"""Told of every training that is done now, with the name of its loss."""


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Trainings that can be done.

    Args:
        task: The task.
        losses: The losses by name, on the task's device.
        digests: What tells each of them.
        settings: How networks are trained.
        workers: Trainings at a time.
        shown: What results say of the task.
        journal: What is finished, open; None if nothing is written down.
    """

    task: Task
    losses: Mapping[str, LossFunction]
    digests: Mapping[str, str | None]
    settings: TrainSettings
    workers: int
    shown: Mapping[str, Any]
    journal: TrainingJournal | None = None

    def run(self, told: Told | None = None) -> tuple[TrainResult, BaseException | None]:
        """Do what is left.

        Returns:
            The losses whose trainings are all finished; and what ended the call early, or None.
        """
        settings, journal = self.settings, self.journal
        finished = {} if journal is None else journal.runs()
        left = [key for key in self._keys() if key not in finished]
        losses = {(name, seed): loss for name, loss in self.losses.items() for seed in settings.seeds}
        executor = make_executor(self.workers)
        ended: BaseException | None = None
        try:
            for key, run in train_left(self.task, left, losses, settings, executor):
                if journal is not None:
                    journal.write(key[0], FinishedTraining(run, self.digests[key[0]]))
                finished[key] = run
                if told is not None:
                    told(key[0], run)
        except (KeyboardInterrupt, WorkerError, StorageError) as error:
            ended = error
        finally:
            executor.close()
        return self._result(finished if journal is None else journal.runs()), ended

    def write(self, result: TrainResult) -> None:
        """Write the results into their file, if there is one and anything to write.

        Raises:
            StorageError: It cannot be written; what is finished is kept.
        """
        if self.journal is not None and len(result):
            with storing(self.journal.out):
                text = json.dumps(finite(result.as_dict()), indent=2, allow_nan=False)
                write_atomically(self.journal.out, text + "\n")

    def close(self) -> None:
        """Let other processes in; what is written stays."""
        if self.journal is not None:
            self.journal.close()

    def _keys(self) -> Iterator[Key]:
        for name in self.losses:
            yield from self._keys_of(name)

    def _keys_of(self, name: str) -> list[Key]:
        return [(name, lr, seed) for lr in self.settings.lrs for seed in self.settings.seeds]

    def _result(self, finished: Mapping[Key, TrainingRun]) -> TrainResult:
        settings, metric = self.settings, self.task.metric.name
        done = []
        for name, loss in self.losses.items():
            runs = tuple(finished[key] for key in self._keys_of(name) if key in finished)
            if len(runs) == len(self._keys_of(name)):
                test, ratio = MetaTest(metric, best_rate(runs, settings.lrs), runs), None
                if not isinstance(loss, HandcraftedLoss) and loss is not self.task.task_loss:
                    ratio = gradient_norm_ratio(loss, self.task, settings.base.batch_size, settings.seeds[0])
                done.append(TrainedLoss(name, loss, test, self.task, settings, ratio))
        return TrainResult(tuple(done), self.shown, settings, self.workers)


def read_losses(places: Mapping[str, str], task_loss: str | None = None) -> list[Contender]:
    """Losses by name, each from where it lies; a file is read at once, so that a bad name costs no time.

    Raises:
        UnknownNameError: One is neither a file, nor a run folder, nor the name of a handcrafted or published loss.
        LossFileError: A file cannot be read.

    Example:
        >>> [each.kind for each in read_losses({"focal": "focal", "evomal_c": "evomal_c"})]
        ['handcrafted', 'file']
    """
    return [
        Contender(name, "handcrafted")
        if place in HANDCRAFTED or place == task_loss
        else Contender(name, "file", given=learned_by_name(place))
        for name, place in places.items()
    ]


def job_of(
    task: Task,
    contenders: Sequence[Contender],
    settings: TrainSettings,
    workers: int,
    shown: Mapping[str, Any],
    journal: TrainingJournal | None = None,
) -> TrainJob:
    """What is to be done with losses on a task, once all of them are known to fit it.

    Raises:
        EvomalError: The task's parts do not fit each other, or a loss does not fit it.
    """
    probe(task)
    fitted_base(settings.base, task.own)
    require_test_split(task)
    losses, digests = {}, {}
    for each in contenders:
        losses[each.name] = loss_of(each, task)
        try:
            digests[each.name] = digest(losses[each.name], task if each.kind == "own" else None)
        except EvomalError as error:
            raise type(error)(f"'{each.name}' cannot be trained with: {error}") from error
    return TrainJob(task, losses, digests, settings, workers, shown, journal)


@contextmanager
def new_journal(out: Path, force: bool) -> Iterator[TrainingJournal]:
    """The journal beside a file of results, once both may be written; closed again if the block fails.

    Raises:
        EvomalError: There is something in the place of the results, or it cannot be written.
    """
    with _closed_if_refused(TrainingJournal(out)) as journal:
        journal.require_free(force)
        require_free(out, "train.json", force)
        yield journal


@contextmanager
def old_journal(out: Path) -> Iterator[tuple[TrainingJournal, TrainCall]]:
    """A journal to go on with, and the call that it holds; closed again if the block fails.

    Raises:
        RunFolderError: There is none, it is damaged, or another process is at work.
    """
    with _closed_if_refused(TrainingJournal(out)) as journal:
        yield journal, journal.reopen()


@contextmanager
def _closed_if_refused(journal: TrainingJournal) -> Iterator[TrainingJournal]:
    try:
        yield journal
    except BaseException:
        journal.close()
        raise


def begin(job: TrainJob, force: bool, **said: Any) -> None:
    """Write down what a new job does; `said` are further fields of the `TrainCall`."""
    assert job.journal is not None
    losses = tuple(NamedLoss(name=name, digest=known) for name, known in job.digests.items())
    parts: dict[str, Any] = {"directory": str(Path.cwd()), "task": task_identity(job.task), "workers": job.workers}
    parts["given"] = tuple(sorted(given_names(job.settings)))
    job.journal.begin(TrainCall(losses=losses, settings=job.settings, **parts, **said), force)


def go_on(job: TrainJob, call: TrainCall) -> None:
    """Go on with a call, once losses and task are known to be those of then.

    Raises:
        RunFolderError: One has changed.
    """
    assert job.journal is not None
    call.require_same(job.digests, task_identity(job.task), job.journal.out)
    job.journal.go_on(call)


@recording()
def train(
    task: Task,
    losses: Given | Sequence[Given] = (),
    *,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    override: bool = False,
    force: bool = False,
    preset: str | None = None,
    workers: int | None = None,
    on_run: Told | None = None,
    **flat: Any,
) -> TrainResult:
    """Train fresh networks with finished losses, and compare them on test data; what the command `train` does.

    Args:
        task: The task, with a test split.
        losses: One or several: handcrafted losses, loss files or run folders by name; functions
            ``(outputs, targets) -> scalar``, modules, and results of searches as they are.
        out: A JSON file for the results, or a folder for ``train.json``; each training is kept beside it as soon as it
            is finished. None keeps nothing.
        resume: Goes on with a call that was stopped, whose `out` this was; what is left out is as it was then.
        override: With `resume`: take over more seeds, rates or workers than the call was begun with.
        force: Replace what lies in `out`.
        preset: Named settings.
        workers: Trainings at a time, one thread each; None means 1.
        on_run: Told of every training as it ends, ``on_run(name, run)``.
        **flat: Single settings, such as ``steps=2000, seeds=(0, 1, 2), lrs=(0.01, 0.1)``.

    Returns:
        Each loss at the rate that validation chose. It prints as a table.

    Raises:
        EvomalError: A setting is odd, a loss does not fit the task, or `out` holds something else.
        KeyboardInterrupt: Ctrl-C; what is finished is kept in `out`.

    Example:
        >>> from evomal.tasks import named_task
        >>> result = train(named_task("iris", "linear"), ["cross_entropy", "focal"], steps=20, seeds=(0, 1))
        >>> [(each.name, len(each.test.runs)) for each in result]
        [('cross_entropy', 2), ('focal', 2)]
    """
    if not isinstance(task, Task):
        raise SettingError(f"losses are trained with on one task, and this is a {type(task).__name__}; give a Task")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise SettingError(f"setting 'workers': {workers!r} is no number of processes; give 1 or more")
    single = isinstance(losses, str | PathLike | LearnResult) or callable(losses)
    listing: Any = [losses] if single else losses
    contenders = _given(listed("losses", listing, CONTENDERS, "['cross_entropy', 'loss.json']"), task)
    if resume is not None:
        if force or out is not None:
            raise SettingError(f"`resume` goes on with '{resume}'; leave out `{'force' if force else 'out'}`")
        given = {**flat, "losses": [each.name for each in contenders] or None, "preset": preset, "workers": workers}
        job = _resumed(task, contenders, Path(resume), given, override)
    else:
        if override:
            raise SettingError("`override` is for a call that goes on; give `resume`, or leave it out")
        job = _begun(task, contenders, out, force, workers or 1, preset, train_settings(preset, **flat))
    try:
        result, ended = job.run(on_run)
        if not isinstance(ended, StorageError):
            job.write(result)
    finally:
        job.close()
    if ended is not None:
        raise ended
    return result


def _given(losses: Sequence[Any], task: Task) -> list[Contender]:
    """Losses that were named or given, in their order."""
    texts = [path_name(each) for each in losses if isinstance(each, str | PathLike)]
    objects = iter(named_objects([each for each in losses if not isinstance(each, str | PathLike)], texts))
    read = iter(read_losses({text: text for text in texts}, task.task_loss_name))
    found: dict[str, Contender] = {}
    for each in losses:
        if not isinstance(each, str | PathLike):
            contender = next(objects)
        elif path_name(each) in found:
            continue
        else:
            contender = next(read)
        found[contender.name] = contender
    return list(found.values())


def _begun(
    task: Task,
    contenders: Sequence[Contender],
    out: str | PathLike[str] | None,
    force: bool,
    workers: int,
    preset: str | None,
    settings: TrainSettings,
) -> TrainJob:
    if not contenders:
        raise SettingError("there is nothing to train with; give at least one of `losses`")
    if out is None:
        return job_of(task, contenders, settings, workers, described(task))
    with new_journal(Path(out), force) as journal:
        job = job_of(task, contenders, settings, workers, described(task), journal)
        begin(job, force, options={}, preset=preset)
    return job


def _resumed(
    task: Task, contenders: Sequence[Contender], out: Path, given: Mapping[str, Any], override: bool
) -> TrainJob:
    with old_journal(out) as (journal, before):
        call = before.agreed({name: value for name, value in given.items() if value is not None}, override, journal.out)
        known = contenders or _known(call, task)
        job = job_of(task, known, call.settings, call.workers, call.options or described(task), journal)
        go_on(job, call)
    return job


def _known(call: TrainCall, task: Task) -> list[Contender]:
    """The losses of a call, by their names alone."""
    for loss in call.losses:
        path = Path(loss.name)
        named = loss.name in (*HANDCRAFTED, *PUBLISHED, task.task_loss_name)
        if not (named or path.exists() or path.suffix == ".json" or len(path.parts) > 1):
            raise SettingError(f"loss '{loss.name}' was given as an object, which no file holds; give `losses` again")
    return read_losses({loss.name: loss.name for loss in call.losses}, task.task_loss_name)
