"""The document that says what a folder's comparison is, and whether another one is the same."""

from collections.abc import Collection
from typing import Any

from evomal.comparison.plan import Plan
from evomal.search.provenance import described
from evomal.tasks import Task
from evomal.tasks.fingerprint import fingerprint

MARK = "evomal-comparison"


def document_of(plan: Plan, task: Task) -> dict[str, Any]:
    """A comparison as plain values: all that its results depend on."""
    assert task.test is not None
    known = described(task) | {
        "test_fingerprint": fingerprint((), (task.test,)),
        "task_loss": task.task_loss_name,
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
    return [f"{name} was {old[name]!r}, now {new[name]!r}" for name in both if old[name] != new[name]]


def _fixed(document: dict[str, Any], shared: Collection[str]) -> dict[str, Any]:
    """The part of a comparison that may not change from call to call."""
    training = {name: value for name, value in document["training"].items() if name not in ("seeds", "lrs")}
    methods = {name: document["methods"][name] for name in shared}
    return {"task": document["task"], "training": training, "methods": methods}


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested plain values by names such as ``training: base: lr``."""
    if not isinstance(values, dict):
        return {name: values}
    return {
        inner: value
        for key, entry in values.items()
        for inner, value in _flat(entry, f"{name}: {key}" if name else str(key)).items()
    }
