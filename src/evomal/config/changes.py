"""What of its settings may change in a search or a call that goes on: said by the settings themselves, asked by all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evomal.config.fields import Meaning, Settings, flat, meanings


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not as it was.

    Args:
        name: Its flat name.
        before: Its value then.
        now: Its value now.
        allowed: Whether what is finished remains valid.

    Example:
        >>> str(Change("seed", 0, 1, False))
        'seed was 0, now 1'
    """

    name: str
    before: Any
    now: Any
    allowed: bool

    def __str__(self) -> str:
        """Both values in words."""
        return f"{self.name} was {self.before!r}, now {self.now!r}"


def changes(before: Settings, now: Settings, besides: Mapping[str, Any] | None = None) -> list[Change]:
    """Where settings differ from those that something was begun with.

    Args:
        before: The settings of then.
        now: Those to go on with, of the same class.
        besides: Values of then, by flat name, that count in the place of those in `before`.

    Example:
        >>> from evomal.config import learn_settings
        >>> found = changes(learn_settings(generations=3), learn_settings(generations=4, lr=0.5))
        >>> [(change.name, change.allowed) for change in found]
        [('lr', False), ('generations', True)]
    """
    said = meanings(type(before))
    settled: frozenset[str] = getattr(before, "settled", frozenset())
    old, new = flat(before) | dict(besides or {}), flat(now)
    return [
        Change(name, value, new.get(name), name not in settled and holds(said.get(name), value, new.get(name)))
        for name, value in old.items()
        if value != new.get(name)
    ]


def holds(meaning: Meaning | None, before: Any, now: Any) -> bool:
    """Whether what was finished with one value of a setting remains valid with another one."""
    if meaning is None or meaning.changes == "never":
        return False
    return meaning.changes == "freely" or set(before) <= set(now)


def idle(kind: type[Settings]) -> frozenset[str]:
    """The settings that no result depends on.

    Example:
        >>> from evomal.config import LearnSettings
        >>> sorted(idle(LearnSettings))
        ['address', 'executor', 'object_store', 'workers']
    """
    return frozenset(name for name, meaning in meanings(kind).items() if not meaning.results)
