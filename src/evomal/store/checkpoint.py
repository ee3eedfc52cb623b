"""Checkpoints: where a run stands, as plain values; the one before is kept."""

import json
import os
from pathlib import Path
from typing import Any

from evomal.foundation.files import storing, write_atomically
from evomal.foundation.plain_json import NotPlainError, read_json

FORMAT, VERSION = "evomal-checkpoint", 1
CHECKPOINT, LATEST, PREVIOUS, NEXT = "checkpoint", "state.json", "previous.json", "next.json"
MAX_BYTES = 64_000_000


class Checkpoints:
    """The checkpoints of a run folder.

    Args:
        folder: The run folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     checkpoints = Checkpoints(Path(folder))
        ...     for generation in range(3):
        ...         checkpoints.write({"generation": generation})
        ...     [state["generation"] for state in checkpoints.read()]
        [2, 1]
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / CHECKPOINT

    def write(self, state: dict[str, Any]) -> None:
        """Write a checkpoint beside its place and rename it; the one that was there becomes the one before.

        Args:
            state: Plain values, as JSON has them.

        Raises:
            StorageError: It cannot be written; the checkpoints that were there still are.
        """
        latest = self._folder / LATEST
        text = json.dumps({"format": FORMAT, "version": VERSION, **state}, allow_nan=False)
        beside = self._folder / NEXT
        with storing(latest):
            write_atomically(beside, text + "\n")
            if latest.exists():
                os.replace(latest, self._folder / PREVIOUS)
            os.replace(beside, latest)

    def read(self) -> list[dict[str, Any]]:
        """The checkpoints that are sound, the latest first; none of them is trusted beyond its format and version."""
        found = (_read(self._folder / name) for name in (LATEST, PREVIOUS))
        return [state for state in found if state is not None]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        state = read_json(data) if len(data) <= MAX_BYTES else None
    except (OSError, NotPlainError):
        return None
    sound = isinstance(state, dict) and state.get("format") == FORMAT and state.get("version") == VERSION
    return state if sound else None
