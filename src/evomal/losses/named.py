"""Losses by name, where there is no task that could say how often each class occurs."""

from pathlib import Path

from evomal.foundation.errors import SettingError, unknown_name
from evomal.losses.handcrafted import get_handcrafted
from evomal.losses.handcrafted_table import HANDCRAFTED
from evomal.losses.learned import LearnedLoss
from evomal.losses.loading import SavedLoss, load_loss
from evomal.losses.published import PUBLISHED, published_loss


def loss_by_name(name: str, classes: int = 10) -> SavedLoss:
    """The loss that a name stands for: a handcrafted one, a published one, a loss file, or a run folder.

    Args:
        name: The name of a handcrafted or of a published loss, or a path.
        classes: How many classes there are, each as frequent as the others, for a loss that looks at their frequency.

    Raises:
        UnknownNameError: It is neither a path nor a name.
        LossFileError: The file cannot be read.

    Example:
        >>> loss_by_name("focal")
        HandcraftedLoss('focal')
    """
    if name in HANDCRAFTED:
        return get_handcrafted(name, class_counts=[1] * classes)
    return learned_by_name(name)


def learned_by_name(name: str) -> SavedLoss:
    """The loss that a name stands for beside those written by hand: one that others published, a file, or a run folder.

    Args:
        name: A name in `PUBLISHED`, or a path.

    Raises:
        UnknownNameError: It is neither a path nor the name of any loss.
        LossFileError: The file cannot be read.

    Example:
        >>> learned_by_name("evomal_c").family
        'symbolic'
    """
    if name in PUBLISHED:
        return published_loss(name)
    path = Path(name)
    if not path.exists() and path.suffix != ".json" and len(path.parts) == 1:
        raise unknown_name("loss", name, [*HANDCRAFTED, *PUBLISHED])
    return load_loss(path)


def tunable_by_name(name: str) -> LearnedLoss:
    """A loss with coefficients to tune: one that others published, a loss file, or a run folder.

    Args:
        name: A name in `PUBLISHED`, or a path.

    Raises:
        UnknownNameError: It is neither a path nor the name of any loss.
        SettingError: The loss is a handcrafted one, or has no coefficients.
        LossFileError: The file cannot be read.

    Example:
        >>> tunable_by_name("evomal_c").coefficients[:1]
        [1.0]
    """
    return tunable(None if name in HANDCRAFTED else learned_by_name(name), name)


def tunable(loss: object, name: str) -> LearnedLoss:
    """The same loss, once it is known to have coefficients to tune.

    Raises:
        SettingError: It is a handcrafted one, or has no coefficients.
    """
    if not isinstance(loss, LearnedLoss):
        raise SettingError(f"loss '{name}' is handcrafted and has nothing to tune; give a loss file or a run folder")
    if not loss.coefficients:
        raise SettingError(f"loss '{name}' has no coefficients to tune; give a loss file or a run folder")
    return loss
