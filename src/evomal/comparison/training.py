"""Losses beside one another without searches: what `evomal.train` and the command `train` do."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomal.comparison.contenders import Contender
from evomal.comparison.digests import digest
from evomal.comparison.train_call import NamedLoss, TrainCall, task_identity
from evomal.comparison.train_journal import TrainingJournal
from evomal.comparison.trained import TrainedLoss, TrainResult
from evomal.comparison.training_rows import FinishedTraining, Key
from evomal.comparison.trainings import loss_of, train_left
from evomal.config import TrainSettings
from evomal.config import given as given_names
from evomal.executors import WorkerError, make_executor
from evomal.foundation.errors import EvomalError, StorageError
from evomal.foundation.files import require_free, storing, write_atomically
from evomal.foundation.serialization import finite
from evomal.losses import HANDCRAFTED, HandcraftedLoss
from evomal.losses.criterion import LossFunction
from evomal.losses.loading import learned_by_name
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
            with storing(self.journal.out, self.journal.remedy):
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
    handcrafted = [name for name, loss in job.losses.items() if isinstance(loss, HandcraftedLoss)]
    call.require_same(job.digests, handcrafted, task_identity(job.task), job.journal.out)
    job.journal.go_on(call)
