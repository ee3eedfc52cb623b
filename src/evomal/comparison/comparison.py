"""A comparison: its numbers with what must be known to read them, as plain values, as files, and read again."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.contenders import Contender, SearchSummary
from evomal.comparison.notes import notes_of, verdict_of
from evomal.comparison.results import Results
from evomal.comparison.tables import as_csv, as_markdown
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.foundation.files import AGAIN, storing, write_atomically
from evomal.foundation.later_rooms import carried_out
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.foundation.serialization import finite
from evomal.store.provenance import EARLIER, Origin
from evomal.training import TrainingRun

TABLE = "table.json"
TABLES = ("table.md", "table.csv", TABLE)
MAX_BYTES = 64_000_000
METRICS = ("valid", "test")


@dataclass(frozen=True, slots=True)
class Comparison(Results):
    """Contenders on one task, over the same seeds and learning rates.

    Args:
        task: What the task is called.
        metric: Name of the metric, minimised.
        baseline: Name of the contender that the others are tested against.
        fixed_lr: The rate of the first column, one of `lrs`.
        lrs: Every rate that was tried.
        seeds: One search and one training at each rate, for each of them.
        contenders: In the order of the table.
        settings: How it all was run, as plain values.
        origin: The command and the versions that made it.
        remarks: What is known beside the numbers, one sentence each.

    Raises:
        SettingError: The baseline is not among the contenders, two have one name, or `fixed_lr` is not in `lrs`.
        DataError: A training is missing.

    Example:
        >>> from evomal.training import TrainingRun
        >>> def trained(*tests):
        ...     return tuple(TrainingRun(0.1, seed, test, test, 100, 1.0) for seed, test in enumerate(tests))
        >>> plain = Contender("cross_entropy", "handcrafted", (), trained(0.30, 0.28, 0.33))
        >>> focal = Contender("focal", "handcrafted", (), trained(0.21, 0.20, 0.22))
        >>> comparison = Comparison(
        ...     "digits/mlp", "error_rate", "cross_entropy", 0.1, (0.1,), (0, 1, 2), (plain, focal), {}
        ... )
        >>> cell = comparison.rows()[1].fixed
        >>> f"{cell.mean:.2f} ± {cell.sd:.2f}, gain {cell.test.gain:.4f}, p {cell.test.p_holm:.4f}"
        '0.21 ± 0.01, gain 0.0933, p 0.0088'
    """

    def notes(self) -> list[str]:
        """Remarks, one sentence each: what must be known to read the table rightly."""
        return notes_of(self)

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        return verdict_of(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(carried_out("html_of_comparison", self))

    def _repr_latex_(self) -> str:
        """The same in LaTeX."""
        return str(carried_out("latex_of_comparison", self))

    def __str__(self) -> str:
        """The comparison as Markdown: the table, the notes, every rate, and the losses found."""
        return as_markdown(self)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON; what is not finite is None."""
        shown = {name: getattr(self, name) for name in ("task", "metric", "baseline", "fixed_lr", "lrs", "seeds")}
        contenders = [
            row.contender.as_dict() | {"fixed": asdict(row.fixed), "best": asdict(row.best)} for row in self.rows()
        ]
        made = {"settings": self.settings, **self.origin.as_dict()}
        told = {"remarks": self.remarks, "notes": self.notes(), "verdict": self.verdict}
        document = {**shown, **made, "contenders": contenders, **told}
        return {name: finite(value) for name, value in document.items()}


def write_tables(comparison: Comparison, folder: str | PathLike[str]) -> list[Path]:
    """Write a comparison as Markdown, as CSV and as JSON; each file is complete, or as it was before.

    Args:
        comparison: The comparison.
        folder: Where they shall lie; files of these names are replaced.

    Returns:
        ``table.md``, ``table.csv`` and ``table.json`` in the folder.

    Raises:
        StorageError: One cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from evomal.comparison import Contender
        >>> from evomal.training import TrainingRun
        >>> focal = Contender("focal", "handcrafted", (), (TrainingRun(0.1, 0, 0.2, 0.3, 100, 1.0),))
        >>> with TemporaryDirectory() as folder:
        ...     comparison = Comparison("iris", "error_rate", "focal", 0.1, (0.1,), (0,), (focal,), {})
        ...     [path.name for path in write_tables(comparison, folder)]
        ['table.md', 'table.csv', 'table.json']
    """
    document = json.dumps(comparison.as_dict(), indent=2, allow_nan=False) + "\n"
    paths = [Path(folder) / name for name in TABLES]
    for path, text in zip(paths, (as_markdown(comparison), as_csv(comparison), document), strict=True):
        with storing(path, AGAIN):
            write_atomically(path, text)
    return paths


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
        # Tables of an older evomal have them among their notes alone.
        remarks=tuple(map(str, document.get("remarks", ()))),
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
