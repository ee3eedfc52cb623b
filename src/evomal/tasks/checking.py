"""Checks of a task's data, once at the start: splits of one form, and targets that a loss can be learned on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.losses import TaskType
from evomal.losses.criterion import IGNORED
from evomal.losses.preparing import SOFT_SUM
from evomal.tasks.metrics import MULTILABEL, REGRESSION
from evomal.tasks.splits import AnySplit
from evomal.tasks.tensors import first_row


def checked_targets(parts: Mapping[str, AnySplit], task_type: TaskType, dataset: str) -> tuple[int | None, str]:
    """Check that parts go together and that their targets are such as the kind of task has.

    Returns:
        How many classes there are, as far as it is known, and where the label of the last one stands.

    Raises:
        DataError: Parts differ in form, or targets are of another kind.
    """
    check_parts_fit(parts, dataset)
    if task_type == MULTILABEL:
        for name, split in parts.items():
            if split.y is not None:
                check_several_labels(split.y, name, dataset)
    if task_type in (REGRESSION, MULTILABEL):
        return None, ""
    seen = {part: check_labels(s.y, part, dataset) for part, s in parts.items() if s.y is not None}
    part = max(seen, key=lambda part: seen[part] or 0, default=None)
    classes, y = (None, None) if part is None else (seen[part], parts[part].y)
    if classes is None or y is None:
        return None, ""
    return classes, f"label {classes - 1} (first in row {first_row(y == classes - 1)} of the {part} split)"


def check_parts_fit(parts: Mapping[str, AnySplit], dataset: str) -> None:
    """Raise a `DataError` if instances of a part differ in shape or type from those of the training split."""
    shapes = {name: split.take(torch.arange(1)) for name, split in parts.items()}
    x, y = shapes["training"]
    form = parts["training"].form
    for name, split in parts.items():
        if split.form != form:
            one, other = (f"the inputs {each}" if each else "one input" for each in (split.form, form))
            raise DataError(
                f"x of the {name} split of data set '{dataset}' has {one}, but training has {other}; give all splits "
                "one form"
            )
    for name, (other_x, other_y) in shapes.items():
        for what, ours, theirs in (("x", x, other_x), ("y", y, other_y)):
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                raise DataError(
                    f"{what} of the {name} split of data set '{dataset}' has instances of shape "
                    f"{list(theirs.shape[1:])} ({theirs.dtype}), but training has {list(ours.shape[1:])} "
                    f"({ours.dtype}); give all splits one form"
                )


def check_labels(y: Tensor, part: str, dataset: str) -> int | None:
    """Check class targets; the number of classes they show (greatest label + 1), or None for soft labels.

    Raises:
        DataError: A label is negative, all are ignored, or float targets are not probabilities.

    Example:
        >>> check_labels(torch.tensor([0, 2, -100]), "training", "mine")
        3
    """
    where = f"y of the {part} split of data set '{dataset}'"
    if y.is_floating_point():
        _check_soft(y, where)
        odd = (y < 0) | (y > 1)
        if bool(odd.any()):
            row = first_row(odd)
            raise DataError(
                f"{where} holds {float(y[row][odd[row]].flatten()[0]):g} (first in row {row}) as a float; "
                "give class labels as integers, or for regression set task_loss='mse'"
            )
        return None
    odd = (y < 0) & (y != IGNORED)
    if bool(odd.any()):
        row = first_row(odd)
        raise DataError(
            f"{where} holds the label {int(y[row][odd[row]].flatten()[0])} (first in row {row}); number "
            "the classes from 0, or name a label that does not count as ignore_index; for numbers to predict set "
            "task_loss='mse'"
        )
    greatest = int(y.max())
    if greatest < 0:
        raise DataError(f"{where} has only ignored labels; give at least one that counts")
    return greatest + 1


def _check_soft(y: Tensor, where: str) -> None:
    """Rows of several probabilities are shares of one label."""
    if y.dim() < 2 or y.shape[1] < 2 or bool(((y < 0) | (y > 1)).any()):
        return
    odd = (y.sum(1) - 1).abs() > SOFT_SUM
    if bool(odd.any()):
        row = first_row(odd)
        total = float(y.sum(1)[row].flatten()[0])
        several = bool(((y == 0) | (y == 1)).all())
        advice = "for several labels at once say task_type='multilabel'" if several else "divide each row by its sum"
        raise DataError(f"{where} holds soft labels that sum to {total:g}, not to 1 (first in row {row}); {advice}")


def check_several_labels(y: Tensor, part: str, dataset: str) -> None:
    """Check the targets of several labels [N, C, ...].

    Raises:
        DataError: They are no rows of several labels, or not 0 and 1.

    Example:
        >>> check_several_labels(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "training", "mine")
    """
    where = f"y of the {part} split of data set '{dataset}'"
    if y.dim() < 2:
        raise DataError(f"{where} has shape {list(y.shape)}; for several labels give [N, C], 0 or 1 for each label")
    odd = (y != 0) & (y != 1)
    if bool(odd.any()):
        row = first_row(odd)
        raise DataError(
            f"{where} holds {float(y[row][odd[row]].flatten()[0]):g} (first in row {row}); for several labels give 0 "
            "or 1 for each label"
        )
    if part == "training" and bool((y == y.reshape(-1)[0]).all()):
        raise DataError(f"{where} holds {float(y.reshape(-1)[0]):g} alone; a loss is learned on labels that differ")


def check_two_classes(y: Tensor | None, dataset: str) -> None:
    """Raise a `DataError` if the labels that are trained on, as far as they are known, are of one class alone.

    Example:
        >>> check_two_classes(torch.tensor([0, 1, -100]), "mine")
    """
    if y is None or (y.is_floating_point() and y.numel() != len(y)):
        return
    seen = y.reshape(-1)
    seen = seen if y.is_floating_point() else seen[seen != IGNORED]
    if seen.numel() and bool((seen == seen[0]).all()):
        raise DataError(
            f"y of the training split of data set '{dataset}' holds the label {float(seen[0]):g} alone; a loss for "
            "classification is learned on at least two classes"
        )
