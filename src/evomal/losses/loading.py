"""Reading a loss of any family from its file."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evomal.errors import EvomalError, LossFileError
from evomal.losses.files import read_document, refuse
from evomal.losses.symbolic import SymbolicLoss

FAMILIES: Mapping[str, Callable[[dict[str, Any]], SymbolicLoss]] = MappingProxyType(
    {"symbolic": SymbolicLoss.from_entries}
)


def load_loss(path: str | PathLike[str]) -> SymbolicLoss:
    """Read a loss file; nothing in it is ever run.

    Args:
        path: A file written by a loss's ``save``, or by hand in the same format; a run folder means its ``loss.json``.

    Returns:
        The loss as a PyTorch criterion, finished: its coefficients require no gradient until ``requires_grad_()`` is
        called. What else the file says is in its `info`.

    Raises:
        LossFileError: The file is missing, damaged, from a later version, or its parts contradict one another.
    """
    file = Path(path)
    if file.is_dir():
        file /= "loss.json"
    entries = read_document(file)
    family = entries.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        refuse(file, f"its family {family!r} is unknown", f"use {' or '.join(map(repr, FAMILIES))}")
    try:
        return FAMILIES[family](entries).requires_grad_(False)
    except EvomalError as error:
        raise LossFileError(f"loss file '{file}': {error}") from None
