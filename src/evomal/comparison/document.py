"""The document that says what a folder's comparison is, and whether another one is the same."""

from collections.abc import Collection
from typing import Any

from evomal.comparison.plan import Plan
from evomal.config import BaseSettings, TrainSettings, meanings, with_schedule_in_base
from evomal.store import task_identity as identity
from evomal.tasks import Task
from evomal.tasks.fingerprint import fingerprint

MARK = "evomal-comparison"


def document_of(plan: Plan, task: Task) -> dict[str, Any]:
    """A comparison as plain values: all that its results depend on."""
    assert task.test is not None
    known = {"test_fingerprint": fingerprint((), (task.test,))}
    return {"format": MARK, "task": identity.identity(task) | known, **plan.as_dict()}


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
    old, new = (_fixed(document, shared) for document in (before, now))
    other = [f"task: {change}" for change in identity.changes(before["task"], now["task"])]
    return other + identity.differences(old, new)


def _fixed(document: dict[str, Any], shared: Collection[str]) -> dict[str, Any]:
    """What of a comparison, its task apart, may not change from call to call."""
    found = with_schedule_in_base(document["training"])
    said = meanings(TrainSettings)
    training = {name: value for name, value in found.items() if name not in said or said[name].changes == "never"}
    methods = {name: _with_base(document["methods"][name]) for name in shared}
    return {"training": _with_base(training), "methods": methods}


def _with_base(settings: Any) -> Any:
    """Settings with all those of the base model; older documents knew of SGD at a constant rate only."""
    if not isinstance(settings, dict) or not isinstance(settings.get("base"), dict):
        return settings
    return settings | {"base": BaseSettings().model_dump(mode="json") | settings["base"]}
