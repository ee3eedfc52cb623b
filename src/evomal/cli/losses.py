"""What `--loss` means: a handcrafted loss by name, a loss file, or a run folder's best loss."""

from pathlib import Path
from typing import TypeVar

from evomal.errors import SettingError, unknown_name
from evomal.losses import HANDCRAFTED, HandcraftedLoss, SymbolicLoss, get_handcrafted, load_loss
from evomal.tasks import Task

Loss = TypeVar("Loss", SymbolicLoss, HandcraftedLoss, SymbolicLoss | HandcraftedLoss)


def read_loss(name: str) -> SymbolicLoss | HandcraftedLoss:
    """The loss that an option names.

    Raises:
        UnknownNameError: It is neither a file, nor a run folder, nor the name of a handcrafted loss.
        LossFileError: The file cannot be read.

    Example:
        >>> read_loss("cross_entropy")
        HandcraftedLoss('cross_entropy')
    """
    if name in HANDCRAFTED:
        return get_handcrafted(name)
    path = Path(name)
    if not path.exists() and path.suffix != ".json" and len(path.parts) == 1:
        raise unknown_name("loss", name, HANDCRAFTED)
    return load_loss(path)


def read_learned_loss(name: str) -> SymbolicLoss:
    """A loss with coefficients to tune.

    Raises:
        SettingError: The loss is a handcrafted one.
        LossFileError: The file cannot be read.
    """
    loss = read_loss(name)
    if not isinstance(loss, SymbolicLoss):
        raise SettingError(f"loss '{name}' is handcrafted and has nothing to tune; give a loss file or a run folder")
    return loss


def fitted(loss: Loss, name: str, task: Task) -> Loss:
    """The loss on the task's device, once it is known to be for its kind of task.

    Raises:
        SettingError: Regression and classification do not fit.
    """
    if loss.task_type != task.task_type:
        raise SettingError(
            f"loss '{name}' is for {loss.task_type}, but task '{task.name}' is {task.task_type}; give another loss"
        )
    return loss.to(task.device)
