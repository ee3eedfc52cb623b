"""What `--loss` means: a handcrafted loss by name, a loss file, or a run folder's best loss."""

from dataclasses import dataclass
from typing import TypeVar

from evomal.foundation.errors import SettingError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss
from evomal.losses.loading import SavedLoss
from evomal.losses.named import learned_by_name
from evomal.tasks import Task

Loss = TypeVar("Loss", bound=SavedLoss)


@dataclass(frozen=True, slots=True)
class NamedLoss:
    """A loss that an option names, before the task is known: handcrafted ones may depend on its class counts.

    Args:
        name: The option's value.
        learned: The loss of a file; None for a handcrafted one that is named.
    """

    name: str
    learned: SavedLoss | None

    def fitted(self, task: Task) -> SavedLoss:
        """The loss on the task's device, once it is known to be for its kind of task.

        Raises:
            SettingError: Regression and classification do not fit, or the task has no class counts to give.
        """
        if self.learned is not None:
            return fitted(self.learned, self.name, task)
        return task.handcrafted(self.name)


def read_loss(name: str) -> NamedLoss:
    """The loss that an option names; a file is read at once, so that a bad name costs no time.

    Raises:
        UnknownNameError: It is neither a file, nor a run folder, nor the name of a handcrafted or published loss.
        LossFileError: The file cannot be read.

    Example:
        >>> read_loss("cross_entropy")
        NamedLoss(name='cross_entropy', learned=None)
    """
    if name in HANDCRAFTED:
        return NamedLoss(name, None)
    return NamedLoss(name, learned_by_name(name))


def read_learned_loss(name: str) -> LearnedLoss:
    """A loss with coefficients to tune.

    Raises:
        SettingError: The loss is a handcrafted one, or has no coefficients.
        LossFileError: The file cannot be read.
    """
    loss = read_loss(name).learned
    if loss is None or isinstance(loss, HandcraftedLoss):
        raise SettingError(f"loss '{name}' is handcrafted and has nothing to tune; give a loss file or a run folder")
    if not loss.coefficients:
        raise SettingError(f"loss '{name}' has no coefficients to tune; give a loss file or a run folder")
    return loss


def fitted(loss: Loss, name: str, task: Task) -> Loss:
    """A loss of a file on the task's device, once it is known to be for its kind of task.

    Raises:
        SettingError: Regression and classification do not fit.
    """
    task.require_kind(loss.task_type, name)
    loss.meet_classes(task.class_counts)  # what it sees of classes is their share here
    moved: Loss = loss.to(task.device)  # type: ignore[assignment]
    return moved
