"""The document that says what a folder's comparison is, and whether another one is the same."""

from collections.abc import Collection
from typing import Any

from evomal.comparison.computed import computed, unlike
from evomal.comparison.plan import Plan
from evomal.search.provenance import described
from evomal.tasks import Task
from evomal.tasks.fingerprint import fingerprint

MARK = "evomal-comparison"
COMPUTED = "computed"


def document_of(plan: Plan, task: Task) -> dict[str, Any]:
    """A comparison as plain values: all that its results depend on."""
    assert task.test is not None
    known = described(task) | {
        "test_fingerprint": fingerprint((), (task.test,)),
        "task_loss": task.task_loss_name,
        COMPUTED: computed(task),
    }
    return {"format": MARK, "task": known, **plan.as_dict()}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where two documents cannot be one comparison, in words.

    Contenders, seeds and rates may differ; of the settings of methods those count that both name. What an older evomal
    did not write down cannot be compared.

    Example:
        >>> one, other = ({"task": {}, "training": {"steps": n, "seeds": [n]}, "methods": {}} for n in (1, 2))
        >>> differences(one, other)
        ['training: steps was 1, now 2']
    """
    shared = before["methods"].keys() & now["methods"].keys()
    old, new = (_flat(_fixed(document, shared)) for document in (before, now))
    both = sorted(old.keys() & new.keys())
    told = [f"{name} was {old[name]!r}, now {new[name]!r}" for name in both if old[name] != new[name]]
    # Other data gives other outputs: what is computed tells something only of a task that is the same by name and data.
    return told if any(text.startswith("task: ") for text in told) else _computed(before, now) + told


def _computed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What the two tasks compute differently, though name and data are the same; the first tells what it comes from."""
    old, new = (document["task"].get(COMPUTED) for document in (before, now))
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return [f"task: {name} was {old[name]!r}, now {new[name]!r}" for name in unlike(old, new)[:1]]


def _fixed(document: dict[str, Any], shared: Collection[str]) -> dict[str, Any]:
    """The part of a comparison that may not change from call to call."""
    training = {name: value for name, value in document["training"].items() if name not in ("seeds", "lrs")}
    methods = {name: document["methods"][name] for name in shared}
    task = {name: value for name, value in document["task"].items() if name != COMPUTED}
    return {"task": task, "training": training, "methods": methods}


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested plain values by names such as ``training: base: lr``."""
    if not isinstance(values, dict):
        return {name: values}
    return {
        inner: value
        for key, entry in values.items()
        for inner, value in _flat(entry, f"{name}: {key}" if name else str(key)).items()
    }
