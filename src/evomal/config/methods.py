"""The registry of methods: what each is made of, has, and does not use. One of a user's own brings its entry itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from evomal.config.fields import Meaning, Part, Settings
from evomal.foundation.errors import unknown_name

PARTS: frozenset[Part] = frozenset(get_args(Part))


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """What settings need to know of a method.

    Args:
        name: What ``method`` calls it.
        parts: What it is made of; it uses the settings of these parts, and those of none.
        fixed: Settings that make it what it is, by flat name: presets give way to them, and others are refused.
        defaults: Settings that it takes unless told otherwise.
        unused: Further settings that have no effect on it: giving one is refused.
        instead: Settings that it has one of its own in the place of, with that one's name.
        phases: The settings that say how many generations it has, one phase after the other; none: a single one.
        least_population: Members that a generation must have at least.
        warm: Whether its first generation is of formulas, and may hold known ones.
        own: The class of settings that it alone has; None without any.
    """

    name: str
    parts: frozenset[Part] = PARTS
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    phases: tuple[str, ...] = ("generations",)
    least_population: int = 2
    warm: bool = False
    own: type[Settings] | None = None

    @property
    def own_fields(self) -> dict[str, str]:
        """Flat names of its own settings, with the stage that they stand in."""
        return {} if self.own is None else dict.fromkeys(self.own.model_fields, "own")

    def uses(self, name: str, meaning: Meaning) -> bool:
        """Whether a setting has an effect on it, or makes it what it is."""
        if name in self.fixed:
            return True
        return (
            name not in self.unused
            and name not in self.instead
            and (meaning.part is None or meaning.part in self.parts)
        )


_GENETIC: frozenset[Part] = frozenset({"population", "formulas", "rejection"})
_ALONE = {"meta_steps": 0}
LEAST_FOR_CMA = 3  # members of a generation, from which CMA-ES can learn

REGISTRY: dict[str, MethodEntry] = {
    entry.name: entry
    for entry in (
        MethodEntry("evomal", _GENETIC | {"gradients"}, warm=True),
        MethodEntry("gplfl", _GENETIC, fixed=_ALONE, warm=True),
        MethodEntry(
            "glo",
            _GENETIC | {"cma", "second phase"},
            fixed=_ALONE,
            unused=("asynchronous",),  # one phase follows the other
            defaults={"sigma": 0.3},  # its coefficients start from 1, not from 0 as TaylorGLO's do
            phases=("generations", "cma_generations"),
            least_population=LEAST_FOR_CMA,
            warm=True,
        ),
        MethodEntry(
            "taylorglo",
            frozenset({"population", "cma", "rejection"}),
            fixed=_ALONE | {"output_activation": "identity"},
            least_population=LEAST_FOR_CMA,
        ),
        MethodEntry(
            "ml3",
            frozenset({"network", "gradients"}),
            # The one loss that it trains is its result, whatever a filter would say.
            fixed={"rejection": False, "gradient_equivalence": False, "output_activation": "identity"},
            instead={"meta_steps": "neural_steps"},
            phases=(),
        ),
    )
}
"""Every method by name."""


def choosers(name: str, meaning: Meaning) -> list[str]:
    """The methods for which a setting can be chosen: they use it, and do not always have one value of it.

    Example:
        >>> choosers("meta_steps", Meaning(part="gradients"))
        ['evomal']
    """
    return [method for method, entry in REGISTRY.items() if name not in entry.fixed and entry.uses(name, meaning)]


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
