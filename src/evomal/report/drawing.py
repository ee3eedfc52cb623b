"""Figures by name: of losses, of run folders, of comparisons; and their files."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from evomal.analysis import best_so_far, operators_used, outcomes_by_generation, points
from evomal.analysis.gradients import classes_of, counts_of
from evomal.analysis.journal import final_metrics
from evomal.analysis.landscape import landscape
from evomal.analysis.runs import SearchRecord, metrics_of, read_search, search_record
from evomal.comparison.comparison import read_comparison
from evomal.config import TrainSettings
from evomal.expressions import parse
from evomal.foundation.errors import RunFolderError, SettingError, unknown_name
from evomal.foundation.files import write_atomically
from evomal.losses import HANDCRAFTED, USUAL
from evomal.losses.criterion import Criterion
from evomal.losses.handcrafted import get_handcrafted
from evomal.losses.loading import learned_by_name, loss_by_name
from evomal.report import figures
from evomal.report.figures.style import figure_of, interactive_axes, styled
from evomal.report.page.comparing import mean_outcomes
from evomal.report.page.report import comparison_searches, is_comparison
from evomal.search import LearnResult
from evomal.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OF_LOSSES = ("loss", "gradient")
OF_ONE = {"rates": "one comparison or of one run's finals", "finals": "one run's finals"}
OF_FITNESS = ("search", "sizes")
SUFFIXES = (".svg", ".png", ".pdf")
DPI = 160


def draw(what: str, sources: Sequence[str | PathLike[str]], classes: int | None = None) -> "Axes":
    """A figure by name.

    Args:
        what: A name in `FIGURES`.
        sources: For ``loss`` and ``gradient`` losses: names of handcrafted ones, loss files, run folders; for ``rates``
            the folder of a comparison; for all others run folders, or folders of comparisons.
        classes: How many classes there are, for losses for classification alone; None: as many as the task that one of
            them is of, or 10.

    Raises:
        UnknownNameError: There is no such figure, or no such loss.
        EvomalError: A source cannot be read, holds nothing to draw, or cannot be drawn beside the others.
    """
    if what not in FIGURES:
        raise unknown_name("figure", what, FIGURES)
    if not sources:
        raise SettingError(f"figure '{what}' needs something to draw; name it")
    names = [str(source) for source in sources]
    if what in OF_LOSSES:
        saved = {name: learned_by_name(name) for name in names if name not in HANDCRAFTED}
        classes = classes_of(*saved.values(), given=classes)
        return draw_losses(what, dict(_beside(name, saved, classes) for name in names), classes)
    if classes is not None:
        raise SettingError(f"figure '{what}' shows no losses, so no `classes`; leave them out")
    if what in OF_ONE:
        if len(names) != 1:
            raise SettingError(f"figure '{what}' is of {OF_ONE[what]}; give its folder alone")
        if what == "rates" and is_comparison(Path(names[0])):
            return figures.plot_rates(read_comparison(names[0]))
        return _of_finals(what, read_search(names[0]))
    return _of_searches(what, _searches(names))


def _beside(name: str, saved: Mapping[str, Criterion], classes: int) -> tuple[str, Criterion]:
    """A loss by the name that a legend shows; class counts are those that one beside it tells."""
    if name in saved:
        return name, saved[name]
    if not HANDCRAFTED[name].needs_class_counts:
        return name, loss_by_name(name)
    counts = next((each for each in map(counts_of, saved.values()) if each is not None and len(each) == classes), None)
    shown = name if counts else f"{name} (equal classes)"
    return shown, get_handcrafted(name, class_counts=counts or [1] * classes)


def draw_landscape(names: Sequence[str], task: Task, settings: TrainSettings, seed: int = 0) -> "Axes":
    """The task loss around networks that are trained with losses, one after the other (Figures 9 and 10).

    Args:
        names: Names of losses, loss files, run folders.
        task: What the networks are trained on.
        settings: How, with the first of its learning rates.
        seed: Of initialisation, batches and directions.

    Raises:
        EvomalError: A loss cannot be read, or does not fit the task.
    """
    found = {}
    for name in names:
        loss = task.handcrafted(name) if name in HANDCRAFTED else learned_by_name(name)
        task.require_kind(loss.task_type, name)
        found[name] = landscape(task, loss.to(task.device), settings, settings.lrs[0], seed)
    return figures.plot_landscape(found)


def draw_losses(what: str, losses: Mapping[str, Criterion], classes: int | None = None) -> "Axes":
    """Losses, or their slopes, beside one another; see `draw`."""
    drawn = figures.plot_loss if what == "loss" else figures.plot_gradient
    return drawn(losses, classes_of(*losses.values(), given=classes))


def plot_criterion(loss: Criterion, what: str, classes: int | None, ax: "Axes | None") -> "Axes":
    """What `Criterion.plot` does."""
    if what not in OF_LOSSES:
        raise unknown_name("figure of a loss", what, OF_LOSSES)
    name = getattr(loss, "name", None) or "learned"
    beside = USUAL[loss.task_type]
    losses = {str(name): loss} | {beside: loss_by_name(beside)}
    drawn = figures.plot_loss if what == "loss" else figures.plot_gradient
    return drawn(losses, classes_of(loss, given=classes), ax=interactive_axes(ax))


def plot_result(result: LearnResult, what: str, ax: "Axes | None") -> "Axes":
    """What `LearnResult.plot` does."""
    if what in OF_LOSSES:
        # A task loss that is a user's own function is no criterion of ours.
        return plot_criterion(result.loss if isinstance(result.loss, Criterion) else result.learned, what, None, ax)
    known = [name for name in FIGURES if name != "rates"]
    if what not in known:
        raise unknown_name("figure of a result", what, known)
    record = search_record(result)
    if what == "finals":
        return _of_finals(what, record, interactive_axes(ax))
    return _of_searches(what, {record.method: [record]}, interactive_axes(ax))


def require_figure(path: Path) -> Path:
    """The file of a figure, whose name says what it is; known before anything is trained for it.

    Raises:
        SettingError: It ends with none of the formats.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"'{path}' ends with none of {', '.join(SUFFIXES)}; give a name that does")
    return path


