"""What meta steps take, put onto an accelerator beforehand: it is the same for all losses and generations (D3)."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from evomal.local_search.meta_batches import MetaBatches
from evomal.local_search.one_step import Batch
from evomal.tasks import Split, Task

MOST = 2 * 2**30  # bytes that the initialisations of all meta steps may take


class ResidentCourse:
    """Initialisations and rows of all meta steps of a course, on the device of its task.

    Args:
        course: The course, with one base step in a meta step; its data are resident splits.
        steps: Number of meta steps.

    Attributes:
        model: The network whose parameters `at` writes; always the same one.
    """

    def __init__(self, course: MetaBatches, steps: int) -> None:
        self.steps = steps
        self.model = course.model(0)
        self._own = [*self.model.parameters(), *self.model.buffers()]
        self._starts = [torch.empty(steps, *each.shape, dtype=each.dtype, device=each.device) for each in self._own]
        for number in range(steps):
            fresh = course.model(number)
            for table, value in zip(self._starts, [*fresh.parameters(), *fresh.buffers()], strict=True):
                table[number].copy_(value.detach(), non_blocking=True)
        task, self._on_train = course.task, course.on_train
        # Its data, not the task: what is kept for a task must not keep it.
        self._data, device = (task.train, task.valid), task.device
        self._train = course.train_rows.table(0, steps, device)
        self._valid = self._train if self._on_train else course.valid_rows.table(0, steps, device)

    @torch.no_grad()
    def at(self, number: Tensor) -> tuple[Batch, Batch]:
        """The batches of a meta step; `model` is as it starts there.

        Args:
            number: Number of the meta step, int64 [1] on the device.
        """
        for own, table in zip(self._own, self._starts, strict=True):
            own.copy_(table.index_select(0, number)[0])
        train = _gathered(self._data[0], self._train, number)
        return train, train if self._on_train else _gathered(self._data[1], self._valid, number)


def _gathered(split: object, rows: Tensor, number: Tensor) -> Batch:
    assert isinstance(split, Split)
    index = rows.index_select(0, number)[0]
    return split.take(index)


_last: WeakKeyDictionary[Task, tuple[tuple[object, ...], ResidentCourse]] = WeakKeyDictionary()


def resident_course(course: MetaBatches, steps: int) -> ResidentCourse | None:
    """The resident form of a course, kept for the next generation of the same search; None where there is no room.

    Args:
        course: The course.
        steps: Number of meta steps that are wanted.
    """
    task, key = course.task, course.key
    known = _last.get(task)
    if known is not None and known[0] == key and known[1].steps >= steps:
        return known[1]
    if not (isinstance(task.train, Split) and isinstance(task.valid, Split)) or steps * _size(course) > MOST:
        return None
    found = ResidentCourse(course, steps)
    _last[task] = key, found
    return found


def _size(course: MetaBatches) -> int:
    model = course.model(0)
    held: Sequence[Tensor] = [*model.parameters(), *model.buffers()]
    return sum(each.nbytes for each in held)
