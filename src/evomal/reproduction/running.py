"""Running what a plan says, one row after the other; what is finished is kept, and its tables are written at once."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.analysis.landscape import Landscape, landscape
from evomal.comparison import compare
from evomal.comparison.running import ComparisonWatcher
from evomal.foundation.errors import RunFolderError, SettingError, StorageError
from evomal.foundation.files import storing, write_atomically
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.foundation.serialization import finite_or_none
from evomal.losses import load_loss
from evomal.reproduction import assembling
from evomal.reproduction.assembling import EVOMAL, Finished
from evomal.reproduction.numbers import BASELINE, DOUBTS, borrowed, known_rows
from evomal.reproduction.plans import PlanPart, Wanted, parts_for, parts_of, preset_of, rows_for
from evomal.reproduction.step_times import StepTimes
from evomal.reproduction.tables import Entry, Table, merged, read_entries
from evomal.reproduction.timing import machine, time_steps
from evomal.store.provenance import versions
from evomal.tasks import DATASETS, Task, named_task

MARK = "evomal-reproduction"
DOCUMENT = "reproduce.json"
SEARCH_BYTES, EVALUATION_BYTES, SPARE_BYTES = 4_000_000, 4_000, 50_000_000
"""What a search, a candidate's line in its journal, and everything else may need on a disk."""
TIMED_STEPS = 2


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


