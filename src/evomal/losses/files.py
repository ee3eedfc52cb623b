"""Loss files and `state_dict`s: read as data and never run. What the entries mean, each family of losses knows."""

import json
import re
from contextlib import suppress
from errno import EISDIR
from os import PathLike, strerror
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from evomal.expressions import LEAVES, TERMINALS
from evomal.foundation.errors import LossFileError
from evomal.foundation.files import write_atomically
from evomal.foundation.plain_json import INVALID, NotPlainError, check_limits, parsed_json

FORMAT = "evomal-loss"
VERSION = 2  # the latest that is read; a file has the lowest that tells all of it
MAX_BYTES = 4_000_000  # a neural loss of the greatest width has 66,000 weights
BY_EVOMAL = "give a file written by evomal"
BEYOND = {*TERMINALS} - {*LEAVES}
"""Terminals that a reader of version 1 does not know."""
NEVER_INFO = {"scale", "class_counts", "operators"}
"""What a file leaves out where it is as usual: `info` must not put another one there."""


def write_document(entries: dict[str, Any], info: dict[str, Any], path: str | PathLike[str]) -> None:
    """Write a loss file that is complete or not there at all, and that `read_document` reads.

    Args:
        entries: What the family needs to build the loss again, ``family`` included.
        info: Where the loss came from; entries of the same name win.
        path: The file; one that exists is replaced.

    Raises:
        LossFileError: The path names no file that can be written (then it is an OSError too), or something is not
            JSON, such as NaN, or past a limit of loss files; nothing is written.
    """
    file = loss_path(path)
    document = {"format": FORMAT, "version": _version_of(entries), **entries}
    try:
        rest = {name: value for name, value in info.items() if name not in NEVER_INFO}
        text = json.dumps(document | rest | document, indent=2, allow_nan=False) + "\n"
        _entries(text.encode())
    except (TypeError, ValueError, AttributeError, RecursionError, _OddFileError) as error:
        refuse(file, f"the loss cannot be written ({error})", "keep weights finite and info plain")
    try:
        if file.is_dir():
            raise IsADirectoryError(EISDIR, strerror(EISDIR))
        write_atomically(file, text)
    except OSError as error:
        raise UnwritableLossFileError(file, error) from error
    except ValueError as error:  # a NUL in its name
        refuse(file, f"it cannot be written ({error})", "check the path")


