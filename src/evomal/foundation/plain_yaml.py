"""YAML as plain data: what JSON could hold as well. Apart from JSON, as a saved loss needs no PyYAML to be loaded."""

from pathlib import Path
from typing import Any

import yaml

from evomal.foundation.errors import RunFolderError
from evomal.foundation.plain_json import MAX_NESTING, MAX_NUMBER, TOO_DEEP, NotPlainError, check_limits

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
