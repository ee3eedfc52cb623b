"""Settings from flat names: presets, methods and explicit values, in that order."""

import re
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from evomal.config.base_settings import OPTIMIZERS, BaseSettings, not_had
from evomal.config.fields import Meaning, Settings, fields_of, flat_fields, given, meanings, with_given
from evomal.config.fields import flat as by_name
from evomal.config.methods import REGISTRY, MethodEntry, method_entry
from evomal.config.presets import IN_FULL, PRESETS, SOURCES
from evomal.config.settings import LearnSettings, TrainSettings
from evomal.foundation.errors import SettingError, UnknownNameError, nearest, unknown_name

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

OF_USERS = {
    "optimizer": ("an optimiser", "(parameters, lr)", "adam"),
    "schedule": ("a schedule", "(optimizer, steps)", "cosine"),
}
"""Settings that name what a task may bring instead: what that is, what the function that makes it takes, a name."""
PLAIN = (str, bool, int, float, list, tuple, dict)
"""What a setting may be written as; anything else is an object of the user's."""

S = TypeVar("S", bound=Settings)


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
    return _searched(preset, flat)


def compared_settings(preset: str | None = None, **flat: Any) -> LearnSettings:
    """Settings of one search of several, from those for all of them and for full trainings.

    Raises:
        SettingError: As for `learn_settings`, but for what full trainings take: they refuse it themselves.

    Example:
        >>> compared_settings("quick", gamma=0.5).base.schedule
        'constant'
    """
    return _searched(preset, flat, flat_fields(TrainSettings))


def _searched(preset: str | None, flat: dict[str, Any], elsewhere: Collection[str] = ()) -> LearnSettings:
    method = flat.get("method") or "evomal"
    entry = method_entry(method)
    for name in unused(method, flat):
        has = f"has {entry.fixed[name]}, not {flat[name]!r}" if name in entry.fixed else "does not use it"
        raise SettingError(f"setting '{name}': method {method} {has}; leave it out")
    return _build(LearnSettings, preset, flat, entry, elsewhere)


def _require_effect(settings: Settings, names: Iterable[str]) -> None:
    """Refuse settings that have nothing to do, so that nobody believes that they had an effect."""
    said, values = meanings(type(settings)), by_name(settings)
    for name in names:
        switch, has = said[name].only or ("", ()) if name in said else ("", ())
        if switch and values[switch] not in has:
            raise SettingError(_lacking(name, switch, values[switch], has))
        if name == "object_store" and values["address"] is not None:
            raise SettingError(
                f"setting '{name}': it has no effect on a cluster that runs already, at `address`; leave it out"
            )


def _lacking(name: str, switch: str, value: Any, has: tuple[Any, ...]) -> str:
    """What is wrong with a setting without the one that it goes with."""
    if switch == "optimizer":
        return not_had(name, value)
    if has == (True,):
        return f"setting '{name}': it has no effect without {switch}; add {switch}, or leave it out"
    return f"setting '{name}': it has no effect with {switch} {value!r}; give `{switch}={has[0]!r}`, or leave it out"


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
    anew = {name: value for name, value in flat.items() if value is not None}
    nested = settings.model_dump()
    every = fields_of(LearnSettings)
    left = {name for name, meaning in meanings(LearnSettings).items() if _is_left(meaning, anew)} - anew.keys()
    for name, value in (again | anew | {name: every[name][1].default for name in left}).items():
        if name not in fields:
            raise _unknown_setting(name, fields)
        stage = fields[name]
        (nested[stage] if stage else nested)[name] = value
    found = with_given(validated(LearnSettings, nested), (given(settings) - again.keys()) | anew.keys())
    _require_effect(found, anew)
    return found


def _is_left(meaning: Meaning, anew: dict[str, Any]) -> bool:
    """Whether a setting lost what it goes with, as an address does where a search leaves its cluster."""
    switch, has = meaning.only or ("", ())
    return meaning.changes == "freely" and switch in anew and anew[switch] not in has


