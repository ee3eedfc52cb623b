"""JSON and YAML from files that anybody may have written, as plain data within limits; nothing in them is ever run."""

import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml

from evomal.foundation.errors import RunFolderError

MAX_NESTING = 20
MAX_TEXT = 100_000
"""Characters of a text or a name, as many as of a formula."""
MAX_NUMBER = 320
"""Characters of a number; a longer whole one is beyond what a float holds."""
MAX_FLOAT = sys.float_info.max

INVALID = "it is not complete, valid JSON"
TOO_DEEP = f"its entries nest more than {MAX_NESTING} deep"


class NotPlainError(ValueError):
    """What is wrong with data, in words such as "it is not complete, valid JSON"."""


def read_json(text: str | bytes) -> Any:
    """JSON as plain values; stricter than `json.loads`, which takes NaN, an entry that is there twice, and any size.

    Args:
        text: The document; bytes are UTF-8.

    Returns:
        Its value, for which `check_limits` has passed.

    Raises:
        NotPlainError: It is no JSON, or past a limit.

    Example:
        >>> read_json('{"weights": [1, 0.5]}')
        {'weights': [1, 0.5]}
        >>> read_json('{"weights": [1e400]}')
        Traceback (most recent call last):
        evomal.foundation.plain_data.NotPlainError: it has a number that no float holds, or of more than 320 characters
    """
    value = parsed_json(text)
    check_limits(value)
    return value


def parsed_json(text: str | bytes) -> Any:
    """The same before `check_limits`; a number that is too large or too long is infinite.

    Raises:
        NotPlainError: It is no JSON, or nests too deep to be read at all.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
            parse_int=lambda number: int(number) if len(number) <= MAX_NUMBER else math.inf,
            parse_float=lambda number: float(number) if len(number) <= MAX_NUMBER else math.inf,
        )
    except RecursionError:
        raise NotPlainError(TOO_DEEP) from None
    except ValueError:
        raise NotPlainError(INVALID) from None


def check_limits(value: Any) -> None:
    """Make sure that plain values nest no deeper, and hold no longer text or greater numbers, than files may.

    Raises:
        NotPlainError: They do.

    Example:
        >>> check_limits({"seed": 10**400})
        Traceback (most recent call last):
        evomal.foundation.plain_data.NotPlainError: it has a number that no float holds, or of more than 320 characters
    """
    # Level by level, not by recursion: JSON is read up to a depth at which recursion would fail.
    level: list[Any] = [value]
    for _ in range(MAX_NESTING + 1):
        for each in level:
            _check(each)
        lists = [each for each in level if isinstance(each, list)]
        objects = [each for each in level if isinstance(each, dict)]
        if not lists and not objects:
            return
        level = [inner for each in lists for inner in each]
        level += [inner for each in objects for pair in each.items() for inner in pair]
    raise NotPlainError(TOO_DEEP)


def _check(value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise NotPlainError(f"it has a text of more than {MAX_TEXT:,} characters")
    if isinstance(value, int | float) and not abs(value) <= MAX_FLOAT:
        raise NotPlainError(f"it has a number that no float holds, or of more than {MAX_NUMBER} characters")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an entry is there twice")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


MAX_BYTES = 300_000  # settings take a few thousand

_LINE_ENDS = "\x85\u2028\u2029"
"""Line breaks of YAML 1.1 that PyYAML writes into a quoted text as they are, and reads back as spaces."""

_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "null", "bool", "int", "float")}


def read_yaml(
    path: Path, max_bytes: int = MAX_BYTES, remedy: str = "give a folder as evomal wrote it"
) -> dict[str, Any]:
    r"""The entries of a YAML file that somebody else may have written; nothing in it is ever run.

    Only what JSON has: objects with text as names, lists, text, finite numbers, true, false and null. No tags, anchors,
    aliases, merge keys, dates, sets or binary data.

    Args:
        path: The file, in UTF-8.
        max_bytes: No longer file is read.
        remedy: How an error says what to do.

    Returns:
        The entries at its top.

    Raises:
        RunFolderError: The file cannot be read, is too large, or holds anything else.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "config.yaml"
        ...     _ = path.write_text("seed: 3\nlrs: [0.1, 1.0e-3]\n")
        ...     read_yaml(path)
        {'seed': 3, 'lrs': [0.1, 0.001]}
    """
    try:
        with path.open("rb") as stream:  # a device may never end, so no more than enough is read
            data = stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(f"'{path}' cannot be read ({reason}); {remedy}") from None
    try:
        if len(data) > max_bytes:
            raise NotPlainError(f"it has more than {max_bytes:,} bytes")
        return _entries(data.decode("utf-8"))
    except NotPlainError as error:
        what = str(error)
    except (ValueError, OverflowError, yaml.YAMLError):  # the second of an escape beyond Unicode
        what = "it is not complete, valid YAML"
    raise RunFolderError(f"'{path}' is damaged ({what}); {remedy}")


def yaml_text(entries: dict[str, Any]) -> str:
    """Plain values as the text of a file that `read_yaml` reads back.

    Example:
        >>> shared = [1, 2]  # plain `yaml.safe_dump` would write an anchor and an alias
        >>> print(yaml_text({"one": shared, "other": shared}), end="")
        one:
        - 1
        - 2
        other:
        - 1
        - 2
    """
    text = yaml.dump(entries, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if any(mark in text for mark in _LINE_ENDS):
        text = yaml.dump(entries, Dumper=_Dumper, sort_keys=False, allow_unicode=False)
    return str(text)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """Builds plain values only, and looks at every piece before it is built."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise NotPlainError("it has an anchor or an alias")
        if event.tag is not None:
            raise NotPlainError(f"it has a tag, {event.tag[:60]!r}")
        self.depth += 1
        if self.depth > MAX_NESTING + 1:  # a single value is no nesting
            raise NotPlainError(TOO_DEEP)
        node = super().compose_node(parent, index)
        self.depth -= 1
        assert node is not None
        self._check(node)
        return node

    @staticmethod
    def _check(node: yaml.Node) -> None:
        kind = node.tag.rpartition(":")[2]
        if node.tag not in _PLAIN:
            raise NotPlainError(f"it has a value of kind {kind}, {str(node.value)[:60]!r}")
        if kind in ("int", "float") and len(node.value) > MAX_NUMBER:
            raise NotPlainError(f"it has a number of more than {MAX_NUMBER} characters")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if not key.tag.endswith(":str"):
                raise NotPlainError("it has a name that is no text")
        if len(set(names)) < len(names):
            raise NotPlainError("an entry is there twice")
        return super().construct_mapping(node, deep)


def _entries(text: str) -> dict[str, Any]:
    loader = _Loader(text)
    try:
        entries = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(entries, dict):
        raise NotPlainError("there are no named entries at its top")
    check_limits(entries)
    return entries
