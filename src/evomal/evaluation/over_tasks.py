"""Losses trained on one task after the other: what all trainings of searches and finals share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from evomal.local_search.endings import reason_of
from evomal.tasks import Task, TaskSet

Entry = TypeVar("Entry")
Value = TypeVar("Value")
Measured = tuple[Value, str | None]
"""What a training on one task came to, and why it failed."""


@dataclass(slots=True)
class OverTasks(Generic[Value]):
    """What the trainings of one loss came to.

    Args:
        values: Of each task that was begun.
        reason: Why the last one failed, or None.
    """

    values: list[Value] = field(default_factory=list)
    reason: str | None = None


def over_tasks(
    tasks: TaskSet, entries: Sequence[Entry], train: Callable[[Task, Sequence[Entry]], Sequence[Measured[Value]]]
) -> list[OverTasks[Value]]:
    """Train on one task after the other; of a loss's trainings, the first that fails is the last.

    Args:
        tasks: The tasks.
        entries: What is trained: losses, rates or both.
        train: Trains those that have not failed on a task.

    Returns:
        What became of each entry.
    """
    found: list[OverTasks[Value]] = [OverTasks() for _ in entries]
    for task in tasks:
        going = [number for number, one in enumerate(found) if one.reason is None]
        if not going:
            break
        for number, (value, reason) in zip(going, train(task, [entries[each] for each in going]), strict=True):
            found[number].values.append(value)
            found[number].reason = reason
    return found


def one_by_one(
    train: Callable[[Task, Entry], Measured[Value]], failed: Value
) -> Callable[[Task, Sequence[Entry]], list[Measured[Value]]]:
    """A training of one entry as one of several; whatever a loss does, the others go on.

    Args:
        train: Trains one entry.
        failed: What one comes to that raised something.
    """

    def guarded(task: Task, entry: Entry) -> Measured[Value]:
        try:
            return train(task, entry)
        except Exception as error:
            return failed, reason_of(error)

    return lambda task, entries: [guarded(task, entry) for entry in entries]


def why_not(ended: str | None, metric: float) -> str | None:
    """Why a training counts as failed: it ended early, or what it came to cannot be measured.

    Example:
        >>> why_not(None, 0.25), why_not(None, math.nan)
        (None, 'the metric is not finite')
    """
    return ended or (None if math.isfinite(metric) else "the metric is not finite")
