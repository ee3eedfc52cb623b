"""Running what a plan says, one row after the other; what is finished is kept, and its tables are written at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from evomal.analysis.landscape import Landscape, landscape
from evomal.comparison import compare
from evomal.foundation.errors import RunFolderError
from evomal.losses import load_loss
from evomal.reproduction import assembling
from evomal.reproduction.assembling import EVOMAL, Finished
from evomal.reproduction.execution import Execution, Reproduction
from evomal.reproduction.folder import origin_of, read_document, require_room, require_same, write_document
from evomal.reproduction.numbers import BASELINE, DOUBTS, borrowed, known_rows
from evomal.reproduction.plans import PlanPart, Wanted, parts_for, parts_of, preset_of, rows_for
from evomal.reproduction.step_times import StepTimes
from evomal.reproduction.tables import Entry, Table, merged, read_entries
from evomal.reproduction.timing import time_steps
from evomal.tasks import DATASETS

TIMED_STEPS = 2


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
        require_room(self._place.out, parts)
        for dataset in dict.fromkeys(part.dataset for part in parts if part.kind != "steps"):
            published = DATASETS[dataset].published
            if published is not None:  # now, not after hours
                published.folder(None if self._place.data_dir is None else Path(self._place.data_dir))
        require_same(self._place, self._wanted)
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
            paths.append(write_document(place / "sharpness.json", assembling.sharpness(named)))
        notes = self._notes(what, rows)
        if notes:
            document = {"figure": what, "notes": list(notes)} | self._origin()
            paths.append(write_document(place / "notes.json", document))
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
            known = {name: _landscape_of(each) for name, each in read_document(path).items()}
        for name, loss in losses.items():
            if name not in known:
                known[name] = landscape(task, loss.to(task.device), settings, settings.base.lr, seed)
                write_document(path, {each: asdict(found) for each, found in known.items()})
        self._landscapes[part.folder] = known

    def _steps(self, part: PlanPart) -> None:
        path, base = self._place.folder(part) / "steps.json", self._wanted.training_of(part.row).base
        measured = self._place.timed_batch or base.batch_size
        if path.is_file() and not self._place.force:
            known = StepTimes.of(read_document(path)["times"])
            if (known.device, known.measured, known.batch) == (self._place.device, measured, base.batch_size):
                self._times[part.model] = known
                return
        times = time_steps(part.dataset, part.model, base, self._place.device, measured=measured, repeats=TIMED_STEPS)
        write_document(path, {"times": times.as_dict()} | self._origin())
        self._times[part.model] = times

    def _origin(self) -> dict[str, Any]:
        return origin_of(self._place, self._wanted)


def _landscape_of(values: Mapping[str, Any]) -> Landscape:
    """A landscape from JSON, which holds no infinite numbers."""
    lines = tuple(tuple(inf if value is None else value for value in line) for line in values["values"])
    return Landscape(tuple(values["steps"]), lines, values["reason"])
