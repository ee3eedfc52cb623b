"""Numbers and files of tables and figures from finished parts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from evomal.analysis.landscape import Landscape
from evomal.comparison import Comparison
from evomal.losses.published import PUBLISHED
from evomal.reproduction import figures
from evomal.reproduction.figures import Finished, saved
from evomal.reproduction.numbers import TABLE5, UNREADABLE
from evomal.reproduction.plans import EVALUATED, PHOTOGRAPHS, PlanPart, Wanted, slug
from evomal.reproduction.tables import Entry
from evomal.reproduction.timing import CLASSES, StepTimes


def of_comparison(table: str, row: str, names: Sequence[str], comparison: Comparison) -> list[Entry]:
    """Entries of Tables 2 and 3.

    Args:
        table: The table's name.
        row: Its row.
        names: The methods in the order of the contenders, the baseline first.
        comparison: What was measured.
    """
    return [
        Entry.beside(table, row, name, each.fixed.mean, note=_diverged(each.fixed.values), **_spread(comparison, each))
        for name, each in zip(names, comparison.rows(), strict=False)
    ]


def of_printed(row: str, comparison: Comparison) -> list[Entry]:
    """Entries of Table 5: every printed loss that can be trained with, and why the others cannot."""
    trained = []
    for each in comparison.rows():
        name = each.contender.name
        printed = f"{TABLE5[name]}) {PUBLISHED[name].summary}" if name in TABLE5 else ""
        doubt = PUBLISHED[name].doubt.partition("; the table leaves")[0] if name in TABLE5 else ""
        doubt = "" if doubt.startswith("the table leaves") else doubt
        note = "; ".join(part for part in (printed, doubt, _diverged(each.fixed.values)) if part)
        trained.append(Entry(row, name, _finite(each.fixed.mean), note=note, **_spread(comparison, each)))
    return [*trained, *(Entry(row, letter, None, note=f"not trained: {why}") for letter, why in UNREADABLE.items())]


def of_hours(row: str, times: StepTimes, wanted: Wanted) -> list[Entry]:
    """Entries of Table 4: the hours of one search of each method on one worker."""
    valid, _ = EVALUATED.get(row.partition("/")[0], PHOTOGRAPHS)
    steps = f"base step {times.base:.3g} s, meta step {times.meta:.3g} s, each further candidate {times.more:.3g} s"
    found: list[Entry] = []
    for method in wanted.methods:
        price = times.search(wanted.settings_of(row, method), valid)
        note = "" if found else f"{steps}; {times.note}; on {times.device}"
        found.append(Entry.beside("table4", row, method, price.least / 3600, most=price.most / 3600, note=note))
    return found


def sharpness(named: Mapping[str, Mapping[str, Landscape]]) -> dict[str, Any]:
    """The numbers beside Figures 9 and 10, by row and loss."""
    return {row: {name: asdict(each.sharpness) for name, each in found.items()} for row, found in named.items()}


def figure_files(
    what: str,
    run: Mapping[str, Sequence[PlanPart]],
    finished: Mapping[str, Finished],
    landscapes: Mapping[str, Mapping[str, Landscape]],
    place: Path,
) -> list[Path]:
    """Draw a figure, one file a row, or one for all rows where the paper takes means over them.

    Args:
        what: Its name.
        run: The parts of each row.
        finished: What was run, by folder.
        landscapes: The same.
        place: The folder of the figure.
    """
    if what in ("fig6", "fig8"):
        draw = figures.draw_filters if what == "fig6" else figures.draw_operators
        return saved(draw([finished[parts[-1].folder] for parts in run.values()]), place / what)
    paths = saved(figures.draw_printed(10), place / "printed") if what == "fig7" else []
    for row, parts in run.items():
        file, last = place / slug(row), parts[-1].folder
        if what == "fig5":
            paths += saved(figures.draw_search(finished[last]), file)
        elif what == "fig7":
            paths += saved(figures.draw_found(finished[last], CLASSES.get(parts[-1].dataset, 10)), file)
        elif what == "fig11":
            rates = {part.lr: finished[part.folder].comparison for part in parts if part.lr is not None}
            paths += saved(figures.draw_rates(rates), file)
        else:
            draw_one = figures.draw_contours if what == "fig9" else figures.draw_surfaces
            paths += saved(draw_one(landscapes[last]), file)
    return paths


def _spread(comparison: Comparison, row: Any) -> dict[str, Any]:
    """What stands beside a mean."""
    best = {"best": _finite(row.best.mean), "best_lr": row.best.lr} if len(comparison.lrs) > 1 else {}
    sd = row.fixed.sd
    return {"sd": None if sd is None else _finite(sd), "seeds": len(comparison.seeds), **best}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _diverged(values: Sequence[float]) -> str:
    bad = sum(not isfinite(value) for value in values)
    return f"{bad} of {len(values)} trainings diverged" if bad else ""
