"""Fresh splits of a task's labelled data: stratified folds of training and validation data, or seeds in their place."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.errors import DataError
from evomal.foundation.seeds import derive
from evomal.losses.criterion import IGNORED
from evomal.tasks import AnySplit, Task
from evomal.tasks.sampling import strata

ENOUGH = 10_000
"""Instances that a network is tested on, at most: beyond, the resolution is not what limits."""
FEW = 600
"""Below so many instances a race may go through fresh folds twice."""


def fold_of(labels: Tensor | None, length: int, folds: int, number: int, *seed: str | int) -> tuple[Tensor, Tensor]:
    """Rows of one fold of many cross-validations: fold ``number % folds`` of that with number ``number // folds``.

    Args:
        labels: What folds are stratified by, [N]; None where there is nothing.
        length: N.
        folds: K.
        number: Of the split.
        *seed: What the shuffling depends on, beside the number of the cross-validation.

    Returns:
        Rows to train on, rows to test on, int64 and sorted; of more than `ENOUGH` to test on the rest is trained on.

    Example:
        >>> train, test = fold_of(torch.tensor([0, 1] * 10), 20, 5, 7, 0)
        >>> len(train), len(test), (test % 2).sum()
        (16, 4, tensor(2))
    """
    shuffle = derive(*seed, "finals", "folds", number // folds)
    known = None if labels is None else tuple(labels.tolist())
    test = np.sort(_folds(known, length, folds, shuffle)[number % folds][:ENOUGH])
    train = np.setdiff1d(np.arange(length), test)
    return torch.from_numpy(train), torch.from_numpy(test)


@lru_cache(maxsize=2)  # its keys are long
def _folds(labels: tuple[int, ...] | None, length: int, folds: int, shuffle: int) -> list[np.ndarray]:
    # The import takes more than a second; most commands never split.
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = KFold if labels is None else StratifiedKFold
    rows = np.zeros(length) if labels is None else np.array(labels)
    dealt = kind(folds, shuffle=True, random_state=shuffle % 2**32).split(rows, rows)
    draw = np.random.default_rng(shuffle)
    return [draw.permutation(test) for _, test in dealt]


def final_split(task: Task, folds: int, number: int, seed: int) -> tuple[AnySplit, AnySplit]:
    """What a network of the finals is trained and tested on.

    Args:
        task: The task.
        folds: K.
        number: Of the split.
        seed: Of the run.

    Returns:
        Two parts of training and validation data; those of the task where they may not be mixed. The task's last ones
        are kept until `forget`: trainings on one split follow one another, and a copy takes as long as many steps.
    """
    call = (folds, number, seed)
    last = _LAST.pop(task, None)
    if last is None or last[0] != call:
        last = None  # the old copy goes before a new one is made
        last = call, _parts(task, *call)
    _LAST[task] = last
    return last[1]


def forget(tasks: Iterable[Task]) -> None:
    """Give the memory of kept splits back."""
    for task in tasks:
        _LAST.pop(task, None)
    _folds.cache_clear()


def _parts(task: Task, folds: int, number: int, seed: int) -> tuple[AnySplit, AnySplit]:
    together = task.pooled()
    if together is None:
        return task.train, task.valid
    rows = fold_of(_labels(task, together), len(together), folds, number, seed, task.key)
    return task.trained_on(together.subset(rows[0])), together.subset(rows[1])


_LAST: WeakKeyDictionary[Task, tuple[tuple[int, int, int], tuple[AnySplit, AnySplit]]] = WeakKeyDictionary()
"""Of each task the split that was asked for last, and by which call."""


def overlap_of(tasks: Sequence[Task], folds: int) -> float:
    """Instances tested on / instances trained on, the greatest of all tasks; 0 where seeds take the place of folds."""
    found = [0.0]
    for task in tasks:
        together = task.pooled()
        if together is not None:
            tested = min(len(together) // folds, ENOUGH)
            found.append(tested / (len(together) - tested))
    return max(found)


def fewest(tasks: Sequence[Task]) -> int:
    """Labelled instances of the smallest task."""
    return min(len(task.train) + len(task.valid) * task.valid_alike for task in tasks)


def require_enough(tasks: Sequence[Task], folds: int) -> None:
    """Make sure that every fold can have every class.

    Raises:
        DataError: A task has fewer instances than folds, or a class has.

    Example:
        >>> x, y = torch.zeros(30, 2), torch.tensor([0] * 27 + [1] * 3)
        >>> try:
        ...     require_enough([Task(lambda: torch.nn.Linear(2, 2), (x, y), name="rare")], 5)
        ... except DataError as error:
        ...     print(str(error).partition(";")[0])
        class 1 of task 'rare' has 3 labelled instances, fewer than the 5 folds of the finals
    """
    for task in tasks:
        together = task.pooled()
        if together is None:
            continue
        labels = _labels(task, together)
        remedy = "give fewer folds, more data, or switch finals off"
        if len(together) < 2 * folds:
            raise DataError(
                f"task '{task.name}' has {len(together)} labelled instances, too few for the {folds} folds of the "
                f"finals; {remedy}"
            )
        if labels is None:
            continue
        classes, counts = labels[labels != IGNORED].unique(return_counts=True)
        rarest = int(counts.argmin())
        if int(counts[rarest]) < folds:
            raise DataError(
                f"class {int(classes[rarest])} of task '{task.name}' has {int(counts[rarest])} labelled instances, "
                f"fewer than the {folds} folds of the finals; {remedy}"
            )


def _labels(task: Task, together: AnySplit) -> Tensor | None:
    labels = strata(together.y) if task.task_type == "classification" else None
    return None if labels is None else labels.cpu()
