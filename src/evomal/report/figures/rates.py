"""Error against learning rate, as figures (Figure 11): of comparisons and of finals; and what fitness had promised."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from evomal.comparison import Comparison
from evomal.foundation.serialization import places
from evomal.report.figures.style import FAINT, hover, label_height, legend, look, named, new_axes, styled
from evomal.search.verdict import Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST = 8  # losses that a figure can tell apart at a glance
WIDE = 8.0  # ratio of the greatest mean to the least from which the scale is logarithmic
Told = tuple[list[float], list[float], list[str]]
"""Points of a figure and what is said of each."""
Curve = tuple[str, Mapping[float, Sequence[float]], float | None]
"""A loss, its metrics at each rate, and its best rate."""


def plot_rates(comparison: Comparison, ax: "Axes | None" = None) -> "Axes":
    """The test metric of every loss at every learning rate, mean ± standard deviation over seeds (Figure 11).

    A rate at which a training diverged has no point; the rate that validation chose has a filled one.

    Args:
        comparison: The comparison.
        ax: Where to draw; None makes a figure.

    Example:
        >>> from evomal.comparison import Contender
        >>> from evomal.training import TrainingRun
        >>> runs = tuple(TrainingRun(lr, seed, 0.2, lr + seed, 9, 1.0) for lr in (0.1, 1.0) for seed in (0, 1))
        >>> focal = Contender("focal", "handcrafted", (), runs)
        >>> ax = plot_rates(Comparison("iris", "error_rate", "focal", 0.1, (0.1, 1.0), (0, 1), (focal,), {}))
        >>> ax.get_ylabel()
        'test error_rate, mean ± sd over 2 seeds'
    """
    curves = [
        (
            each.name,
            {lr: each.values(lr, comparison.seeds) for lr in sorted(comparison.lrs)},
            each.best_rate(comparison.lrs),
        )
        for each in comparison.contenders
    ]
    seeds = len(comparison.seeds)
    over = f", mean ± sd over {seeds} seeds" if seeds > 1 else ""
    return _drawn(curves, comparison.lrs, f"test {named(comparison.metric)}{over}", ax)


def plot_final_rates(
    metrics: Mapping[str, Mapping[float, Sequence[float]]],
    places: Sequence[Place],
    metric: str = "metric",
    ax: "Axes | None" = None,
) -> "Axes":
    """The metric of finalists against the learning rate, mean ± standard deviation over splits.

    Args:
        metrics: From `evomal.analysis.journal.final_metrics`.
        places: All entrants by place; those of the re-test are drawn, or the first of all where there was none.
        metric: What is measured.
        ax: Where to draw; None makes a figure.

    Example:
        >>> place = Place(name="focal", kind="handcrafted", fitness=None, lr=0.1, lrs=(0.1,), folds=2, race=0.2,
        ...               retest=None, sd=None)
        >>> ax = plot_final_rates({"focal": {0.1: [0.1, 0.3], 1.0: [0.5, 0.5]}}, [place])
        >>> [round(float(value), 1) for value in ax.containers[0][0].get_ydata()]
        [0.2, 0.5]
    """
    trained = [place for place in places if metrics.get(place.name)]
    # Whoever left before has a point or two from other folds than the rest.
    shown = ([place for place in trained if place.retest is not None] or trained)[:MOST]
    curves = [(place.name, metrics[place.name], place.lr) for place in shown]
    lrs = sorted({lr for _, values, _ in curves for lr in values})
    return _drawn(curves, lrs, f"{named(metric)} on held-out splits, mean ± sd", ax)


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
        label_height(ax, f"finals: {named(metric)} in full length, at its best rate")
        legend(ax)
        texts = [f"{named(place.name)}: fitness {x:.4g}, finals {y:.4g}" for place, x, y in known]
        hover(ax, [x for _, x, _ in known], [y for _, _, y in known], texts)
    return ax


def _drawn(curves: Sequence[Curve], lrs: Sequence[float], measured: str, ax: "Axes | None") -> "Axes":
    """Losses side by side, so that error bars at one rate do not hide one another."""
    with styled():
        ax, middle = new_axes(ax), (len(curves) - 1) / 2
        told = [
            _draw(ax, name, values, best, look(place, marked=True), 1.03 ** (place - middle))
            for place, (name, values, best) in enumerate(curves)
        ]
        _frame(ax, lrs, told)
        label_height(ax, measured)
        legend(ax)
        for x, means, texts in told:
            hover(ax, x, means, texts)
    return ax


def _draw(
    ax: "Axes",
    name: str,
    values: Mapping[float, Sequence[float]],
    best: float | None,
    style: dict[str, Any],
    shift: float,
) -> Told:
    """One loss at all its rates, the best one filled; what is to be told of its points."""
    finite = {lr: list(tests) for lr, tests in values.items() if tests and all(map(math.isfinite, tests))}
    means = [fmean(tests) for tests in finite.values()]
    spread = [stdev(tests) if len(tests) > 1 else 0.0 for tests in finite.values()]
    x = [lr * shift for lr in finite]
    label = named(name)
    ax.errorbar(x, means, yerr=spread, capsize=2.5, elinewidth=0.9, markerfacecolor="none", label=label, **style)
    chosen = [(here, mean) for here, lr, mean in zip(x, finite, means, strict=True) if lr == best]
    filled = {"marker": style["marker"], "color": style["color"], "linestyle": "", "label": "_chosen"}
    ax.plot([here for here, _ in chosen], [mean for _, mean in chosen], **filled)
    numbers, digits = zip(finite, means, spread, strict=True), places(means)
    return x, means, [f"{label} at {lr:g}: {mean:.{digits}f} ± {sd:.{digits}f}" for lr, mean, sd in numbers]


def _frame(ax: "Axes", lrs: Sequence[float], told: Sequence[Told]) -> None:
    """Axes of rates and of a metric that is never below 0 where no mean is."""
    from matplotlib.ticker import FuncFormatter

    if len(lrs) > 1:
        ax.set_xscale("log")
        ax.set_xticks(sorted(lrs), [f"{lr:.3g}" for lr in sorted(lrs)])
        ax.minorticks_off()
    reached = [mean for _, means, _ in told for mean in means]
    if reached and min(reached) > 0 and max(reached) > WIDE * min(reached):
        # A rate that is too high must not flatten what happens at the others.
        ax.set_yscale("log", nonpositive="clip")
        ax.set_ylim(min(reached) / 1.5, max(reached) * 1.5)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif reached and min(reached) >= 0 and ax.get_ylim()[0] < 0:
        ax.set_ylim(bottom=0.0)  # an error bar reaches below what an error rate can be
    ax.set_xlabel("base learning rate α (filled: its best)")
