"""The folder of a reproduction: whether it may be used, and the documents in it, which are JSON."""

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from evomal.foundation.errors import RunFolderError, SettingError, StorageError
from evomal.foundation.files import AGAIN, storing, write_atomically
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.foundation.serialization import finite_or_none
from evomal.reproduction.execution import Execution
from evomal.reproduction.plans import PlanPart, Wanted
from evomal.store.provenance import versions

MARK = "evomal-reproduction"
DOCUMENT = "reproduce.json"
SEARCH_BYTES, EVALUATION_BYTES, SPARE_BYTES = 4_000_000, 4_000, 50_000_000
"""What a search, a candidate's line in its journal, and everything else may need on a disk."""


def require_room(out: Path, parts: Sequence[PlanPart]) -> None:
    """Make sure that there is room for what will be written.

    Raises:
        SettingError: The folder cannot be used.
        StorageError: There is too little room.
    """
    searches = sum(len(part.searches) for part in parts)
    evaluations = sum(part.evaluations for part in parts)
    needed = SPARE_BYTES + searches * SEARCH_BYTES + evaluations * EVALUATION_BYTES
    try:
        there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise SettingError(f"'{out}' cannot be used ({error.strerror}); give another `out`") from None
    if free < needed:
        raise StorageError(
            f"'{out}' needs {needed / 1e6:,.0f} MB for {searches} searches, and has {free / 1e6:,.0f} MB; make "
            "room there, or give another `out`"
        )


def require_same(place: Execution, wanted: Wanted) -> None:
    """One folder holds one scale and one set of settings, so that the rows of a table go together.

    Raises:
        RunFolderError: It holds another reproduction.
    """
    path = place.out / DOCUMENT
    now = _plain({"format": MARK, "scale": wanted.scale, "settings": wanted.flat})
    if path.is_file() and not place.force:
        before = read_document(path)
        if before.get("format") != MARK or any(before.get(name) != now[name] for name in now):
            told = f"scale {before.get('scale')}, settings {before.get('settings') or 'of the presets'}"
            raise RunFolderError(
                f"'{place.out}' holds a reproduction with {told}; give the same ones, or another `out`"
            )
        return
    write_document(path, now)


def origin_of(place: Execution, wanted: Wanted) -> dict[str, Any]:
    """With what numbers were found, to be written beside them."""
    return {
        "command": place.command,
        "scale": wanted.scale,
        "versions": dict(versions()),
        "machine": machine(place.device),
        "workers": place.workers,
    }


def machine(device: str) -> str:
    """What computes, as far as the system says.

    Example:
        >>> machine("cpu").endswith("cores") or machine("cpu").endswith("core")
        True
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = os.cpu_count() or 1
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def read_document(path: Path) -> Any:
    """A document of the folder.

    Raises:
        RunFolderError: It is damaged.
    """
    try:
        return read_json(path.read_bytes())
    except (OSError, NotPlainError) as error:
        raise RunFolderError(f"'{path}' is damaged ({error}); remove it, and give the same command again") from None


def write_document(path: Path, document: Any) -> Path:
    """Write a document whole or not at all; what is not finite in it becomes null.

    Returns:
        Its path.

    Raises:
        StorageError: It cannot be written.
    """
    with storing(path, AGAIN):
        write_atomically(path, json.dumps(_plain(document), indent=2, allow_nan=False) + "\n")
    return path


def _plain(value: Any) -> Any:
    """Plain values as JSON holds them: what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return finite_or_none(value) if isinstance(value, float) else value
