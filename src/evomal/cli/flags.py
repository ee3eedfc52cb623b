"""Options in place of settings: the library's errors name what Python takes, the command line what is typed there."""

import re
import shlex
from ast import literal_eval
from collections.abc import Mapping

NAMED = re.compile(r"`([a-z]+(?:_[a-z]+)*)(?:=([^`]*))?`")


def with_flags(message: str, flags: Mapping[str, str]) -> str:
    """A message in which settings in backticks, with their values if there are any, are options.

    Args:
        message: What the library says.
        flags: The option of each setting.

    Returns:
        The message; names without an option stay as they are.

    Example:
        >>> flags = {"force": "--force", "out": "--out", "seeds": "--seeds"}
        >>> with_flags("give another `out`, or `force=True`; see `ray start`", flags)
        'give another --out, or --force; see `ray start`'
        >>> with_flags("give `seeds=[0, 1]`, or `out='my runs'`", flags)
        "give --seeds 0 1, or --out 'my runs'"
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in flags:
            return found[0]
        try:
            return " ".join([flags[name], *_typed(value)])
        except (SyntaxError, ValueError):  # no value as Python writes it: somebody else's backticks
            return found[0]

    return NAMED.sub(option, message)


def _typed(value: str | None) -> list[str]:
    """A value as it is typed behind an option; a switch has none."""
    plain = True if value is None else literal_eval(value)
    return [] if plain is True else [shlex.quote(str(each)) for each in (plain if isinstance(plain, list) else [plain])]
