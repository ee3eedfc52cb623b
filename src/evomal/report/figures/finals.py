"""Finals, as figures: every finalist at its rates (Figure 11), and what fitness had promised."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evomal.report.figures.rates import draw_rates, frame_rates
from evomal.report.figures.style import FAINT, hover, legend, look, named, new_axes, styled
from evomal.search.verdict import Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8  # losses that a figure can tell apart at a glance


def plot_final_rates(
    metrics: Mapping[str, Mapping[float, Sequence[float]]],
    places: Sequence[Place],
    metric: str = "metric",
    ax: "Axes | None" = None,
) -> "Axes":
    """The metric of finalists against the learning rate, mean ± standard deviation over splits.

    Args:
        metrics: From `evomal.analysis.finals.final_metrics`.
        places: All entrants by place; the first of them are drawn.
        metric: What is measured.
        ax: Where to draw; None makes a figure.

    Example:
        >>> place = Place(name="focal", kind="handcrafted", fitness=None, lr=0.1, lrs=(0.1,), folds=2, race=0.2,
        ...               retest=None, sd=None)
        >>> ax = plot_final_rates({"focal": {0.1: [0.1, 0.3], 1.0: [0.5, 0.5]}}, [place])
        >>> [round(float(value), 1) for value in ax.containers[0][0].get_ydata()]
        [0.2, 0.5]
    """
    with styled():
        ax, told = new_axes(ax), []
        shown = [place for place in places if metrics.get(place.name)][:MOST]
        for number, place in enumerate(shown):
            shift = 1.03 ** (number - (len(shown) - 1) / 2)
            told.append(draw_rates(ax, place.name, metrics[place.name], place.lr, look(number, marked=True), shift))
        frame_rates(ax, sorted({lr for place in shown for lr in metrics[place.name]}), told)
        ax.set_ylabel(f"{named(metric)} on held-out splits, mean ± sd")
        legend(ax)
        for x, means, texts in told:
            hover(ax, x, means, texts)
    return ax


def plot_promise(places: Sequence[Place], metric: str = "metric", ax: "Axes | None" = None) -> "Axes":
    """Finals against fitness, for every finalist that has both: a point on the line kept what its fitness promised.

    Args:
        places: All entrants by place.
        metric: What is measured.
        ax: Where to draw; None makes a figure.
    """
    both = [(place, place.fitness, place.race) for place in places]
    known = [(place, x, y) for place, x, y in both if x is not None and y is not None]
    with styled():
        ax = new_axes(ax)
        for number, kind in enumerate(dict.fromkeys(place.kind for place, _, _ in known)):
            points = [(x, y) for place, x, y in known if place.kind == kind]
            style = look(number, marked=True) | {"linestyle": ""}
            label = {"learned": "found by the search", "task": "task loss"}.get(kind, str(kind))
            ax.plot([x for x, _ in points], [y for _, y in points], label=label, **style)
        least = min((value for _, x, y in known for value in (x, y)), default=0.0)
        ax.axline((least, least), slope=1, color=FAINT, linestyle=":", linewidth=1)
        ax.set_xlabel(f"fitness: {named(metric)} after partial training")
        ax.set_ylabel(f"finals: {named(metric)} in full length, at its best rate")
        legend(ax)
        texts = [f"{named(place.name)}: fitness {x:.4g}, finals {y:.4g}" for place, x, y in known]
        hover(ax, [x for _, x, _ in known], [y for _, _, y in known], texts)
    return ax
