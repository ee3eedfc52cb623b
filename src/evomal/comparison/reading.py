"""A finished comparison read again from the table that it wrote."""

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.results import Comparison
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.store.environment import EARLIER, Origin
from evomal.training import TrainingRun

TABLE = "table.json"
MAX_BYTES = 64_000_000
METRICS = ("valid", "test")


def read_comparison(folder: str | PathLike[str]) -> Comparison:
    """The comparison whose ``table.json`` lies in a folder.

    Args:
        folder: The folder of a comparison, or any that holds its tables.

    Raises:
        RunFolderError: There is no such file, or it is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from evomal.comparison import write_tables
        >>> focal = Contender("focal", "handcrafted", (), (TrainingRun(0.1, 0, 0.2, 0.3, 100, 1.0),))
        >>> with TemporaryDirectory() as folder:
        ...     comparison = Comparison("iris", "error_rate", "focal", 0.1, (0.1,), (0,), (focal,), {})
        ...     paths = write_tables(comparison, folder)
        ...     read_comparison(folder) == comparison
        True
    """
    path = Path(folder) / TABLE
    try:
        with path.open("rb") as file:  # a device may never end, so no more than enough is read
            document = read_json(file.read(MAX_BYTES))
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read ({error.strerror}); give the folder of a comparison") from None
    except NotPlainError as error:
        raise RunFolderError(f"'{path}' is damaged ({error}); finish the comparison again") from None
    try:
        return _comparison(document)
    except (KeyError, TypeError, ValueError, AttributeError, EvomalError) as error:
        raise RunFolderError(f"'{path}' is no table of a comparison ({error!r}); finish the comparison again") from None


def _comparison(document: Any) -> Comparison:
    return Comparison(
        task=str(document["task"]),
        metric=str(document["metric"]),
        baseline=str(document["baseline"]),
        fixed_lr=float(document["fixed_lr"]),
        lrs=tuple(map(float, document["lrs"])),
        seeds=tuple(map(int, document["seeds"])),
        contenders=tuple(_contender(each) for each in document["contenders"]),
        settings=dict(document["settings"]),
        origin=_origin(document),
    )


def _contender(entry: Mapping[str, Any]) -> Contender:
    return Contender(
        name=str(entry["name"]),
        kind=entry["kind"],
        searches=tuple(SearchSummary(**each) for each in entry["searches"]),
        runs=tuple(_run(each) for each in entry["runs"]),
        ratios=tuple(entry.get("ratios", ())),
        tuned_lrs=tuple(entry.get("tuned_lrs", ())),
    )


def _run(entry: Mapping[str, Any]) -> TrainingRun:
    """A training; what JSON could not hold is not a number again."""
    metrics = {name: math.nan if entry[name] is None else float(entry[name]) for name in METRICS}
    return TrainingRun(**{**entry, **metrics, "lr": float(entry["lr"])})


def _origin(document: Mapping[str, Any]) -> Origin:
    """Tables of an older evomal say nothing of it."""
    return Origin(document.get("command"), document.get("versions") or {}, tuple(document.get(EARLIER) or ()))
