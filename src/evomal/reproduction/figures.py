"""The paper's figures from the runs of a reproduction, as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evomal.analysis import best_so_far, operators_used, outcomes_by_generation
from evomal.analysis.landscape import Landscape
from evomal.analysis.runs import SearchRecord, read_search
from evomal.comparison import Comparison, Contender
from evomal.foundation.errors import RunFolderError
from evomal.losses import SymbolicLoss
from evomal.losses.criterion import Criterion
from evomal.losses.loading import loss_by_name
from evomal.report import figures
from evomal.report.drawing import save_figure
from evomal.report.page.comparing import mean_outcomes
from evomal.reproduction.numbers import BASELINE, METHODS, TABLE5
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
