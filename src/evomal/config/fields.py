"""What a setting is: a field that says what it means, from which options, refusals, going on and the manual follow."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1e30)]  # float32 ends at 3e38
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]

UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in UNITS))


def seconds_of(text: str) -> float:
    """The seconds that a text means: a number, or numbers with ``d``, ``h``, ``m`` and ``s`` after them, in this order.

    Raises:
        ValueError: It means no time.

    Example:
        >>> seconds_of("90"), seconds_of("45m"), seconds_of("2h30m"), seconds_of("1.5d")
        (90.0, 2700.0, 9000.0, 129600.0)
    """
    written = text.strip()
    parts = _PARTS.fullmatch(written)
    if parts is not None and written:
        return sum(float(part or 0) * unit for part, unit in zip(parts.groups(), UNITS.values(), strict=True))
    seconds = float(written)
    if not math.isfinite(seconds):
        raise ValueError("no finite time")
    return seconds


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return seconds_of(value)
    except ValueError:
        raise ValueError(f"setting 'max_time': {value!r} is no time; write seconds, or such as 45m or 2h30m") from None


Duration = Annotated[float, BeforeValidator(_read), Field(gt=0)]
"""Seconds above zero, which may be given as `seconds_of` reads them."""

Part = Literal["population", "formulas", "cma", "second phase", "network", "gradients", "rejection"]
"""What a method is made of; it uses the settings of the parts that it has, and those of no part."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a setting means, beside its type, its default and its help.

    Args:
        part: The part of a method that uses it; None where every method does.
        only: Another setting, and the values of it with which this one has an effect; None where it always has.
        needs: What there must be for it to have an effect: nothing, a ``task`` to look at, or partial and full
            ``training`` by evomal itself, which is elsewhere where `evomal.Search` is asked and told.
        off: What leaves out that which it is about; a search that has no use for it takes this.
        results: Whether what is found depends on it.
        changes: Whether it may change in a run that goes on, what is finished remaining valid: ``never``; by ``more``
            values beside the old ones; or ``freely``, as whatever no result depends on.
        none: What None stands for.
        names: All values that it takes, where a registry knows them.
    """

    part: Part | None = None
    only: tuple[str, tuple[Any, ...]] | None = None
    needs: Literal["nothing", "task", "training"] = "task"
    off: Any = None
    results: bool = True
    changes: Literal["never", "more", "freely"] = "never"
    none: str = "no limit"
    names: Callable[[], Collection[str]] | None = None

    @property
    def condition(self) -> str:
        """With what else it has an effect, in words; nothing where it always has.

        Example:
            >>> Meaning(only=("optimizer", ("sgd", "rmsprop"))).condition
            'with optimizer sgd, rmsprop'
        """
        if self.only is None:
            return ""
        switch, values = self.only
        return f"with {switch}" if values == (True,) else f"with {switch} {', '.join(values)}"


def setting(default: Any, text: str, meaning: Meaning | None = None, /, **kinds: Any) -> Any:
    """A field of a `Settings` class: its default, its help, and what it means.

    Args:
        default: The default.
        text: The help, in a few words without a full stop.
        meaning: What it means; None stands for single words of it.
        **kinds: These words, see `Meaning`; further ones are limits that pydantic knows, such as ``min_length``.

    Example:
        >>> class Mine(Settings):
        ...     depth: Count = setting(3, "greatest depth", part="formulas")
        >>> meanings(Mine)["depth"].part, Mine().depth
        ('formulas', 3)
    """
    words = {name: kinds.pop(name) for name in Meaning.__slots__ if name in kinds}
    field: FieldInfo = Field(default, description=text, **kinds)
    field.metadata.append(meaning or Meaning(**words))
    return field


class Settings(BaseModel):
    """Base of all settings: frozen, closed to unknown names, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values; what is changed so was given by nobody, see `given`."""
        return _marked(super().model_copy(update=update, deep=deep), self.model_fields_set)


S = TypeVar("S", bound=Settings)
OWN = "own"
"""The field for the settings that a method of a user alone has."""


def stages_of(kind: type[Settings]) -> dict[str, type[Settings]]:
    """The fields of `kind` that are settings of a stage, with their classes."""
    found = {name: field.annotation for name, field in kind.model_fields.items()}
    return {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, Settings)}


def fields_of(kind: type[Settings]) -> dict[str, tuple[str, FieldInfo]]:
    """Every flat setting name of `kind` with the stage that it belongs to ("" for the top level), and its field."""
    stages = stages_of(kind)
    found = {name: ("", field) for name, field in kind.model_fields.items() if name not in stages and name != OWN}
    for stage, part in stages.items():
        found |= {name: (stage, field) for name, field in part.model_fields.items()}
    return found


def flat_fields(kind: type[Settings]) -> dict[str, str]:
    """Every flat setting name of `kind` with the stage that it belongs to ("" for the top level)."""
    return {name: stage for name, (stage, _) in fields_of(kind).items()}


_PLAIN = Meaning()
_KNOWN: dict[type[Settings], Mapping[str, Meaning]] = {}


def meanings(kind: type[Settings]) -> Mapping[str, Meaning]:
    """What every setting of `kind` means, by its flat name; one that says nothing has no special one."""
    if kind not in _KNOWN:
        found = {name: field.metadata for name, (_, field) in fields_of(kind).items()}
        said = {name: next((m for m in each if isinstance(m, Meaning)), _PLAIN) for name, each in found.items()}
        _KNOWN[kind] = MappingProxyType(said)
    return _KNOWN[kind]


def flat(settings: Settings) -> dict[str, Any]:
    """Settings by their flat names, a method's own among them.

    Example:
        >>> from evomal.config import learn_settings
        >>> flat(learn_settings(lr=0.5))["lr"]
        0.5
    """
    values = {
        name: getattr(getattr(settings, stage) if stage else settings, name)
        for name, stage in flat_fields(type(settings)).items()
    }
    return values | dict(getattr(settings, OWN, ()))


def given(settings: Settings) -> frozenset[str]:
    """Flat names of the settings that somebody gave, as against those from a preset, a method or a default.

    Example:
        >>> from evomal.config import learn_settings
        >>> sorted(given(learn_settings("practice", seed=3, lr=0.1)))
        ['lr', 'seed']
    """
    stages = stages_of(type(settings))
    names = set(settings.model_fields_set) - stages.keys()
    return frozenset(names.union(*(getattr(settings, stage).model_fields_set for stage in stages)))


def with_given(settings: S, names: Iterable[str]) -> S:
    """The same settings, of which those by these flat names count as given by somebody, and no others."""
    wanted, stages = set(names), stages_of(type(settings))
    parts = {stage: _marked(getattr(settings, stage), wanted) for stage in stages}
    return _marked(settings.model_copy(update=parts), wanted | stages.keys())


def _marked(settings: S, names: Collection[str]) -> S:
    marked = BaseModel.model_copy(settings)
    # What pydantic calls the fields that were set; neither values nor comparisons depend on it.
    object.__setattr__(
        marked, "__pydantic_fields_set__", {name for name in type(settings).model_fields if name in names}
    )
    return marked
