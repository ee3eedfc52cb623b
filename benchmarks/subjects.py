"""What is measured: Fashion-MNIST, LeNet-5, batches of 128, and a formula of usual size."""

from dataclasses import dataclass

from torch import Tensor, nn

import evomal
from evomal.tasks import Batches, Task, named_task

FORMULA = "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))"


@dataclass
class Subject:
    """A task with fresh batches by number."""

    task: Task
    train: Batches
    valid: Batches

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """A training batch."""
        return self.task.train.take(self.train.index(number))

    def valid_batch(self, number: int) -> tuple[Tensor, Tensor]:
        """A validation batch."""
        return self.task.valid.take(self.valid.index(number % 40))

    def model(self) -> nn.Module:
        """A fresh network, the same each time."""
        return self.task.make_model(0)


def lenet5() -> Subject:
    """LeNet-5 on Fashion-MNIST; every epoch's permutation is drawn before anything is timed."""
    task = named_task("fashion-mnist", "lenet5")
    subject = Subject(task, Batches(len(task.train), 128, 0), Batches(len(task.valid), 128, 1))
    subject.batch(0), subject.valid_batch(0)
    return subject


def formula() -> evomal.SymbolicLoss:
    """A loss with nine coefficients."""
    return evomal.SymbolicLoss(FORMULA, task_type="classification", ignore_index=None)
