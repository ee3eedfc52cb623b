"""Loss landscapes, as contours beside one another (Figures 9 and 10)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evomal.analysis.landscape import Landscape
from evomal.foundation.errors import SettingError
from evomal.report.figures.style import PAPER, named, styled

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

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

    low, high = _limits(landscapes)
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


def plot_surface(landscapes: Mapping[str, Landscape]) -> "Axes":
    """The same as surfaces (Figure 10): the logarithm of the task loss as height, over the same axes for all losses.

    Args:
        landscapes: By the name of the loss.

    Returns:
        The first axes; the others are beside them in the same figure.

    Raises:
        SettingError: No landscape has a finite value.

    Example:
        >>> flat = Landscape((-1.0, 0.0, 1.0), ((3.0, 2.0, 3.0), (2.0, 1.0, 2.0), (3.0, 2.0, 3.0)), None)
        >>> plot_surface({"mse": flat, "huber": flat}).get_zlim() == plot_surface({"mse": flat}).get_zlim()
        True
    """
    from matplotlib.figure import Figure

    low, high = (math.log10(limit) for limit in _limits(landscapes))
    with styled():
        figure, drawn = Figure(figsize=(0.6 + 3.6 * len(landscapes), 3.8), layout="constrained"), []
        for place, (name, each) in enumerate(landscapes.items(), start=1):
            axes: Any = figure.add_subplot(1, len(landscapes), place, projection="3d")  # matplotlib's are untyped
            x, y = _grid(each.steps)
            height = [[math.log10(_clipped(value, 10**low, 10**high)) for value in line] for line in each.values]
            axes.plot_surface(*_arrays(x, y, height), cmap="cividis", vmin=low, vmax=high, rstride=1, cstride=1)
            axes.set_zlim(low, high)
            axes.set_box_aspect(None, zoom=0.84)  # the layout leaves no room for labels of three axes
            axes.set_title(named(name))
            axes.set_xlabel("first direction")
            axes.set_ylabel("second direction")
            axes.set_zlabel("log10 of the task loss")
            drawn.append(axes)
    first: Axes = drawn[0]
    return first


def _grid(steps: Sequence[float]) -> tuple[list[list[float]], list[list[float]]]:
    return [list(steps) for _ in steps], [[step] * len(steps) for step in steps]


def _arrays(*lines: list[list[float]]) -> "list[NDArray[np.float64]]":
    """Matplotlib's surfaces take arrays alone."""
    import numpy as np

    return [np.array(each) for each in lines]


def _limits(landscapes: Mapping[str, Landscape]) -> tuple[float, float]:
    """The least and the greatest value, the same for all."""
    every = (value for each in landscapes.values() for row in each.values for value in row)
    finite = [value for value in every if 0 < value < math.inf]
    if not finite:
        raise SettingError("the task loss is finite nowhere around these networks; train them at a smaller rate")
    return min(finite), max(max(finite), min(finite) * 1.01)


def _clipped(value: float, low: float, high: float) -> float:
    """A value within the colours; one that is not finite is the highest."""
    return min(max(value, low), high) if math.isfinite(value) else high
