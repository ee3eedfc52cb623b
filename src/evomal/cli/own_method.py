"""A method of the user's own on the command line: its class by file and name, and the settings that it alone has."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from evomal.foundation.errors import SettingError


def with_own_method(settings: Mapping[str, Any], own: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """Settings in which a class such as ``my_module.py:Mine`` has become the name of its method; this runs that file.

    Args:
        settings: As they were given, by flat name.
        own: Settings that the method alone has, each as ``name=value``.

    Returns:
        The settings, and where the method is from; None for a method by name.

    Raises:
        SettingError: There is no such class, or a setting is not written so.

    Example:
        >>> with_own_method({"method": "glo"}, ["depth=3"])
        ({'method': 'glo', 'depth': 3}, None)
    """
    read: dict[str, Any] = {}
    for text in own:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SettingError(f"--own {text} is no setting; write it as --own NAME=VALUE")
        read[name] = _value(value)
    spec = settings.get("method")
    if spec is None or ":" not in spec:
        return {**settings, **read}, None
    from evomal.search import load_method

    return {**settings, **read, "method": load_method(spec).name}, spec


def _value(text: str) -> Any:
    """A number, true, false, null or a list as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