class UnwritableLossFileError(LossFileError, OSError):
    """What the system said when a loss file was to be written, as one of our errors and one of Python's."""

    def __init__(self, file: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(error.errno, reason)
        what = f"it cannot be written ({reason}); make room there, or give another path"
        if isinstance(error, IsADirectoryError):
            what = "it is a folder; name a file in it, such as loss.json"
        self.text = f"loss file '{file}': {what}"

    def __str__(self) -> str:
        """The sentence, not the system's number."""
        return self.text


def loss_path(path: Any) -> Path:
    """What a user gave as the path of a loss file.

    Raises:
        LossFileError: It is no path.

    Example:
        >>> loss_path("loss.json").name
        'loss.json'
    """
    if isinstance(path, str | PathLike) and path != "":
        with suppress(TypeError):  # of bytes
            return Path(path)
    shown = path if isinstance(path, str) else repr(path)
    raise LossFileError(f"loss file '{brief(shown)}': it is no path; give the name of a file, such as 'loss.json'")


def _version_of(entries: dict[str, Any]) -> int:
    """1, but for what a reader of version 1 would not know or would leave out.

    That is class counts, handcrafted losses, further terminals with what they stand for, operators of a
    user, tasks of several labels.
    """
    more = {"class_counts", "prior", "operators"} & entries.keys() or entries.get("family") == "handcrafted"
    more = more or entries.get("task_type") == "multilabel"
    words = re.findall("[a-z_0-9]+", str(entries.get("expression", "")))
    return 2 if more or BEYOND.intersection(words) else 1


def read_document(file: Path) -> dict[str, Any]:
    """The entries of a loss file of this version or an earlier one, without ``format`` and ``version``.

    Raises:
        LossFileError: The file is missing, damaged, no loss file, past a limit, or from a later version.
    """
    try:
        with file.open("rb") as stream:  # a device may never end, so no more than enough is read
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        refuse(file, f"it cannot be read ({error.strerror})", "check the path")
    except ValueError as error:  # a NUL in its name
        refuse(file, f"it cannot be read ({error})", "check the path")
    try:
        return _entries(data)
    except _OddFileError as odd:
        refuse(file, str(odd), odd.remedy)


class _OddFileError(Exception):
    """What is wrong with the bytes of a file, and what to do."""

    def __init__(self, what: str, remedy: str = BY_EVOMAL) -> None:
        super().__init__(what)
        self.remedy = remedy


def _entries(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise _OddFileError(f"it has more than {MAX_BYTES:,} bytes")
    if data[:1] == b"\x80" or data[:2] == b"PK":
        raise _OddFileError("it is a pickle or an archive, which could run code", "give a JSON file")
    try:
        document = parsed_json(data)
        if not isinstance(document, dict):
            raise _OddFileError("it is not a JSON object")
        if document.pop("format", None) != FORMAT:
            raise _OddFileError("its \"format\" is not 'evomal-loss'")
        # A later version may have other limits, so that it is named before they are looked at.
        _check_version(document.pop("version", None))
        check_limits(document)
    except NotPlainError as error:
        remedy = "save the loss anew, or mend the file" if str(error) == INVALID else BY_EVOMAL
        raise _OddFileError(str(error), remedy) from None
    return document


def _check_version(version: Any) -> None:
    whole = isinstance(version, int) and not isinstance(version, bool)
    if whole and version > VERSION:
        raise _OddFileError(
            f"it comes from the future (version {brief(str(version))}; this evomal reads {VERSION})", "update evomal"
        )
    if not whole or version < 1:
        raise _OddFileError(
            f'its "version" is {brief(repr(version))}, which never was one; this evomal reads {VERSION}'
        )


def brief(text: str, limit: int = 400) -> str:
    """A sentence that quotes a file, without the middle of what is long.

    Example:
        >>> brief("its version is " + "9" * 100, limit=40)
        'its version is 99999999999 … 9999999999'
    """
    return text if len(text) <= limit else f"{text[: 2 * limit // 3]} … {text[-(limit // 4) :]}"


def refuse(file: Path, what: str, remedy: str) -> NoReturn:
    """Refuse a loss file in one sentence."""
    raise LossFileError(f"loss file '{file}': {what}; {remedy}")


def written_state(scale: float, identity: dict[str, Any]) -> Tensor:
    """Scale and identity as one tensor, which every way of keeping a state can hold.

    The identity follows the scale as JSON, a number for each byte: these come through half precision, and through the
    mean of several states, as they were.

    Args:
        scale: What the loss multiplies its values by.
        identity: The entries of the loss that no coefficient changes.

    Example:
        >>> written_state(0.5, {"family": "taylor"})[:4]
        tensor([  0.5000, 123.0000,  34.0000, 102.0000], dtype=torch.float64)
    """
    return torch.tensor([scale, *json.dumps(identity).encode()], dtype=torch.float64, device="cpu")


def read_state(state: Any) -> tuple[Any, dict[str, Any] | None]:
    """Scale and identity from what `written_state` gave.

    Args:
        state: Such a tensor, or a scale alone, as states were written before they had an identity.

    Returns:
        The scale, or whatever stands in its place; and the identity, None where the state has none.

    Example:
        >>> read_state(written_state(0.5, {"family": "taylor"}))
        (0.5, {'family': 'taylor'})
    """
    if not isinstance(state, Tensor):
        return state, None
    if state.numel() == 1:
        return state.item(), None
    try:
        scale, *numbers = state.tolist()
        identity = json.loads(bytes(map(int, numbers)))
    except (TypeError, ValueError):
        return state, None
    return (scale, identity) if isinstance(identity, dict) else (state, None)


def described(identity: dict[str, Any]) -> str:
    """A loss in a few words, such as "'square(sub(y, f))' for regression".

    Example:
        >>> described({"family": "neural", "task_type": "regression", "hidden": 50})
        'neural loss (hidden 50) for regression'
    """
    rest = dict(identity)
    family, task_type, formula = (rest.pop(name, None) for name in ("family", "task_type", "expression"))
    if rest.get("output_activation") == "identity":
        del rest["output_activation"]
    named = f"{family} loss" if formula is None else f"'{formula}'"
    more = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{named}{f' ({more})' if more else ''} for {task_type}"
