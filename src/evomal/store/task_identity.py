"""What a task is, as plain values: so that another one under an old name is noticed when a run goes on."""

from collections.abc import Mapping
from typing import Any

from evomal.foundation.errors import EvomalError, ModelError, one_line
from evomal.foundation.serialization import flattened
from evomal.store.computed import computed, unlike
from evomal.store.provenance import described
from evomal.tasks import Task

COMPUTED = "computed"


def identity(task: Task) -> dict[str, Any]:
    """Names, fingerprint of the data, and what network, task loss and metric compute on some of it.

    Raises:
        ModelError: They fail on it.
    """
    try:
        found = computed(task)
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(f"model '{task.model_name}' fails on some training data: {one_line(error)}") from error
    return described(task) | task.own.names() | {"task_loss": task.task_loss_name, COMPUTED: found}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where two identities cannot be one task, in words.

    What an older evomal did not write down cannot be compared. Other data gives other outputs, so what is computed
    tells something only of a task that is the same by name and data.

    Example:
        >>> changes({"task": "a", "computed": {"outputs": 1.0}}, {"task": "b", "computed": {"outputs": 2.0}})
        ["task was 'a', now 'b'"]
    """
    old, new = ({name: value for name, value in each.items() if name != COMPUTED} for each in (before, now))
    return differences(old, new) or _computed(before.get(COMPUTED), now.get(COMPUTED))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which of the plain values that both name differ, in words.

    Example:
        >>> differences({"base": {"lr": 0.1, "old": 1}}, {"base": {"lr": 0.2, "new": 2}})
        ['base: lr was 0.1, now 0.2']
    """
    old, new = flattened(before), flattened(now)
    both = sorted(old.keys() & new.keys())
    return [f"{name} was {old[name]!r}, now {new[name]!r}" for name in both if old[name] != new[name]]


def _computed(old: object, new: object) -> list[str]:
    """What two tasks compute differently; the first tells what it comes from."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return [f"{name} was {old[name]!r}, now {new[name]!r}" for name in unlike(old, new)[:1]]
