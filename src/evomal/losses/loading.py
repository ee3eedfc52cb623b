"""Losses of any family: from a loss file, from plain entries such as a journal's line, or by name."""

from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evomal.foundation.errors import EvomalError, LossFileError, SettingError, unknown_name
from evomal.losses.files import brief, loss_path, read_document
from evomal.losses.handcrafted import HandcraftedLoss, get_handcrafted
from evomal.losses.handcrafted_table import HANDCRAFTED
from evomal.losses.learned import LearnedLoss
from evomal.losses.neural import NeuralLoss
from evomal.losses.published import PUBLISHED, published_loss
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TaylorLoss

SavedLoss = LearnedLoss | HandcraftedLoss
"""Whatever a loss file holds."""

FAMILIES: Mapping[str, type[SavedLoss]] = MappingProxyType(
    {loss.family: loss for loss in (SymbolicLoss, TaylorLoss, NeuralLoss, HandcraftedLoss)}
)


def load_loss(path: str | PathLike[str]) -> SavedLoss:
    """Read a loss file; nothing in it is ever run.

    Args:
        path: A file written by a loss's ``save``, or by hand in the same format; a run folder means its ``loss.json``.

    Returns:
        The loss as a PyTorch criterion, finished: its coefficients require no gradient until ``requires_grad_()`` is
        called. What else the file says is in its `info`. A handcrafted loss comes back as a `HandcraftedLoss`.

    Raises:
        LossFileError: The file is missing, damaged, past a limit, from a later version, or its parts contradict one
            another.
    """
    file = loss_path(path)
    with suppress(OSError):  # a name that is too long, no permission: reading will say so
        file = file / "loss.json" if file.is_dir() else file
    entries = read_document(file)
    try:
        return loss_from_entries(entries)
    except EvomalError as error:
        raise LossFileError(f"loss file '{file}': {brief(str(error))}") from None


def loss_from_entries(entries: Mapping[str, Any]) -> SavedLoss:
    """The loss that entries stand for, as `LearnedLoss.all_entries` gives them.

    Args:
        entries: Plain values, ``family`` and ``task_type`` among them.

    Returns:
        The loss, finished as one that was read from a file; entries that its family does not know are in its `info`.

    Raises:
        EvomalError: The family is unknown, or an entry is missing or of the wrong kind, or they contradict one another.

    Example:
        >>> loss_from_entries({"family": "taylor", "task_type": "regression", "weights": [0, 0, 0, 2, 0, 0, 0, 0]})
        TaylorLoss(f², task_type='regression')
    """
    rest = dict(entries)
    family = rest.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        *names, last = map(repr, FAMILIES)
        raise SettingError(f"its family {brief(repr(family))} is unknown; use {', '.join(names)} or {last}")
    try:
        return FAMILIES[family].from_entries(rest).requires_grad_(False)
    except OverflowError:  # JSON has whole numbers of any length
        raise SettingError("one of its numbers is too large for a float; write it anew") from None


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
