"""Meta-tests with several losses, one after the other; nothing finished is done again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import evomal.training
from evomal.comparison.records import Trained, digest
from evomal.comparison.training_journal import TrainingJournal
from evomal.config import TrainSettings
from evomal.executors import Executor
from evomal.losses import HandcraftedLoss, LearnedLoss
from evomal.tasks import Task
from evomal.training import MetaTest, TrainingRun
from evomal.training.step_size import gradient_norm_ratio

Loss = LearnedLoss | HandcraftedLoss


@dataclass(frozen=True, slots=True)
class MetaTested:
    """A loss and its meta-test.

    Args:
        name: What the loss was called by.
        loss: The loss.
        test: All trainings with it.
        ratio: How much longer its first gradients are than the task loss's; None if that is not finite or the loss is
            handcrafted.
    """

    name: str
    loss: Loss
    test: MetaTest
    ratio: float | None


def meta_tests(
    task: Task,
    losses: Mapping[str, Loss],
    settings: TrainSettings,
    executor: Executor,
    journal: TrainingJournal | None = None,
    told: Callable[[str, TrainingRun], None] | None = None,
) -> Iterator[MetaTested]:
    """Meta-test one loss after the other.

    Args:
        task: The task, with a test split.
        losses: The losses by name, on the task's device.
        settings: Steps, seeds, learning rates, schedule.
        executor: Where the trainings are done.
        journal: Knows what is finished, and is told of every training as it ends, before anybody else.
        told: Told of every training that is done now, with the name of its loss.

    Yields:
        Each loss with its meta-test, as soon as that is finished.

    Example:
        >>> from evomal.config import train_settings
        >>> from evomal.executors import InProcess
        >>> from evomal.tasks import named_task
        >>> iris = named_task("iris", "linear")
        >>> losses = {name: iris.handcrafted(name) for name in ("cross_entropy", "focal")}
        >>> tested = meta_tests(iris, losses, train_settings(steps=20, seeds=(0, 1)), InProcess())
        >>> [(each.name, len(each.test.runs)) for each in tested]
        [('cross_entropy', 2), ('focal', 2)]
    """
    for name, loss in losses.items():
        known = digest(loss)

        def on_run(run: TrainingRun, name: str = name, known: str | None = known) -> None:
            if journal is not None:
                journal.write(name, Trained(run, known))
            if told is not None:
                told(name, run)

        done = [] if journal is None else journal.trainings(name)
        test = evomal.training.meta_test(task, loss, settings, executor.map, on_run, done)
        ratio = None
        if isinstance(loss, LearnedLoss):
            ratio = gradient_norm_ratio(loss, task, settings.base.batch_size, settings.seeds[0])
        yield MetaTested(name, loss, test, ratio)
