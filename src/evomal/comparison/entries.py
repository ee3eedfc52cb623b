"""What is compared: handcrafted losses, finished losses from files, and methods that search for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evomal.config import LearnSettings, fitting, learn_settings
from evomal.errors import SettingError, unknown_name
from evomal.losses import HANDCRAFTED
from evomal.search import METHODS

FITNESS_LRS = (0.25, 1.0, 4.0)
VARIANTS = ("scale-control", "fitness-lrs")


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender, before anything is done.

    Args:
        name: As it was given, and as it stands in tables.
        kind: A handcrafted loss, a method, or a loss from a file.
        settings: Of a method's search, but for the seed.
    """

    name: str
    kind: Literal["handcrafted", "learned", "file"]
    settings: LearnSettings | None = None

    def seeded(self, seed: int) -> LearnSettings:
        """The settings of the search with a seed; it runs on one worker, as several searches run at a time."""
        assert self.settings is not None
        return self.settings.model_copy(update={"seed": seed, "workers": 1})

    @property
    def folder(self) -> str:
        """A name for folders."""
        return self.name.replace("/", "-")


def read_entry(name: str, preset: str | None, flat: dict[str, Any]) -> Entry:
    """The contender that a name stands for.

    Args:
        name: A handcrafted loss; a method, with ``+scale-control`` or ``+fitness-lrs`` after it for a variant; or a
            loss file or run folder.
        preset: Named settings of searches.
        flat: Single settings of searches, by their flat names; those that a method cannot have are left out.

    Returns:
        The contender.

    Raises:
        UnknownNameError: Nothing is called that.
        SettingError: A setting is out of range.

    Example:
        >>> read_entry("evomal+scale-control", "quick", {}).settings.scale_control
        True
    """
    if name in HANDCRAFTED:
        return Entry(name, "handcrafted")
    method, *variants = name.split("+")
    if method in METHODS:
        chosen = fitting(method, flat)
        for variant in variants:
            chosen |= _variant(variant, flat)
        return Entry(name, "learned", learn_settings(preset, **chosen))
    if Path(name).exists() or Path(name).suffix == ".json":
        return Entry(name, "file")
    raise unknown_name("method or loss", name, [*METHODS, *HANDCRAFTED])


def _variant(name: str, flat: dict[str, Any]) -> dict[str, Any]:
    if name == "scale-control":
        return {"scale_control": True}
    if name == "fitness-lrs":
        return {"fitness_lrs": flat.get("fitness_lrs") or FITNESS_LRS}
    raise unknown_name("variant", name, VARIANTS)


def read_entries(names: Sequence[str], baseline: str, preset: str | None, flat: dict[str, Any]) -> tuple[Entry, ...]:
    """All contenders, the baseline first if it was not named.

    Raises:
        SettingError: One is there twice, or cannot be read.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise SettingError(f"'{name}' is there twice among the methods; give each once")
    return tuple(read_entry(name, preset, flat) for name in ([] if baseline in names else [baseline]) + list(names))
