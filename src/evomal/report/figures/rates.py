"""Error against learning rate, as a figure (Figure 11)."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from evomal.comparison import Comparison
from evomal.report.figures.style import hover, legend, look, named, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 8.0  # ratio of the greatest mean to the least from which the scale is logarithmic
Told = tuple[list[float], list[float], list[str]]
"""Points of a figure and what is said of each."""


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
    with styled():
        ax = new_axes(ax)
        count, told = len(comparison.contenders), []
        for place, contender in enumerate(comparison.contenders):
            values = {lr: contender.values(lr, comparison.seeds) for lr in sorted(comparison.lrs)}
            best, style = contender.best_rate(comparison.lrs), look(place, marked=True)
            # Side by side, so that error bars at one rate do not hide one another.
            told.append(draw_rates(ax, contender.name, values, best, style, 1.03 ** (place - (count - 1) / 2)))
        frame_rates(ax, comparison.lrs, told)
        seeds = len(comparison.seeds)
        over = f", mean ± sd over {seeds} seeds" if seeds > 1 else ""
        ax.set_ylabel(f"test {named(comparison.metric)}{over}")
        legend(ax)
        for x, means, texts in told:
            hover(ax, x, means, texts)
    return ax


def draw_rates(
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
    numbers = zip(finite, means, spread, strict=True)
    return x, means, [f"{label} at {lr:g}: {mean:.4f} ± {sd:.4f}" for lr, mean, sd in numbers]


def frame_rates(ax: "Axes", lrs: Sequence[float], told: Sequence[Told]) -> None:
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
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    elif reached and min(reached) >= 0 and ax.get_ylim()[0] < 0:
        ax.set_ylim(bottom=0.0)  # an error bar reaches below what an error rate can be
    ax.set_xlabel("base learning rate α (filled: its best)")
