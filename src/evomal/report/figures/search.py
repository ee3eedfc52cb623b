"""How searches went, as figures: fitness, filters, operators, sizes (Figures 5, 6 and 8)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from evomal.analysis import Point, pareto_front
from evomal.report.figures.style import (
    FAINT,
    PAPER,
    SERIES,
    hover,
    label_height,
    legend,
    look,
    named,
    new_axes,
    styled,
    whole_numbers,
)
from evomal.report.tables import OUTCOMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HATCHES = ("", "//", "..", "\\\\", "xx", "+", "o")
MEANINGS = {
    "trained": "partial training",
    "equivalent": "same gradients: fitness taken over",
    "dropped": "dropped after the heat",
    "rejected": "rejected",
    "failed": "failed",
    "archived": "known already",
    "elite": "elite",
}


def plot_search(
    curves: Mapping[str, Sequence[Sequence[float | None]]],
    metric: str = "fitness",
    baseline: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """The best fitness so far against the generation (Figure 5): mean, and one standard deviation over seeds.

    Args:
        curves: For each method, one sequence a seed; None where nothing was trained yet.
        metric: What the fitness is.
        baseline: The task loss's metric after the same training; None draws none.
        ax: Where to draw; None makes a figure.

    Example:
        >>> ax = plot_search({"evomal": [[0.5, 0.4], [0.7, 0.2]]})
        >>> [round(float(value), 3) for value in ax.lines[0].get_ydata()]
        [0.6, 0.3]
    """
    with styled():
        ax, told = new_axes(ax), []
        for place, (name, seeds) in enumerate(curves.items()):
            x, means, spread = _spread(seeds)
            label = named(name) if len(seeds) == 1 else f"{named(name)}, mean ± sd over {len(seeds)} seeds"
            ax.plot(x, means, label=label, **look(place, marked=True))
            if any(spread):
                low = [mean - each for mean, each in zip(means, spread, strict=True)]
                high = [mean + each for mean, each in zip(means, spread, strict=True)]
                ax.fill_between(x, low, high, color=SERIES[place % len(SERIES)], alpha=0.18, linewidth=0)
            texts = [f"{named(name)}, generation {at:g}: {mean:.4g}" for at, mean in zip(x, means, strict=True)]
            told.append((x, means, texts))
        if baseline is not None:
            ax.axhline(baseline, color=FAINT, linestyle="--", label="task loss, same training")
        ax.set_xlabel("generation")
        label_height(ax, f"best {named(metric)} so far (partial training)")
        whole_numbers(ax)
        legend(ax)
        for x, means, texts in told:
            hover(ax, x, means, texts)
    return ax


def _spread(seeds: Sequence[Sequence[float | None]]) -> tuple[list[float], list[float], list[float]]:
    """Generations from 1, and mean and standard deviation over the seeds that know a fitness by then."""
    known: list[tuple[int, list[float]]] = []
    for at in range(max(map(len, seeds), default=0)):
        values = [value for seed in seeds if at < len(seed) and (value := seed[at]) is not None]
        if values:
            known.append((at + 1, values))
    means = [fmean(values) for _, values in known]
    spread = [stdev(values) if len(values) > 1 else 0.0 for _, values in known]
    return [float(at) for at, _ in known], means, spread


def plot_filters(generations: Sequence[Mapping[str, float]], ax: "Axes | None" = None) -> "Axes":
    """What became of the members of each generation: what filters and archive saved (Figure 6).

    Args:
        generations: How many ended in which way, for each generation; means over searches will do, too.
        ax: Where to draw; None makes a figure.

    Example:
        >>> ax = plot_filters([{"trained": 3, "rejected": 7}, {"trained": 5, "elite": 5}])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['partial training', 'rejected', 'elite']
    """
    present = [name for name in OUTCOMES if any(counts.get(name) for counts in generations)]
    others = sorted({name for counts in generations for name in counts} - set(OUTCOMES))
    with styled():
        ax = new_axes(ax)
        x = [float(number) for number in range(1, len(generations) + 1)]
        base, told = [0.0] * len(x), []
        for place, name in enumerate([*present, *others]):
            heights = [float(counts.get(name, 0)) for counts in generations]
            label = MEANINGS.get(name, named(name))
            bars = ax.bar(x, heights, bottom=base, width=0.85, label=label, color=SERIES[place % len(SERIES)])
            for bar in bars:
                bar.set(hatch=HATCHES[place % len(HATCHES)], edgecolor=PAPER, linewidth=0.4)
            for at, low, height in zip(x, base, heights, strict=True):
                if height:
                    told.append((at, low + height / 2, f"generation {at:g}: {height:.3g} {label}"))
            base = [low + height for low, height in zip(base, heights, strict=True)]
        ax.set_xlabel("generation")
        ax.set_ylabel("candidates")
        ax.set_ylim(0, max(base, default=1.0) or 1.0)
        whole_numbers(ax)
        ax.grid(visible=False, axis="x")
        ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        hover(ax, [at for at, _, _ in told], [y for _, y, _ in told], [text for _, _, text in told])
    return ax


def plot_operators(counts: Mapping[str, int], ax: "Axes | None" = None) -> "Axes":
    """How often each operator occurs in formulas (Figure 8).

    Args:
        counts: Of every operator.
        ax: Where to draw; None makes a figure.

    Example:
        >>> ax = plot_operators({"add": 2, "sub": 5})
        >>> [label.get_text() for label in ax.get_xticklabels()]
        ['sub', 'add']
    """
    ranked = Counter(dict(counts)).most_common()
    names, heights = [name for name, _ in ranked], [float(count) for _, count in ranked]
    with styled():
        ax = new_axes(ax)
        ax.bar(names, heights, color=SERIES[0], width=0.75)
        ax.set_ylabel("occurrences")
        ax.set_xlabel("operator")
        ax.tick_params(axis="x", rotation=45)
        ax.grid(visible=False, axis="x")
        places = [float(place) for place in range(len(names))]
        hover(ax, places, [height / 2 for height in heights], [f"{name}: {count}" for name, count in ranked])
    return ax


def plot_sizes(candidates: Sequence[Point], metric: str = "fitness", ax: "Axes | None" = None) -> "Axes":
    """Fitness against size of every candidate that was trained, with those that nothing smaller beats (Pareto front).

    Args:
        candidates: From `evomal.analysis.points`.
        metric: What the fitness is.
        ax: Where to draw; None makes a figure.

    Example:
        >>> ax = plot_sizes([Point(4, 0.5, (0, 0), "square(sub(y, f))"), Point(9, 0.7, (0, 1), "")])
        >>> [list(map(float, line.get_xdata())) for line in ax.lines if line.get_label() == "Pareto front"]
        [[4.0]]
    """
    front = pareto_front(candidates)
    sizes, values = [float(point.size) for point in candidates], [point.fitness for point in candidates]
    with styled():
        ax = new_axes(ax)
        ax.scatter(sizes, values, s=22, color=FAINT, alpha=0.7, linewidths=0, label="trained candidate")
        line = ([float(point.size) for point in front], [point.fitness for point in front])
        ax.step(*line, where="post", label="Pareto front", **look(1, marked=True))
        ax.set_xlabel("size (nodes of the formula, or coefficients)")
        label_height(ax, f"{named(metric)} (partial training)")
        whole_numbers(ax)
        legend(ax)
        texts = [f"{point.fitness:.4g}, size {point.size}: {point.text}"[:200] for point in candidates]
        hover(ax, sizes, values, texts)
    return ax
