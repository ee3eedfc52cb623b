"""Losses of any family: from a loss file, from plain entries such as a journal's line, or by name."""

from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evomal.foundation.errors import EvomalError, LossFileError, SettingError, unknown_name
from evomal.foundation.files import LOSS
from evomal.losses.checks import checked_label
from evomal.losses.criterion import IGNORED, Reduction
from evomal.losses.files import brief, loss_path, read_document, refuse
from evomal.losses.handcrafted import HandcraftedLoss, get_handcrafted
from evomal.losses.handcrafted_table import HANDCRAFTED
from evomal.losses.learned import LearnedLoss
from evomal.losses.neural import NeuralLoss
from evomal.losses.published import PUBLISHED, published_loss
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TaylorLoss

OF_COMPARISON, OF_TRAINING = ("comparison.yaml", "table.json"), ("train.json", "train.trainings.jsonl")
"""Files by which folders of other results are known; later rooms write them."""

SavedLoss = LearnedLoss | HandcraftedLoss
"""Whatever a loss file holds."""

FAMILIES: Mapping[str, type[SavedLoss]] = MappingProxyType(
    {loss.family: loss for loss in (SymbolicLoss, TaylorLoss, NeuralLoss, HandcraftedLoss)}
)


def load_loss(
    path: str | PathLike[str], reduction: Reduction = "mean", ignore_index: int | None = IGNORED
) -> SavedLoss:
    """Read a loss file; nothing in it is ever run.

    Args:
        path: A file written by a loss's ``save``, or by hand in the same format; a run folder means its ``loss.json``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, as in PyTorch; files do not hold it.
        ignore_index: Class label that does not count; None saves the look. Files do not hold it.

    Returns:
        The loss as a PyTorch criterion, finished: its coefficients require no gradient until ``requires_grad_()`` is
        called. What else the file says is in its `info`. A handcrafted loss comes back as a `HandcraftedLoss`.

    Raises:
        LossFileError: The file is missing, damaged, past a limit, from a later version, or its parts contradict one
            another.
        SettingError: `reduction` or `ignore_index` is odd.

    Example:
        >>> import tempfile
        >>> import torch
        >>> file = Path(tempfile.mkdtemp()) / "loss.json"
        >>> HandcraftedLoss("mse").save(file)
        >>> load_loss(file, reduction="none")(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0]))
        tensor([4., 0.])
    """
    file = loss_path(path)
    with suppress(OSError, ValueError):  # a name that is too long, no permission, a NUL: reading will say so
        _require_a_loss(file)
        file = file / LOSS if file.is_dir() else file
    entries = read_document(file)
    try:
        loss = loss_from_entries(entries)
    except EvomalError as error:
        raise LossFileError(f"loss file '{file}': {brief(str(error))}") from None
    loss.reduction, loss.ignore_index = reduction, checked_label(ignore_index)
    return loss


def _require_a_loss(file: Path) -> None:
    """Refuse what is plainly another thing than a loss file or a run folder: a loss's name, or a folder of results."""
    name = str(file)
    if name in HANDCRAFTED and not file.exists():
        counts = ", class_counts=…" if HANDCRAFTED[name].needs_class_counts else ""
        refuse(
            file,
            "there is no such file, but a handcrafted loss of that name",
            f"use evomal.HandcraftedLoss('{name}'{counts})",
        )
    if name in PUBLISHED and not file.exists():
        refuse(
            file,
            "there is no such file, but a published loss of that name",
            f"use evomal.losses.published.published_loss('{name}')",
        )
    if not file.is_dir() or (file / LOSS).exists():
        return
    if any((file / mark).is_file() for mark in OF_COMPARISON):
        found = sorted((file / "searches").glob(f"*/{LOSS}"))
        example = f", such as '{found[0].parent}'" if found else ""
        refuse(
            file,
            "it is the folder of a comparison, and no loss",
            f"see its results by `evomal report {file}`, or name the folder of one of its searches{example}",
        )
    if any((file / mark).is_file() for mark in OF_TRAINING):
        refuse(
            file,
            "it is the folder of a training's results, and no loss",
            "name a loss file, or the run folder of a search",
        )


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
