"""What every loss sees while it is tuned: batches, initialisations and random numbers that depend on the step alone."""

from collections.abc import Sequence

from torch import nn

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.seeds import derive, seed_torch
from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import FunctionalModel
from evomal.local_search.one_step import Batch
from evomal.local_search.warm_up import STEPS, diagonal_scaling
from evomal.tasks import Batches, Task

GOLDEN = 0.6180339887498949


def progress_at(number: int) -> float:
    """The progress that losses see in a meta step, as if its base steps were taken then: spread evenly over 0 to 1.

    Base weights start anew at every meta step, so that meta steps are in no order: any few of them in a row see all
    of a training.

    Example:
        >>> [round(progress_at(number), 2) for number in range(4)]
        [0.0, 0.62, 0.24, 0.85]
    """
    return number * GOLDEN % 1.0


class MetaBatches:
    """The meta steps of a tuning on one task, the same for all losses (D3).

    Args:
        task: The task.
        settings: Base steps, and the batch that the task loss is taken on.
        base: The base optimiser.
        seed: Of everything that is drawn.

    Attributes:
        count: Base steps in a meta step.
        step: The base optimiser as a function.
        on_train: Whether the task loss is taken on the training batch.
        train_rows: Which instances each base step takes.
        valid_rows: Which instances the task loss of each meta step is taken on.
        key: What tells it from other courses of the same task.
    """

    def __init__(self, task: Task, settings: LocalSearchSettings, base: BaseSettings, seed: int) -> None:
        self.task, self.count = task, settings.base_steps
        self.step = BaseStep(base, task.own)
        self.on_train, self._seed = settings.task_loss_batch == "train", seed
        self.train_rows = Batches.of(task.train, base.batch_size, seed, task.key, "tune", "train")
        self.warm_rows = Batches.of(task.train, base.batch_size, seed, task.key, "tune", "warm-up")
        self.valid_rows = Batches.of(task.valid, base.batch_size, seed, task.key, "tune", "valid")
        self.key = (seed, base.batch_size, self.on_train, self.count, task.device)

    def batches(self, number: int) -> tuple[list[Batch], Batch]:
        """The training batch of every base step of a meta step, and the batch of its task loss."""
        train = [self.task.train.take(self.train_rows.index(number * self.count + k)) for k in range(self.count)]
        return train, train[-1] if self.on_train else self.task.valid.take(self.valid_rows.index(number))

    def step_at(self, number: int, model: FunctionalModel, train: Sequence[Batch]) -> BaseStep:
        """The base optimiser in a meta step: of an adaptive one, the scale of each weight is measured first.

        Args:
            number: Of the meta step.
            model: The network at θ0; the global generators go on from somewhere else afterwards.
            train: The training batches of the meta step.
        """
        if not self.step.optimizer.adaptive:
            return self.step
        more = range(number * (STEPS - 1), (number + 1) * (STEPS - 1))
        batches = [train[0], *(self.task.train.take(self.warm_rows.index(k)) for k in more)]
        seed_torch(derive(self._seed, self.task.key, "tune", "warm-up", number))
        return self.step.scaled(diagonal_scaling(model, batches, self.task.task_loss, self.step))

    def model(self, number: int) -> nn.Module:
        """The network of a meta step, freshly initialised, in training mode."""
        return self.task.make_model(derive(self._seed, self.task.key, "tune", "init", number)).train()

    def trial(self) -> nn.Module:
        """One more network, to compare a traced program on."""
        return self.task.make_model(derive(self._seed, self.task.key, "tune", "trace")).train()

    def noise(self, number: int) -> int:
        """The seed of what layers such as dropout draw in a meta step."""
        return derive(self._seed, self.task.key, "tune", "noise", number)

    def draw(self, number: int) -> None:
        """Seed the generators for a meta step; inside `seeded`, so that the user's stay as they were."""
        seed_torch(self.noise(number))
