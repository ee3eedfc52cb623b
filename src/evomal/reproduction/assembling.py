"""The paper's tables and figures from finished parts: numbers, and files as SVG and PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evomal.analysis import best_so_far, operators_used, outcomes_by_generation
from evomal.analysis.landscape import Landscape
from evomal.analysis.runs import SearchRecord, read_search
from evomal.comparison import Comparison, Contender
from evomal.foundation.errors import RunFolderError
from evomal.losses import SymbolicLoss
from evomal.losses.criterion import Criterion
from evomal.losses.loading import loss_by_name
from evomal.losses.published import PUBLISHED
from evomal.report import figures
from evomal.report.drawing import save_figure
from evomal.report.page.comparing import mean_outcomes
from evomal.reproduction.made_up import CLASSES
from evomal.reproduction.numbers import BASELINE, METHODS, TABLE5, UNREADABLE
from evomal.reproduction.plans import PlanPart, Wanted, evaluated, slug
from evomal.reproduction.step_times import StepTimes
from evomal.reproduction.tables import Entry
from evomal.training import TrainingRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".svg", ".png")
EVOMAL = "evomal"


def saved(axes: "Axes", place: Path) -> list[Path]:
    """A figure as SVG and as PNG, under a name without its ending.

    Raises:
        SettingError: It cannot be written.
    """
    return [save_figure(axes, place.with_name(place.name + ending)) for ending in ENDINGS]


class Finished(NamedTuple):
    """A comparison and the folder of its runs."""

    folder: Path
    comparison: Comparison

    def searches(self, method: str) -> list[SearchRecord]:
        """What the searches of a method left; none if it was not run."""
        found = [each for each in self.comparison.contenders if each.name == method]
        return [read_search((self.folder / one.loss_file).parent) for each in found for one in each.searches]

    def of_evomal(self, what: str) -> list[SearchRecord]:
        """Those of EvoMAL.

        Raises:
            RunFolderError: It was not run.
        """
        records = self.searches(EVOMAL)
        if not records:
            raise RunFolderError(f"figure '{what}' is of EvoMAL's searches; add evomal to the methods")
        return records


def draw_search(finished: Finished) -> "Axes":
    """Figure 5: best fitness against generation, for the methods that have generations."""
    records = {name: finished.searches(name) for name in METHODS if name not in (BASELINE, "ml3")}
    curves = {METHODS[name]: [best_so_far(each.records) for each in found] for name, found in records.items() if found}
    if not curves:
        raise RunFolderError("figure 'fig5' needs a search with generations; add taylorglo, gplfl or evomal")
    every = [each for found in records.values() for each in found]
    baselines = {record.baseline for record in every}
    return figures.plot_search(curves, every[0].metric, baselines.pop() if len(baselines) == 1 else None)


def draw_filters(every: Sequence[Finished]) -> "Axes":
    """Figure 6: what became of EvoMAL's candidates, the mean over all tasks and seeds."""
    records = [record for each in every for record in each.of_evomal("fig6")]
    return figures.plot_filters(mean_outcomes([outcomes_by_generation(record.records) for record in records]))


def draw_found(finished: Finished, classes: int) -> "Axes":
    """Figure 7: the losses that EvoMAL found, one a seed, beside the task loss."""
    losses: dict[str, Criterion] = {
        f"seed {record.seed}": record.loss for record in finished.of_evomal("fig7") if record.loss is not None
    }
    return figures.plot_loss({BASELINE: loss_by_name(BASELINE)} | losses, classes)


def draw_printed(classes: int) -> "Axes":
    """Figure 7 from the formulas of Table 5, without their coefficients."""
    losses = {name: loss_by_name(name) for name in TABLE5}
    return figures.plot_loss({BASELINE: loss_by_name(BASELINE)} | losses, classes)


def draw_operators(every: Sequence[Finished]) -> "Axes":
    """Figure 8: operators of the best loss of every search."""
    losses = [record.loss for each in every for record in each.of_evomal("fig8")]
    expressions = (loss.expression for loss in losses if isinstance(loss, SymbolicLoss))
    return figures.plot_operators(operators_used(expressions))


def draw_contours(landscapes: Mapping[str, Landscape]) -> "Axes":
    """Figure 9: on the same levels and axes for all losses."""
    return figures.plot_landscape(landscapes)


def draw_surfaces(landscapes: Mapping[str, Landscape]) -> "Axes":
    """Figure 10: over the same axes for all losses."""
    return figures.plot_surface(landscapes)


def draw_rates(comparisons: Mapping[float, Comparison]) -> "Axes":
    """Figure 11: both losses at every rate, EvoMAL's searched for at each."""
    first = next(iter(comparisons.values()))
    names = [each.name for each in first.contenders]
    joined = tuple(
        Contender(name, first.contenders[place].kind, (), tuple(_runs(comparisons, place)))
        for place, name in enumerate(names)
    )
    rates = tuple(sorted(comparisons))
    return figures.plot_rates(
        Comparison(first.task, first.metric, first.baseline, rates[0], rates, first.seeds, joined, {})
    )


def _runs(comparisons: Mapping[float, Comparison], place: int) -> list[TrainingRun]:
    """The trainings of a contender, each at the rate that its loss was searched for."""
    return [run for lr, each in comparisons.items() for run in each.contenders[place].runs if run.lr == lr]


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
    valid, _ = evaluated(row)
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
        draw = draw_filters if what == "fig6" else draw_operators
        return saved(draw([finished[parts[-1].folder] for parts in run.values()]), place / what)
    paths = saved(draw_printed(10), place / "printed") if what == "fig7" else []
    for row, parts in run.items():
        file, last = place / slug(row), parts[-1].folder
        if what == "fig5":
            paths += saved(draw_search(finished[last]), file)
        elif what == "fig7":
            paths += saved(draw_found(finished[last], CLASSES.get(parts[-1].dataset, 10)), file)
        elif what == "fig11":
            rates = {part.lr: finished[part.folder].comparison for part in parts if part.lr is not None}
            paths += saved(draw_rates(rates), file)
        else:
            draw_one = draw_contours if what == "fig9" else draw_surfaces
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
