"""What losses do, as figures: value and slope (Figure 7), and landscapes of what they trained (Figures 9 and 10)."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from evomal.analysis import Curve, class_curve, residual_curve
from evomal.analysis.gradients import CLASSES
from evomal.analysis.landscape import Landscape
from evomal.foundation.errors import SettingError
from evomal.losses.criterion import Criterion, told_progress
from evomal.report.figures.style import FAINT, PAPER, hover, legend, look, named, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Which = Literal["loss", "gradient"]
EVERY = 12  # points of a curve between two that tell their values
ROOM = 0.06
OTHERS = 4.0  # times the span of the others, at most, for a curve above or below them
LEVELS = 12  # of the contours of a landscape


def plot_loss(
    losses: Mapping[str, Criterion],
    classes: int = CLASSES,
    of: Literal["true", "other"] = "true",
    ax: "Axes | None" = None,
) -> "Axes":
    """Losses against the probability of the true class (or of one wrong class), or against the residual.

    One that changes over a training is drawn as it is at the beginning and at the end. Each is drawn with height 0 and
    slope 1 where training starts: a constant and a learning rate make no difference.

    Args:
        losses: By the name that the legend shows; all of one task type.
        classes: How many classes there are.
        of: Whose probability the figure is drawn against; of no account in regression.
        ax: Where to draw; None makes a figure.

    Returns:
        The axes.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> ax = plot_loss({name: HandcraftedLoss(name) for name in ("cross_entropy", "focal")})
        >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
        ('probability of the true class', ['cross_entropy', 'focal'])
    """
    return _plot(losses, "loss", classes, of, ax)


def plot_gradient(
    losses: Mapping[str, Criterion],
    classes: int = CLASSES,
    of: Literal["true", "other"] = "true",
    ax: "Axes | None" = None,
) -> "Axes":
    """Slopes of losses with respect to the logit of the class, or to the prediction; see `plot_loss`."""
    return _plot(losses, "gradient", classes, of, ax)


def _plot(
    losses: Mapping[str, Criterion], which: Which, classes: int, of: Literal["true", "other"], ax: "Axes | None"
) -> "Axes":
    kinds = {loss.task_type for loss in losses.values()}
    if len(kinds) != 1:
        raise SettingError("a figure shows losses of one task type; give those for classification or for regression")
    classification = kinds != {"regression"}
    classes = 2 if kinds == {"multilabel"} else classes  # a label and its absence
    with styled():
        ax = new_axes(ax)
        drawn = []
        for place, (name, loss, share) in enumerate(_over_training(losses)):
            with told_progress(loss) as tell:
                tell(share)
                curve = (class_curve(loss, classes, of) if classification else residual_curve(loss)).normalised()
            values = curve.loss if which == "loss" else curve.gradient
            ax.plot(curve.x, values, label=named(name), **look(place))
            drawn.append((name, curve, values))
        _frame(ax, classification, which, of, drawn[0][1])
        ax.set_ylim(*_limits([values for _, _, values in drawn]))
        legend(ax)
        for name, curve, values in drawn:
            texts = [f"{named(name)}: {value:.3g} at {x:.3g}" for x, value in zip(curve.x, values, strict=True)]
            hover(ax, curve.x[::EVERY], values[::EVERY], texts[::EVERY])
    return ax


def _over_training(losses: Mapping[str, Criterion]) -> Iterator[tuple[str, Criterion, float]]:
    """What is drawn: names, losses, and the progress of a training."""
    for name, loss in losses.items():
        if loss.sees_progress:
            yield f"{name}, at the beginning", loss, 0.0
            yield f"{name}, at the end", loss, 1.0
        else:
            yield name, loss, 1.0


def _frame(ax: "Axes", classification: bool, which: Which, of: Literal["true", "other"], curve: Curve) -> None:
    if classification:
        whose = "the true class" if of == "true" else "one wrong class"
        ax.set_xlabel(f"probability of {whose}")
        ax.set_ylabel(
            "loss (slope 1, height 0 at the start)" if which == "loss" else "slope in the logit (1 at the start)"
        )
        ax.axvline(curve.start, color=FAINT, linewidth=0.9, linestyle=":")
        ax.annotate(
            "start",
            (curve.start, 1.0),
            xycoords=("data", "axes fraction"),
            color=FAINT,
            fontsize=8,
            xytext=(3, -9),
            textcoords="offset points",
        )
    else:
        ax.set_xlabel("residual f(x) - y, at y = 0 (standard deviations of the targets)")
        ax.set_ylabel("loss (slope 1 at residual 1)" if which == "loss" else "slope in f(x) (1 at residual 1)")
    if which == "gradient":
        ax.axhline(0.0, color=FAINT, linewidth=0.9)


def _limits(curves: list[tuple[float, ...]]) -> tuple[float, float]:
    """From what curves show but for their steepest ends; one that is far larger than all others is cut off."""
    inner = [[value for value in values[4:-4] if abs(value) < 1e30] or [0.0] for values in curves]
    lows, highs = sorted(min(values) for values in inner), sorted((max(values) for values in inner), reverse=True)
    low, high = lows[0], highs[0]
    if len(curves) > 1:
        span = max(highs[1] - lows[1], 1e-9)
        low, high = max(low, lows[1] - OTHERS * span), min(high, highs[1] + OTHERS * span)
    room = ROOM * (high - low) or 1.0
    return low - room, high + room


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

    low, high = _extent(landscapes)
    levels = [low * (high / low) ** (step / LEVELS) for step in range(LEVELS + 1)]
    with styled():
        row = _beside_one_another(landscapes, (1.0 + 3.1 * len(landscapes), 3.6), sharey=True)
        for axes, each in zip(row, landscapes.values(), strict=True):
            values = [[_clipped(value, low, high) for value in line] for line in each.values]
            norm = LogNorm(low, high)
            colours = axes.contourf(each.steps, each.steps, values, levels=levels, norm=norm, cmap="cividis")
            lines = axes.contour(each.steps, each.steps, values, levels=levels[1:-1:2], colors=PAPER, linewidths=0.7)
            axes.clabel(lines, fmt=lambda level: f"{level:.2g}", fontsize=7)
            axes.plot([0], [0], marker="x", color="white", markersize=8, markeredgewidth=2)
            axes.set_aspect("equal")
            axes.set_xlabel("first direction (lengths of filters)")
            axes.grid(visible=False)
        row[0].set_ylabel("second direction")
        row[0].figure.colorbar(colours, ax=row, label="task loss, training data", format="%.2g")
    first: Axes = row[0]
    return first


def plot_surface(landscapes: Mapping[str, Landscape]) -> "Axes":
    """The same as surfaces (Figure 10): the logarithm of the task loss as height, over the same axes for all losses.

    Example:
        >>> flat = Landscape((-1.0, 0.0, 1.0), ((3.0, 2.0, 3.0), (2.0, 1.0, 2.0), (3.0, 2.0, 3.0)), None)
        >>> plot_surface({"mse": flat, "huber": flat}).get_zlim() == plot_surface({"mse": flat}).get_zlim()
        True
    """
    import numpy as np

    low, high = (math.log10(limit) for limit in _extent(landscapes))
    with styled():
        row = _beside_one_another(landscapes, (0.6 + 3.6 * len(landscapes), 3.8), subplot_kw={"projection": "3d"})
        for axes, each in zip(row, landscapes.values(), strict=True):
            height = [[math.log10(_clipped(value, 10**low, 10**high)) for value in line] for line in each.values]
            grid = np.meshgrid(each.steps, each.steps)
            axes.plot_surface(*grid, np.array(height), cmap="cividis", vmin=low, vmax=high, rstride=1, cstride=1)
            axes.set_zlim(low, high)
            axes.set_box_aspect(None, zoom=0.84)  # the layout leaves no room for labels of three axes
            axes.set_xlabel("first direction")
            axes.set_ylabel("second direction")
            axes.set_zlabel("log10 of the task loss")
    first: Axes = row[0]
    return first


def _beside_one_another(landscapes: Mapping[str, Landscape], size: tuple[float, float], **kind: Any) -> list[Any]:
    """Axes for each loss under its name, in one figure."""
    from matplotlib.figure import Figure

    row = list(Figure(figsize=size, layout="constrained").subplots(1, len(landscapes), squeeze=False, **kind)[0])
    for axes, name in zip(row, landscapes, strict=True):
        axes.set_title(named(name))
    return row


def _extent(landscapes: Mapping[str, Landscape]) -> tuple[float, float]:
    """The least and the greatest value, the same for all."""
    every = (value for each in landscapes.values() for row in each.values for value in row)
    finite = [value for value in every if 0 < value < math.inf]
    if not finite:
        raise SettingError("the task loss is finite nowhere around these networks; train them at a smaller rate")
    return min(finite), max(max(finite), min(finite) * 1.01)


def _clipped(value: float, low: float, high: float) -> float:
    """A value within the colours; one that is not finite is the highest."""
    return min(max(value, low), high) if math.isfinite(value) else high