class ReproductionRun:
    """A reproduction under way.

    Args:
        wanted: How things are to be reproduced.
        place: Where.
    """

    def __init__(self, wanted: Wanted, place: Execution) -> None:
        self._wanted, self._place = wanted, place
        self._finished: dict[str, Finished] = {}
        self._landscapes: dict[str, dict[str, Landscape]] = {}
        self._times: dict[str, StepTimes] = {}
        self._begun = 0

    def all(self, whats: Sequence[str], rows: Sequence[str]) -> Reproduction:
        """Run everything; what is finished is taken as it is.

        Raises:
            EvomalError: A name or a setting is odd, data are not there, the folder holds another reproduction, or there
                is no room; nothing was run then.
            KeyboardInterrupt: Ctrl-C; what is finished is kept.
        """
        parts = parts_of(whats, rows, self._wanted)
        self._require_room(parts)
        for dataset in dict.fromkeys(part.dataset for part in parts if part.kind != "steps"):
            published = DATASETS[dataset].published
            if published is not None:  # now, not after hours
                published.folder(None if self._place.data_dir is None else Path(self._place.data_dir))
        self._require_same()
        tables, figures = {}, {}
        for what in dict.fromkeys(whats):
            asked = rows_for(what, tuple(rows))
            if what.startswith("table"):
                tables[what] = self._table(what, asked, len(parts))
            else:
                figures[what] = self._figure(what, asked, len(parts))
        return Reproduction(tables, figures, self._place.out)

    def _table(self, what: str, rows: Sequence[str], parts: int) -> Table:
        """A table, written anew after every row, so that an interruption leaves what is finished."""
        folder = self._place.out / what
        before = read_entries(folder / f"{what}.json")
        table, now = Table(what, ()), []
        for row in rows:
            last = self._run(what, row, parts)[-1]
            now += self._entries(what, row, last)
            order = known_rows(what if what != "table5" else "table2")
            notes = self._notes(what, [each.row for each in (*before, *now)])
            table = Table(what, merged(before, now, order), notes, self._origin())
            self._place.watcher.written(table.write(folder))
        return table

    def _entries(self, what: str, row: str, part: PlanPart) -> list[Entry]:
        if what == "table4":
            return assembling.of_hours(row, self._times[part.model], self._wanted)
        finished = self._finished[part.folder]
        if what == "table5":
            return assembling.of_printed(row, finished.comparison)
        names = [BASELINE, *self._wanted.methods]
        if part.source is not None:
            names = [BASELINE, *self._best(self._finished[part.source])]
        found = assembling.of_comparison(what, row, names, finished.comparison)
        lost = [method for method in self._wanted.methods if method not in names]
        return [*found, *(Entry.beside(what, row, method, None, note="its searches found nothing") for method in lost)]

    def _figure(self, what: str, rows: Sequence[str], parts: int) -> list[Path]:
        run = {row: self._run(what, row, parts) for row in rows}
        place = self._place.out / what
        paths = assembling.figure_files(what, run, self._finished, self._landscapes, place)
        if what in ("fig9", "fig10"):
            named = {row: self._landscapes[run[row][-1].folder] for row in rows}
            paths.append(self._write(place / "sharpness.json", assembling.sharpness(named)))
        notes = self._notes(what, rows)
        if notes:
            paths.append(self._write(place / "notes.json", {"figure": what, "notes": list(notes)} | self._origin()))
        self._place.watcher.written(paths)
        return paths

    def _notes(self, what: str, rows: Sequence[str]) -> tuple[str, ...]:
        """How this differs from the paper, and what is doubtful in its print."""
        return (*self._wanted.changes, *borrowed(rows), *DOUBTS.get(what, ()))

    def _run(self, what: str, row: str, parts: int) -> list[PlanPart]:
        """All parts of a row, each once."""
        own = list(parts_for(what, row, self._wanted))
        kinds: Mapping[str, Callable[[PlanPart], None]] = {
            "search": self._compare, "losses": self._compare, "transfer": self._compare, "landscape": self._landscape,
            "steps": self._steps,
        }  # fmt: skip
        for part in own:
            known = (self._finished, self._landscapes)
            if any(part.folder in each for each in known) or (part.kind == "steps" and part.model in self._times):
                continue
            self._begun += 1
            self._place.watcher.part(part, self._begun, parts)
            kinds[part.kind](part)
        return own

    def _compare(self, part: PlanPart) -> None:
        names: list[str] = list(part.names) or [BASELINE]
        if part.source is not None:
            names = list(self._best(self._finished[part.source]).values()) or [BASELINE]
        place, wanted = self._place, self._wanted
        flat = wanted.flat_of(part.row) | ({} if part.lr is None else {"lr": part.lr})
        comparison = compare(
            place.task(part.row),
            names,
            wanted.seeds,
            out=place.folder(part),
            preset=preset_of(part.row),
            lr_grid=wanted.lr_grid if part.lr is None else (),
            workers=place.workers,
            force=place.force,
            watcher=place.watcher.comparison,
            **flat,
        )
        self._finished[part.folder] = Finished(place.folder(part), comparison)

    def _best(self, finished: Finished) -> dict[str, str]:
        """The loss file of each method's best seed by its fitness, which is taken on validation data."""
        found = {}
        for contender in finished.comparison.contenders:
            known = [search for search in contender.searches if search.fitness is not None]
            if known and contender.name in self._wanted.methods:
                best = min(known, key=lambda search: inf if search.fitness is None else search.fitness)
                found[contender.name] = str(finished.folder / best.loss_file)
        return found

    def _landscape(self, part: PlanPart) -> None:
        """A training with each loss and what lies around it, kept when it is finished."""
        assert part.source is not None
        best = self._best(self._finished[part.source])
        if EVOMAL not in best:
            raise RunFolderError("figures 'fig9' and 'fig10' need a loss of EvoMAL's; add evomal to the methods")
        task, settings, seed = self._place.task(part.row), self._wanted.training_of(part.row), self._wanted.seeds[0]
        losses: dict[str, Any] = {BASELINE: task.handcrafted(BASELINE), EVOMAL: load_loss(best[EVOMAL])}
        path, known = self._place.folder(part) / "landscapes.json", {}
        if path.is_file() and not self._place.force:
            known = {name: _landscape_of(each) for name, each in self._read(path).items()}
        for name, loss in losses.items():
            if name not in known:
                known[name] = landscape(task, loss.to(task.device), settings, settings.base.lr, seed)
                self._write(path, {each: asdict(found) for each, found in known.items()})
        self._landscapes[part.folder] = known

    def _steps(self, part: PlanPart) -> None:
        path, base = self._place.folder(part) / "steps.json", self._wanted.training_of(part.row).base
        measured = self._place.timed_batch or base.batch_size
        if path.is_file() and not self._place.force:
            known = StepTimes.of(self._read(path)["times"])
            if (known.device, known.measured, known.batch) == (self._place.device, measured, base.batch_size):
                self._times[part.model] = known
                return
        times = time_steps(part.dataset, part.model, base, self._place.device, measured=measured, repeats=TIMED_STEPS)
        self._write(path, {"times": times.as_dict()} | self._origin())
        self._times[part.model] = times

    def _require_room(self, parts: Sequence[PlanPart]) -> None:
        searches = sum(len(part.searches) for part in parts)
        evaluations = sum(part.evaluations for part in parts)
        needed = SPARE_BYTES + searches * SEARCH_BYTES + evaluations * EVALUATION_BYTES
        out = self._place.out
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

    def _require_same(self) -> None:
        """One folder holds one scale and one set of settings, so that the rows of a table go together."""
        path = self._place.out / DOCUMENT
        now = _plain({"format": MARK, "scale": self._wanted.scale, "settings": self._wanted.flat})
        if path.is_file() and not self._place.force:
            before = self._read(path)
            if before.get("format") != MARK or any(before.get(name) != now[name] for name in now):
                told = f"scale {before.get('scale')}, settings {before.get('settings') or 'of the presets'}"
                raise RunFolderError(
                    f"'{self._place.out}' holds a reproduction with {told}; give the same ones, or another `out`"
                )
            return
        self._write(path, now)

    def _origin(self) -> dict[str, Any]:
        return {
            "command": self._place.command,
            "scale": self._wanted.scale,
            "versions": dict(versions()),
            "machine": machine(self._place.device),
            "workers": self._place.workers,
        }

    def _read(self, path: Path) -> Any:
        try:
            return read_json(path.read_bytes())
        except (OSError, NotPlainError) as error:
            raise RunFolderError(f"'{path}' is damaged ({error}); remove it, and give the same command again") from None

    def _write(self, path: Path, document: Any) -> Path:
        with storing(path):
            write_atomically(path, json.dumps(_plain(document), indent=2, allow_nan=False) + "\n")
        return path


def _plain(value: Any) -> Any:
    """Plain values as JSON holds them: what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return finite_or_none(value) if isinstance(value, float) else value


def _landscape_of(values: Mapping[str, Any]) -> Landscape:
    """A landscape from JSON, which holds no infinite numbers."""
    lines = tuple(tuple(inf if value is None else value for value in line) for line in values["values"])
    return Landscape(tuple(values["steps"]), lines, values["reason"])
