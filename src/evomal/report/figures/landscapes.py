"""Loss landscapes, as contours beside one another (Figures 9 and 10)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evomal.analysis.landscape import Landscape
from evomal.foundation.errors import SettingError
from evomal.report.figures.style import PAPER, named, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 12


def plot_landscape(landscapes: Mapping[str, Landscape]) -> "Axes":
    """The task loss around networks that were trained with different losses, on the same levels.

    Args:
        landscapes: By the name of the loss.

    Returns:
        The first axes; the others are beside them in the same figure.

    Raises:
        SettingError: No landscape has a finite value.

    Example:
        >>> flat = Landscape((-1.0, 0.0, 1.0), ((3.0, 2.0, 3.0), (2.0, 1.0, 2.0), (3.0, 2.0, 3.0)), None)
        >>> plot_landscape({"mse": flat}).get_title("left")
        'mse'
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    every = (value for each in landscapes.values() for row in each.values for value in row)
    finite = [value for value in every if 0 < value < math.inf]
    if not finite:
        raise SettingError("the task loss is finite nowhere around these networks; train them at a smaller rate")
    low, high = min(finite), max(max(finite), min(finite) * 1.01)
    levels = [low * (high / low) ** (step / LEVELS) for step in range(LEVELS + 1)]
    with styled():
        figure = Figure(figsize=(1.0 + 3.1 * len(landscapes), 3.6), layout="constrained")
        row = figure.subplots(1, len(landscapes), squeeze=False, sharey=True)[0]
        for axes, (name, each) in zip(row, landscapes.items(), strict=True):
            values = [[_clipped(value, low, high) for value in line] for line in each.values]
            norm = LogNorm(low, high)
            colours = axes.contourf(each.steps, each.steps, values, levels=levels, norm=norm, cmap="cividis")
            lines = axes.contour(each.steps, each.steps, values, levels=levels[1:-1:2], colors=PAPER, linewidths=0.7)
            axes.clabel(lines, fmt=lambda level: f"{level:.2g}", fontsize=7)
            axes.plot([0], [0], marker="x", color="white", markersize=8, markeredgewidth=2)
            axes.set_title(named(name))
            axes.set_aspect("equal")
            axes.set_xlabel("first direction (lengths of filters)")
            axes.grid(visible=False)
        row[0].set_ylabel("second direction")
        figure.colorbar(colours, ax=list(row), label="task loss, training data", format="%.2g")
    first: Axes = row[0]
    return first


def _clipped(value: float, low: float, high: float) -> float:
    """A value within the colours; one that is not finite is the highest."""
    return min(max(value, low), high) if math.isfinite(value) else high
