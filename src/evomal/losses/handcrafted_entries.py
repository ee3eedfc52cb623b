"""Rows of the table of handcrafted losses, and how a name such as ``focal(gamma=3)`` finds one and sets it."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from evomal.foundation.errors import SettingError, unknown_name
from evomal.losses.preparing import TaskType

_TEXT = re.compile(r"(?P<name>[a-z0-9_]+)\((?P<given>[^()]*)\)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Parameter(NamedTuple):
    """A hyper-parameter of a handcrafted loss.

    Args:
        default: Its paper's value, or the usual one.
        least: The least value that makes sense.
        most: The greatest.
        others: Values that are worth a try beside the default.
        whole: Whether it is a whole number.
    """

    default: float
    least: float
    most: float
    others: tuple[float, ...] = ()
    whole: bool = False


class HandcraftedEntry(NamedTuple):
    """A row of the table of handcrafted losses.

    Args:
        task_type: What it is for: classification, regression or several labels.
        per_instance: Of outputs and targets, and of class counts where they are needed.
        summary: What it is, in a line.
        suits: The trouble that it was made for.
        parameters: Its hyper-parameters by name.
        needs_class_counts: Whether it depends on how often each class occurs.
        per_output: Regression: the value of each output; `per_instance` is its mean.
    """

    task_type: TaskType
    per_instance: Callable[..., Tensor]
    summary: str
    suits: str
    parameters: Mapping[str, Parameter] = MappingProxyType({})
    needs_class_counts: bool = False
    per_output: Callable[..., Tensor] | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """The default of each parameter, and what finals try beside it.

        Example:
            >>> from evomal.losses import HANDCRAFTED
            >>> HANDCRAFTED["focal"].values
            ('gamma=2 or 0.5, 1, 3, 5',)
        """
        return tuple(
            f"{name}={each.default:g}"
            + (f" or {', '.join(f'{value:g}' for value in each.others)}" if each.others else "")
            for name, each in self.parameters.items()
        )

    def bound(self, given: Mapping[str, float]) -> "HandcraftedEntry":
        """The same row with its parameters set."""
        chosen = {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}
        per_output = self.per_output and partial(self.per_output, **chosen)
        return self._replace(per_instance=partial(self.per_instance, **chosen), per_output=per_output)


class HandcraftedTable(Mapping[str, HandcraftedEntry]):
    """Handcrafted losses by name; a name may give parameters, as ``focal(gamma=3)``. It iterates over plain names.

    Example:
        >>> from evomal.losses import HANDCRAFTED
        >>> HANDCRAFTED["focal"].task_type, "focal(gamma=3)" in HANDCRAFTED, "abs(f)" in HANDCRAFTED
        ('classification', True, False)
    """

    def __init__(self, rows: Mapping[str, HandcraftedEntry]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, text: str) -> HandcraftedEntry:
        """The row of a name, its parameters set.

        Raises:
            KeyError: There is no such loss.
            SettingError: It has no such parameter, or a value is out of range.
        """
        if isinstance(text, str) and text.partition("(")[0].strip() not in self._rows:
            raise KeyError(text)  # perhaps a formula, such as abs(f)
        name, given = split_name(text)
        entry = self._rows[name]
        for parameter, value in given.items():
            _require(name, entry.parameters, parameter, value)
        return entry.bound(given)

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._rows)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    def variants(self, name: str) -> tuple[str, ...]:
        """A loss at its defaults, then with each parameter in turn at its other values.

        Example:
            >>> from evomal.losses import HANDCRAFTED
            >>> HANDCRAFTED.variants("focal")
            ('focal', 'focal(gamma=0.5)', 'focal(gamma=1)', 'focal(gamma=3)', 'focal(gamma=5)')
        """
        parameters = self._rows[name].parameters.items()
        return name, *(f"{name}({key}={value:g})" for key, parameter in parameters for value in parameter.others)


def split_name(text: str) -> tuple[str, dict[str, float]]:
    """What a name such as ``focal(gamma=3)`` consists of.

    Raises:
        SettingError: The parameters cannot be read.

    Example:
        >>> split_name("focal(gamma=3)"), split_name("focal")
        (('focal', {'gamma': 3.0}), ('focal', {}))
    """
    found = _TEXT.fullmatch(text.replace(" ", "")) if isinstance(text, str) and "(" in text else None
    if found is None:
        return text, {}
    given: dict[str, float] = {}
    for part in filter(None, found["given"].split(",")):
        key, sign, number = part.partition("=")
        if not sign or not _NUMBER.fullmatch(number) or key in given:
            raise SettingError(f"loss '{text}': '{part}' is no parameter; write such as focal(gamma=3)")
        given[key] = float(number)
    return found["name"], given


def _require(name: str, parameters: Mapping[str, Parameter], key: str, value: float) -> None:
    if key not in parameters:
        if not parameters:
            raise SettingError(f"loss '{name}' has no parameters, so no '{key}'; write {name}")
        raise unknown_name(f"parameter of loss '{name}'", key, parameters)
    least, most = parameters[key].least, parameters[key].most
    if not least <= value <= most:
        raise SettingError(f"loss '{name}': {key} {value:g} is out of range; give {least:g} to {most:g}")
    if parameters[key].whole and value != int(value):
        raise SettingError(f"loss '{name}': {key} {value:g} is no whole number; give such as {int(value)}")
