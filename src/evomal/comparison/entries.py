"""What is compared: handcrafted losses, finished losses from files, and methods that search for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evomal.config import LearnSettings, fitting, learn_settings, method_entry, unused
from evomal.foundation.errors import SettingError, unknown_name
from evomal.losses import HANDCRAFTED
from evomal.losses.published import PUBLISHED
from evomal.search import METHODS, load_method

FITNESS_LRS = (0.25, 1.0, 4.0)
VARIANTS = ("scale-control", "fitness-lrs")


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender, before anything is done.

    Args:
        name: As it was given, and as it stands in tables.
        kind: A loss that people wrote (by name, or the task's own), a method, or a loss from a file.
        settings: Of a method's search, but for the seed.
        remarks: Settings that were given and that the method cannot have or does not use, one sentence each.
    """

    name: str
    kind: Literal["handcrafted", "learned", "file"]
    settings: LearnSettings | None = None
    remarks: tuple[str, ...] = ()

    def seeded(self, seed: int) -> LearnSettings:
        """The settings of the search with a seed; it runs on one worker, as several searches run at a time."""
        assert self.settings is not None
        return self.settings.model_copy(update={"seed": seed, "workers": 1})

    @property
    def evaluations(self) -> int:
        """The most partial trainings that a search takes; 0 without one."""
        return 0 if self.settings is None else self.settings.evaluations * len(self.settings.fitness_lrs)


def read_entry(name: str, preset: str | None, flat: dict[str, Any], task_loss: str | None = None) -> Entry:
    """The contender that a name stands for.

    Args:
        name: A handcrafted loss; a method, with ``+scale-control`` or ``+fitness-lrs`` after it for a variant; or a
            loss file or run folder.
        preset: Named settings of searches.
        flat: Single settings of searches, by their flat names; those that a method cannot have or does not use are
            left out, and its remarks say so.
        task_loss: What the task calls its own loss, which may be a function of the user.

    Returns:
        The contender.

    Raises:
        UnknownNameError: Nothing is called that.
        SettingError: A setting is out of range.

    Example:
        >>> read_entry("evomal+scale-control", "quick", {}).settings.scale_control
        True
        >>> read_entry("gplfl", "quick", {"meta_steps": 3, "hidden": 20}).remarks
        ("setting 'meta_steps': gplfl always has 0, so 3 does not hold for it", 'gplfl does not use hidden')
    """
    if not name:
        raise SettingError("a name among the methods is empty; `evomal list` names methods and losses")
    if name in HANDCRAFTED or name == task_loss:
        return Entry(name, "handcrafted")
    method, *variants = name.split("+")
    if _is_code(method):
        method = load_method(method).name
        name = "+".join([method, *variants])
    if method in METHODS:
        own = {setting: value for variant in variants for setting, value in _variant(variant, flat).items()}
        settings = learn_settings(preset, **fitting(method, flat) | own)
        return Entry(name, "learned", settings, tuple(_remarks(name, method, own, flat)))
    path = Path(name)
    if name in PUBLISHED or path.exists() or path.suffix == ".json" or len(path.parts) > 1:
        return Entry(name, "file")
    if method in HANDCRAFTED:
        raise SettingError(f"'{name}': loss '{method}' is not searched for and has no variants; write '{method}'")
    raise unknown_name("method or loss", method, [*METHODS, *HANDCRAFTED, *PUBLISHED])


def _is_code(method: str) -> bool:
    """Whether it is written as a class of the user's own, such as ``my_module.py:Mine``."""
    source, colon, name = method.rpartition(":")
    return bool(colon) and name.isidentifier() and (source.endswith(".py") or source.replace(".", "").isidentifier())


def _variant(name: str, flat: dict[str, Any]) -> dict[str, Any]:
    if name == "scale-control":
        return {"scale_control": True}
    if name == "fitness-lrs":
        return {"fitness_lrs": flat.get("fitness_lrs") or FITNESS_LRS}
    raise unknown_name("variant", name, VARIANTS)


def _remarks(name: str, method: str, own: dict[str, Any], flat: dict[str, Any]) -> list[str]:
    """What was given and does not hold, in words; `own` are the settings of the variant."""
    has = dict(method_entry(method).fixed) | own
    idle = unused(method, flat)
    remarks = [
        f"setting '{setting}': {name} always has {has[setting]}, so {given} does not hold for it"
        for setting, given in flat.items()
        if given is not None and (has[setting] != given if setting in own else setting in idle and setting in has)
    ]
    without = [setting for setting in idle if setting not in has]
    return [*remarks, f"{name} does not use {', '.join(without)}"] if without else remarks


def read_entries(
    names: Sequence[str], baseline: str, preset: str | None, flat: dict[str, Any], task_loss: str | None = None
) -> tuple[Entry, ...]:
    """All contenders, the baseline first if it was not named.

    Raises:
        SettingError: One is there twice, perhaps under two names, or cannot be read.
    """
    given = ([] if baseline in names else [baseline]) + list(names)
    for name in given:
        if given.count(name) > 1:
            raise SettingError(f"'{name}' is there twice among the methods; give each once")
    entries = tuple(read_entry(name, preset, flat, task_loss) for name in given)
    seen: dict[Any, str] = {}
    for entry in entries:
        other = seen.setdefault(_substance(entry), entry.name)
        if other != entry.name:
            raise SettingError(f"'{other}' and '{entry.name}' are the same; leave one of them out")
    return entries


def _substance(entry: Entry) -> Any:
    """What makes two contenders the same, whatever their names."""
    if entry.kind == "file":
        path = Path(entry.name).resolve()
        return path / "loss.json" if path.is_dir() else path
    return entry.settings or entry.name
