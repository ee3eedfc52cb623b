"""The registry of methods: what each takes, has, and does not use. A method of one's own brings its entry itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evomal.config.presets import FIXED, METHOD_DEFAULTS, UNUSED
from evomal.config.stages import Settings
from evomal.foundation.errors import unknown_name


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """What settings need to know of a method.

    Args:
        name: What ``method`` calls it.
        fixed: Settings that make it what it is, by flat name: presets give way to them, and others are refused.
        defaults: Settings that it takes unless told otherwise.
        unused: Settings that have no effect on it: giving one is refused.
        own: The class of settings that it alone has; None without any.
    """

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    own: type[Settings] | None = None

    @property
    def own_fields(self) -> dict[str, str]:
        """Flat names of its own settings, with the stage that they stand in."""
        return {} if self.own is None else dict.fromkeys(self.own.model_fields, "own")


REGISTRY: dict[str, MethodEntry] = {
    name: MethodEntry(name, FIXED.get(name, {}), METHOD_DEFAULTS.get(name, {}), unused)
    for name, unused in UNUSED.items()
}
"""Every method by name."""


def register(entry: MethodEntry) -> None:
    """Take in a method of one's own, or an entry that takes the place of its older one."""
    REGISTRY[entry.name] = entry


def method_entry(name: str) -> MethodEntry:
    """The entry of a method.

    Raises:
        UnknownNameError: There is no such method.

    Example:
        >>> method_entry("gplfl").fixed
        {'meta_steps': 0}
    """
    if name not in REGISTRY:
        raise unknown_name("method", name, REGISTRY)
    return REGISTRY[name]
