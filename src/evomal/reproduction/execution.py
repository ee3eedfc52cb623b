"""Where and with what a reproduction is run, who is told of it, and what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.running import ComparisonWatcher
from evomal.reproduction.plans import PlanPart
from evomal.reproduction.tables import Table
from evomal.tasks import Task, named_task


class ReproductionWatcher:
    """Told of progress; every method may be overridden, and none has to be."""

    comparison: ComparisonWatcher | None = None
    """Told of each search and training."""

    def part(self, part: PlanPart, number: int, of: int) -> None:
        """A part begins, or is found finished."""

    def written(self, paths: Sequence[Path]) -> None:
        """A table or figure is written."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and with what things are run.

    Args:
        out: The folder of the reproduction.
        data_dir: Where to look for data sets first.
        device: Where networks are trained.
        workers: Searches or trainings at a time.
        force: Start anew what lies in `out`.
        timed_batch: Instances in a timed batch of Table 4; None takes the preset's.
        command: The command line, to be written down.
        watcher: Told of progress.
    """

    out: Path
    data_dir: str | PathLike[str] | None = None
    device: str = "cpu"
    workers: int = 1
    force: bool = False
    timed_batch: int | None = None
    command: str | None = None
    watcher: ReproductionWatcher = field(default_factory=ReproductionWatcher)

    def folder(self, part: PlanPart) -> Path:
        """Where a part lies."""
        return self.out / part.folder

    def task(self, row: str) -> Task:
        """The task of a row."""
        dataset, model = row.split("/")
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        return named_task(dataset, model, data_dir=data_dir, device=self.device)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What was reproduced; it prints as tables in Markdown and the names of figures.

    Args:
        tables: By name, with the rows of earlier calls in the same folder.
        figures: The files of each figure.
        folder: Where everything lies.
    """

    tables: Mapping[str, Table]
    figures: Mapping[str, Sequence[Path]]
    folder: Path

    def __str__(self) -> str:
        """The tables, and the files of figures."""
        drawn = [f"{what}: {', '.join(map(str, paths))}" for what, paths in self.figures.items()]
        return "\n\n".join([*map(str, self.tables.values()), *drawn])

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        tables = {name: table.as_dict() for name, table in self.tables.items()}
        figures = {name: [str(path) for path in paths] for name, paths in self.figures.items()}
        return {"out": str(self.folder), "tables": tables, "figures": figures}
