"""Settings from flat names: presets, methods and explicit values, in that order."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError

from evomal.config.methods import REGISTRY, MethodEntry, method_entry
from evomal.config.presets import IN_FULL, PRESETS
from evomal.config.settings import LearnSettings, TrainSettings
from evomal.config.stages import OPTIMIZER_DEFAULTS, SPECIFIC, Settings
from evomal.foundation.errors import SettingError, UnknownNameError, unknown_name

STAGES = ("base", "genetic", "cma", "neural", "local_search", "filters", "racing", "finals", "execution", "limits")

OF_TASK = {
    name: name
    for name in ("model", "train", "valid", "test", "metric", "task_loss", "task_type", "device", "ignore_index")
} | {"loss": "task_loss", "dataset": "train"}
"""What users give as a setting though it is an argument of a task."""

MEANT: dict[str, tuple[str, ...]] = {
    "learning_rate": ("lr", "lrs"),
    "lrs": ("lr", "fitness_lrs"),
    "meta_learning_rate": ("meta_lr",),
    "inner_lr": ("lr",),
    "outer_lr": ("meta_lr",),
    "epochs": ("partial_steps", "steps"),
    "steps": ("partial_steps", "meta_steps"),
    "inner_steps": ("base_steps",),
    "population": ("population_size",),
    "pop_size": ("population_size",),
    "n_generations": ("generations",),
    "num_generations": ("generations",),
    "iterations": ("generations", "steps"),
    "random_state": ("seed", "seeds"),
    "random_seed": ("seed", "seeds"),
    "n_jobs": ("workers",),
    "num_workers": ("workers",),
    "processes": ("workers",),
    "timeout": ("max_time",),
    "early_stopping": ("patience",),
    "optim": ("optimizer",),
    "scheduler": ("schedule",),
}
"""Names that other libraries have for our settings."""

S = TypeVar("S", bound=Settings)


def flat_fields(kind: type[Settings]) -> dict[str, str]:
    """Every flat setting name of `kind` with the stage that it belongs to ("" for the top level)."""
    names = {name: "" for name in kind.model_fields if name not in STAGES and name != "own"}
    for stage in STAGES:
        if stage in kind.model_fields:
            stage_class = kind.model_fields[stage].annotation
            assert stage_class is not None
            names |= dict.fromkeys(stage_class.model_fields, stage)
    return names


def learn_settings(preset: str | None = None, **flat: Any) -> LearnSettings:
    """Settings of a search from flat names; explicit values override the preset's.

    Args:
        preset: A name in `PRESETS`, or None for the paper's values.
        **flat: Any field of `LearnSettings` or of its stages; None means "not given".

    Returns:
        The validated settings.

    Raises:
        SettingError: A name is unknown, a value is out of range, or a method does not have it.

    Example:
        >>> learn_settings("quick", seed=3).genetic.population_size
        20
        >>> learn_settings("quick", method="gplfl").local_search.meta_steps
        0
    """
    method = flat.get("method") or "evomal"
    entry = method_entry(method)
    fixed = dict(entry.fixed)
    for name in unused(method, flat):
        if name in fixed:
            raise SettingError(f"setting '{name}': method {method} has {fixed[name]}, not {flat[name]!r}; leave it out")
        raise SettingError(f"setting '{name}': method {method} does not use it; leave it out")
    settings = _build(LearnSettings, preset, flat, dict(entry.defaults), fixed, entry)
    _require_racing(settings, flat)
    return settings


def _require_racing(settings: LearnSettings, flat: dict[str, Any]) -> None:
    """Refuse settings of a race or of finals where there are none, so that nobody believes that they had an effect."""
    for name in ("finalists", "folds", "retests", "finals_budget"):
        if flat.get(name) is not None and not settings.finals.finals:
            raise SettingError(f"setting '{name}': it has no effect without finals; add finals, or leave it out")
    for name in ("racing_effort", "racing_keep"):
        if flat.get(name) is not None and not settings.racing.racing:
            raise SettingError(f"setting '{name}': it has no effect without racing; add racing, or leave it out")


def changed(settings: LearnSettings, preset: str | None = None, **flat: Any) -> LearnSettings:
    """Settings of a search with some of them given anew, for a run that goes on.

    Args:
        settings: The settings of then.
        preset: A name in `PRESETS` that was given again, or None.
        **flat: Single settings; None means "not given".

    Returns:
        The validated settings; what was not given is as it was.

    Raises:
        SettingError: A name is unknown, a value is out of range, or the method does not have it.

    Example:
        >>> changed(learn_settings("quick", seed=3), generations=20).genetic.generations
        20
    """
    entry = method_entry(settings.method)
    fields = flat_fields(LearnSettings) | entry.own_fields
    named = _preset(preset, flat.get("optimizer") or settings.base.optimizer)
    presets = named | dict(entry.defaults) | dict(entry.fixed)
    again = {name: value for name, value in presets.items() if name in named and name in fields}
    given = again | {name: value for name, value in flat.items() if value is not None}
    nested = settings.model_dump()
    for name, value in given.items():
        if name not in fields:
            raise _unknown_setting(name, fields)
        stage = fields[name]
        (nested[stage] if stage else nested)[name] = value
    return validated(LearnSettings, nested)


def unused(method: str, flat: dict[str, Any]) -> list[str]:
    """The names of given settings that a method does not use, or has otherwise.

    Example:
        >>> unused("gplfl", {"meta_steps": 100, "generations": 5, "hidden": None})
        ['meta_steps']
    """
    entry = method_entry(method)
    others = {name for other in REGISTRY.values() for name in other.own_fields} - {*entry.own_fields}
    idle = {*entry.unused, *(others - {*flat_fields(LearnSettings)})}
    return [
        name
        for name, value in flat.items()
        if value is not None and (name in idle or (name in entry.fixed and entry.fixed[name] != value))
    ]


def fitting(method: str, flat: dict[str, Any]) -> dict[str, Any]:
    """Settings for several methods, without those that this one cannot have otherwise; for comparisons.

    Example:
        >>> fitting("gplfl", {"meta_steps": 100, "generations": 5})
        {'generations': 5, 'method': 'gplfl'}
    """
    idle = unused(method, flat)
    return {name: value for name, value in flat.items() if name not in idle} | {"method": method}


def train_settings(preset: str | None = None, **flat: Any) -> TrainSettings:
    """Settings of meta-testing from flat names, like `learn_settings`; without `lrs`, the one rate is `lr`."""
    optimizer = flat.get("optimizer")
    lr = flat.get("lr") or _preset(preset, optimizer).get("lr") or OPTIMIZER_DEFAULTS.get(optimizer or "", {}).get("lr")
    if flat.get("lrs") is None and lr is not None:
        flat = flat | {"lrs": (lr,)}
    return _build(TrainSettings, preset, flat)


def _build(
    kind: type[S],
    preset: str | None,
    flat: dict[str, Any],
    usual: dict[str, Any] | None = None,
    fixed: dict[str, Any] | None = None,
    entry: MethodEntry | None = None,
) -> S:
    fields = flat_fields(kind) | ({} if entry is None else entry.own_fields)
    given = {name: value for name, value in flat.items() if value is not None}
    for name in given:
        if name not in fields:
            raise _unknown_setting(name, fields)
    # A preset serves learning and meta-testing at once: each takes what it knows.
    named = _preset(preset, flat.get("optimizer")) | (IN_FULL.get(preset or "", {}) if kind is TrainSettings else {})
    presets = {k: v for k, v in named.items() if k in fields}
    chosen = presets | (usual or {}) | given | (fixed or {})
    nested: dict[str, Any] = {}
    for name, value in chosen.items():
        stage = fields[name]
        (nested.setdefault(stage, {}) if stage else nested)[name] = value
    if entry is not None and entry.own is not None:
        nested["own"] = validated(entry.own, nested.get("own", {})).model_dump()
    return validated(kind, nested)


def _preset(preset: str | None, optimizer: str | None) -> dict[str, Any]:
    """The values of a preset; what it says of an optimiser does not hold for another one."""
    if preset is not None and preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    values = PRESETS.get(preset or "", {})
    if optimizer in (None, values.get("optimizer", "sgd")):
        return values
    return {name: value for name, value in values.items() if name not in ("lr", "weight_decay", *SPECIFIC)}


def _unknown_setting(name: str, fields: Iterable[str]) -> UnknownNameError:
    """The error for a name that no setting has: the setting that is meant, by the sense or the letters of its name."""
    if name in OF_TASK:
        return UnknownNameError(f"unknown setting '{name}'; it belongs to the task: evomal.Task(…, {OF_TASK[name]}=…)")
    names = sorted(fields)
    meant = [known for known in MEANT.get(name.lower(), ()) if known in names]
    near = meant or get_close_matches(name, names, n=1, cutoff=0.75)
    hint = f"did you mean {' or '.join(map(repr, near))}? (known: {', '.join(names)})" if near else ""
    return UnknownNameError(f"unknown setting '{name}'; {hint or 'known: ' + ', '.join(names)}")


def validated(kind: type[S], values: dict[str, Any]) -> S:
    """`values` as settings of `kind`, or a one-sentence `SettingError` naming the setting."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        # In a list the last part of the place is a number; the setting is the last name.
        where = next((part for part in reversed(first["loc"]) if isinstance(part, str)), kind.__name__)
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error" and isinstance(first["input"], str):
            known = re.findall("'(.*?)'", first["ctx"]["expected"])
            raise unknown_name(where.replace("_", " "), first["input"], known) from None
        if first["type"] == "value_error":  # our own sentence, which names its settings
            raise SettingError(message) from None
        raise SettingError(f"setting '{where}': {message[0].lower()}{message[1:]} (got {first['input']!r})") from None
