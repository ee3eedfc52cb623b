"""Loss files: one JSON object, read as data and never run."""

import json
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from evomal.atomic import write_atomically
from evomal.errors import EvomalError, LossFileError
from evomal.expressions import to_text
from evomal.losses.symbolic import SymbolicLoss

FORMAT = "evomal-loss"
VERSION = 1
MAX_BYTES = 1_000_000


def save_loss(loss: SymbolicLoss, path: str | PathLike[str]) -> None:
    """Write a loss, with its current weights, as a JSON file that is complete or not there at all.

    Args:
        loss: The loss.
        path: The file; one that exists is replaced.

    Raises:
        LossFileError: φ or `info` hold what JSON cannot, such as NaN; nothing is written.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "family": "symbolic",
        "task_type": loss.task_type,
        "expression": to_text(loss.expression),
        "weights": loss.weights.detach().tolist(),
        "output_activation": loss.output_activation,
    }
    try:
        text = json.dumps(document | loss.info | document, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        _refuse(Path(path), f"the loss cannot be written ({error})", "keep weights finite and info plain")
    write_atomically(Path(path), text + "\n")


def load_loss(path: str | PathLike[str]) -> SymbolicLoss:
    """Read a loss file.

    Args:
        path: A file written by `save_loss`, or by hand in the same format.

    Returns:
        The loss as a PyTorch criterion; what else the file says is in its `info`.

    Raises:
        LossFileError: The file is missing, damaged, from a later version, or its parts contradict one another.
    """
    file = Path(path)
    document = _document(file)
    known = {"format", "version", "family", "task_type", "expression", "weights", "output_activation"}
    if document.get("format") != FORMAT:
        _refuse(file, "its \"format\" is not 'evomal-loss'", "give a file written by evomal")
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        _refuse(file, f"it has version {version!r}; this evomal reads {VERSION}", "update evomal")
    if document.get("family") != "symbolic":
        _refuse(file, f"its family {document.get('family')!r} is unknown", "use 'symbolic'")
    weights = document.get("weights")
    numbers = isinstance(weights, list) and all(type(w) in (int, float) for w in weights)
    if not isinstance(document.get("expression"), str) or not numbers:
        _refuse(file, "it needs an expression (text) and weights (a list of numbers)", "write it anew")
    try:
        loss = SymbolicLoss(
            document["expression"],
            document["weights"],
            task_type=document.get("task_type"),  # type: ignore[arg-type]
            output_activation=document.get("output_activation", "identity"),
        )
    except EvomalError as error:
        raise LossFileError(f"loss file '{file}': {error}") from None
    loss.info = {name: value for name, value in document.items() if name not in known}
    return loss


def _document(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:  # a device may never end, so no more than enough is read
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        _refuse(file, f"it cannot be read ({error.strerror})", "check the path")
    if len(data) > MAX_BYTES:
        _refuse(file, f"it has more than {MAX_BYTES:,} bytes", "give a file written by evomal")
    if data[:1] == b"\x80" or data[:2] == b"PK":
        _refuse(file, "it is a pickle or an archive, which could run code", "give a JSON file")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        _refuse(file, "it is not complete, valid JSON", "save the loss anew, or mend the file")
    if not isinstance(document, dict):
        _refuse(file, "it is not a JSON object", "give a file written by evomal")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(file: Path, what: str, remedy: str) -> NoReturn:
    raise LossFileError(f"loss file '{file}': {what}; {remedy}")
