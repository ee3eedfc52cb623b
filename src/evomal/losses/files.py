"""Loss files: one JSON object, read as data and never run. What its entries mean, each family of losses knows."""

import json
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from evomal.atomic import write_atomically
from evomal.errors import LossFileError

FORMAT = "evomal-loss"
VERSION = 1
MAX_BYTES = 4_000_000  # a neural loss of the greatest width has 66,000 weights
MAX_NESTING = 20


def write_document(entries: dict[str, Any], info: dict[str, Any], path: str | PathLike[str]) -> None:
    """Write a loss file that is complete or not there at all.

    Args:
        entries: What the family needs to build the loss again, ``family`` included.
        info: Where the loss came from; entries of the same name win.
        path: The file; one that exists is replaced.

    Raises:
        LossFileError: Something is not JSON, such as NaN; nothing is written.
    """
    document = {"format": FORMAT, "version": VERSION, **entries}
    try:
        text = json.dumps(document | info | document, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        refuse(Path(path), f"the loss cannot be written ({error})", "keep weights finite and info plain")
    write_atomically(Path(path), text + "\n")


def read_document(file: Path) -> dict[str, Any]:
    """The entries of a loss file of this version, without ``format`` and ``version``.

    Raises:
        LossFileError: The file is missing, damaged, no loss file, or from a later version.
    """
    document = _json_object(file)
    if document.pop("format", None) != FORMAT:
        refuse(file, "its \"format\" is not 'evomal-loss'", "give a file written by evomal")
    version = document.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        refuse(file, f"it has version {version!r}; this evomal reads {VERSION}", "update evomal")
    return document


def _json_object(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:  # a device may never end, so no more than enough is read
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        refuse(file, f"it cannot be read ({error.strerror})", "check the path")
    if len(data) > MAX_BYTES:
        refuse(file, f"it has more than {MAX_BYTES:,} bytes", "give a file written by evomal")
    if data[:1] == b"\x80" or data[:2] == b"PK":
        refuse(file, "it is a pickle or an archive, which could run code", "give a JSON file")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, ValueError, RecursionError):
        refuse(file, "it is not complete, valid JSON", "save the loss anew, or mend the file")
    if _depth(document) > MAX_NESTING:
        refuse(file, f"its entries nest more than {MAX_NESTING} deep", "give a file written by evomal")
    if not isinstance(document, dict):
        refuse(file, "it is not a JSON object", "give a file written by evomal")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an entry is there twice")
    return dict(pairs)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def refuse(file: Path, what: str, remedy: str) -> NoReturn:
    """Refuse a loss file in one sentence."""
    raise LossFileError(f"loss file '{file}': {what}; {remedy}")