def save_figure(axes: "Axes", out: str | PathLike[str]) -> Path:
    """Write a figure; the name says whether as SVG, PNG or PDF.

    Raises:
        SettingError: It is none of them, or cannot be written.
    """
    path, drawn = require_figure(Path(out)), BytesIO()
    with styled():
        figure_of(axes).savefig(drawn, format=path.suffix[1:].lower(), dpi=DPI)
    try:
        write_atomically(path, drawn.getvalue())
    except OSError as error:
        raise SettingError(f"'{path}' cannot be written ({error.strerror}); give another `out`") from None
    return path


def _of_finals(what: str, record: SearchRecord, ax: "Axes | None" = None) -> "Axes":
    if record.verdict is None:
        raise RunFolderError(f"'{record.name}' has no verdict of finals; give a run whose finals are held")
    verdict = record.verdict
    if what == "finals":
        return figures.plot_promise(verdict.places, verdict.metric, ax)
    metrics = final_metrics(record.finals, verdict.steps)
    if not metrics:
        raise RunFolderError(f"'{record.name}' holds no full training of finals; give a run whose finals are held")
    return figures.plot_final_rates(metrics, verdict.places, verdict.metric, ax)


def _searches(names: Sequence[str]) -> dict[str, list[SearchRecord]]:
    """Searches by method, or by contender of a comparison."""
    found: dict[str, list[SearchRecord]] = {}
    for name in names:
        if is_comparison(Path(name)):
            for contender, records in comparison_searches(Path(name)).items():
                found.setdefault(contender, []).extend(records)
        else:
            record = read_search(name)
            found.setdefault(record.method, []).append(record)
    if not any(record.records for records in found.values() for record in records):
        raise RunFolderError(f"'{names[0]}' holds no candidate to draw; give a run that has begun")
    return found


def _of_searches(what: str, found: Mapping[str, Sequence[SearchRecord]], ax: "Axes | None" = None) -> "Axes":
    every = [record for records in found.values() for record in records if record.records]
    metric, *others = metrics_of(every)
    if others and what in OF_FITNESS:
        raise SettingError(
            f"figure '{what}' shows one metric, but these have {metric} and {others[0]}; draw each alone"
        )
    if what == "search":
        curves = {name: [best_so_far(record.records) for record in records] for name, records in found.items()}
        baselines = {record.baseline for record in every}
        return figures.plot_search(curves, metric, baselines.pop() if len(baselines) == 1 else None, ax)
    if what == "filters":
        return figures.plot_filters(mean_outcomes([outcomes_by_generation(record.records) for record in every]), ax)
    trained = [point for record in every for point in points(record.records)]
    if not trained:
        raise RunFolderError(f"'{every[0].name}' holds no candidate that was trained; there is nothing to draw")
    if what == "sizes":
        return figures.plot_sizes(trained, metric, ax)
    return figures.plot_operators(operators_used(parse(point.text) for point in trained if point.text), ax)


FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "loss": "losses against the probability of the true class, or the residual (Figure 7)",
        "gradient": "their slopes",
        "rates": "metric against learning rate, of a comparison or of a run's finals (Figure 11)",
        "finals": "what finals gave against what fitness promised",
        "search": "best fitness against generation, with spread over seeds (Figure 5)",
        "filters": "what became of the candidates of each generation (Figure 6)",
        "operators": "how often each operator occurs in the candidates that were trained (Figure 8)",
        "sizes": "fitness against size, with the Pareto front",
    }
)
"""Every figure by name."""