def unused(method: str, flat: dict[str, Any]) -> list[str]:
    """The names of given settings that a method does not use, or has otherwise.

    Example:
        >>> unused("gplfl", {"meta_steps": 100, "generations": 5, "hidden": None})
        ['meta_steps']
    """
    entry, said = method_entry(method), meanings(LearnSettings)
    others = {name for other in REGISTRY.values() for name in other.own_fields} - {*entry.own_fields, *said}
    return [
        name
        for name, value in flat.items()
        if value is not None
        and (
            name in others
            or (name in said and not entry.uses(name, said[name]))
            or (name in entry.fixed and entry.fixed[name] != value)
        )
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
    known = OPTIMIZERS[optimizer] if isinstance(optimizer, str) and optimizer in OPTIMIZERS else {}
    lr = flat.get("lr") or _preset(preset, optimizer).get("lr") or known.get("lr")
    if flat.get("lrs") is None and lr is not None:
        flat = flat | {"lrs": (lr,)}
    return _build(TrainSettings, preset, flat)


def _build(
    kind: type[S],
    preset: str | None,
    flat: dict[str, Any],
    entry: MethodEntry | None = None,
    elsewhere: Collection[str] = (),
) -> S:
    """Settings from a preset, a method's defaults, what was given, and what the method always has, in that order.

    What has no effect is refused, unless it is among those that have one `elsewhere`.
    """
    entry = entry or MethodEntry("")
    fields = flat_fields(kind) | entry.own_fields
    anew = {name: value for name, value in flat.items() if value is not None}
    for name in anew:
        if name not in fields:
            raise _unknown_setting(name, fields)
    # A preset serves learning and meta-testing at once: each takes what it knows.
    named = _preset(preset, flat.get("optimizer")) | (IN_FULL.get(preset or "", {}) if kind is TrainSettings else {})
    presets = {k: v for k, v in named.items() if k in fields}
    nested: dict[str, Any] = {}
    for name, value in (presets | dict(entry.defaults) | anew | dict(entry.fixed)).items():
        stage = fields[name]
        (nested.setdefault(stage, {}) if stage else nested)[name] = value
    if entry.own is not None:
        nested["own"] = validated(entry.own, nested.get("own", {})).model_dump()
    settings = with_given(validated(kind, nested), anew)
    _require_effect(settings, [name for name in anew if name not in elsewhere])
    return settings


def _preset(preset: str | None, optimizer: str | None) -> dict[str, Any]:
    """The values of a preset; what it says of an optimiser does not hold for another one."""
    if preset is not None and preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    values = PRESETS.get(preset or "", {})
    if optimizer in (None, values.get("optimizer", "sgd")):
        return values
    of_optimizers = {
        name for name, meaning in meanings(BaseSettings).items() if (meaning.only or "?")[0] == "optimizer"
    }
    return {name: value for name, value in values.items() if name != "lr" and name not in of_optimizers}


def _unknown_setting(name: str, fields: Iterable[str]) -> UnknownNameError:
    """The error for a name that no setting has: the setting that is meant, by the sense or the letters of its name."""
    if name in OF_TASK:
        return UnknownNameError(f"unknown setting '{name}'; it belongs to the task: evomal.Task(…, {OF_TASK[name]}=…)")
    names = sorted(fields)
    meant = [known for known in MEANT.get(name.lower(), ()) if known in names]
    near = nearest(name, names, cutoff=0.75)
    likely = meant or ([] if near is None else [near])
    hint = f"did you mean {' or '.join(map(repr, likely))}? (known: {', '.join(names)})" if likely else ""
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
        if first["type"] in ("literal_error", "unknown_name") and isinstance(first["input"], str):
            listed = first["ctx"]
            known = listed["names"].split(", ") if "names" in listed else re.findall("'(.*?)'", listed["expected"])
            raise unknown_name(where.replace("_", " "), first["input"], known) from None
        if where in OF_USERS and not isinstance(first["input"], PLAIN):
            raise SettingError(_belongs_to_the_task(where, first["input"])) from None
        if first["type"] == "tuple_type" and isinstance(one := first["input"], int | float):
            like = f"({one!r}, …)" if where == "betas" else f"({one!r},)"
            raise SettingError(f"setting '{where}': give its values in brackets, {where}={like}, not {one!r}") from None
        if first["type"] == "value_error":  # our own sentence, which names its settings
            raise SettingError(message) from None
        raise SettingError(f"setting '{where}': {message[0].lower()}{message[1:]} (got {first['input']!r})") from None


def _belongs_to_the_task(setting: str, given: object) -> str:
    """What is wrong with an optimiser or a schedule of the user's own among the settings, which hold names alone."""
    kind, arguments, example = OF_USERS[setting]
    called = str(getattr(given, "__name__", type(given).__name__)).replace("<lambda>", "a function")
    if setting == "optimizer":
        example = nearest(called, OPTIMIZERS, cutoff=1) or example
    return (
        f"setting '{setting}': it takes a name such as '{example}', not {called}; {kind} of your own "
        f"belongs to the task: evomal.Task(…, {setting}=…), a function of {arguments} that makes it"
    )


def preset_values(preset: str) -> dict[str, Any]:
    """Every sourced setting of a preset with its value, those of full trainings included.

    Example:
        >>> preset_values("paper-mnist")["elitism_rate"]
        0.05
    """
    learning, full = (settings.model_dump() for settings in (learn_settings(preset), train_settings(preset)))
    fields, values = flat_fields(LearnSettings), {}
    for name in SOURCES:
        if name in IN_FULL.get(preset, {}) or name == "steps":
            values[name] = full["base"].get(name, full.get(name))
        elif name in fields and name not in ("schedule", "milestones", "gamma"):
            stage = learning[fields[name]] if fields[name] else learning
            values[name] = stage[name]
    return values
