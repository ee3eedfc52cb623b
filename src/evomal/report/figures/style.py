"""How figures look: colours that colour-blind eyes tell apart, lines that differ in print; and figures as SVG text.

In the text for a page colours become the page's, and values show under a pointer.
"""

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from evomal.foundation.serialization import cleaned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, FAINT, PAPER = "#1f2328", "#8c959f", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#997700", "#4477aa", "#882255", "#555555")
"""After Okabe and Ito, and Tol: told apart with any kind of colour blindness, and on white paper."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIZE = (6.4, 3.9)  # inches
INSIDE = 5  # entries of a legend
HIGH = 40  # letters of a label beside an axis
LONGEST = 48  # letters of a name in a legend

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "evomal",  # the same figure is the same file
    "text.parse_math": False,  # names come from files; labels with a formula say so themselves
}
_GROUP = re.compile(r'<g id="(hover-\d+)">')
PROPERTY = "--"  # how the name of a CSS property begins
_IDS = re.compile(r'(\bid="|xlink:href="#|href="#|url\(#)')


@contextmanager
def styled() -> Iterator[None]:
    """Figures that are made inside look like ours; matplotlib's own settings are as they were afterwards."""
    import matplotlib

    rc: Any = _RC  # its names are checked where they are used: they differ from version to version
    with matplotlib.rc_context(rc):
        yield


def new_axes(ax: "Axes | None" = None, size: tuple[float, float] = SIZE) -> "Axes":
    """The axes to draw on: those given, or those of a new figure, which needs no display."""
    from matplotlib.figure import Figure

    if ax is not None:
        return ax
    with styled():
        axes: Axes = Figure(figsize=size, layout="constrained").subplots()
    return axes


def interactive_axes(ax: "Axes | None") -> "Axes | None":
    """The axes given; else, in a program that uses pyplot as a notebook does, of a figure that is shown by itself."""
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if ax is not None or pyplot is None:
        return ax
    with styled():
        made: Axes = pyplot.subplots(figsize=SIZE, layout="constrained")[1]
    return made


def look(place: int, marked: bool = False) -> dict[str, Any]:
    """Colour, dashes and marker of a series by its place, as arguments of a drawing function."""
    again = place // len(SERIES)  # the colours begin anew, with other dashes and markers
    style = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[(place + 3 * again) % len(DASHES)]}
    return style | {"marker": MARKERS[(place + 5 * again) % len(MARKERS)]} if marked else style


def label_height(ax: "Axes", text: str) -> None:
    """Say what the y axis shows, on several lines where one is longer than the axis."""
    ax.set_ylabel(textwrap.fill(text, HIGH))


def whole_numbers(ax: "Axes") -> None:
    """Ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend(ax: "Axes") -> None:
    """A legend inside the axes, or beside them if it is long."""
    many = len(ax.get_legend_handles_labels()[1]) > INSIDE
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5)) if many else ax.legend()


def named(name: object) -> str:
    """A name for a legend: on one line, of bounded length, without anything that a terminal or a page would obey."""
    text = " ".join(cleaned(name).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def hover(ax: "Axes", x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> None:
    """Say what is at points of a figure when a pointer is on them, where the figure is part of a page.

    Args:
        ax: The axes.
        x: Where the points are.
        y: Where they are.
        texts: What is said of each.

    The limits of the axes are final afterwards: it comes last.
    """
    titles: dict[str, str] = getattr(ax.figure, "evomal_titles", {})
    ax.figure.evomal_titles = titles  # type: ignore[union-attr]
    limits = ax.axis()
    for here, there, text in zip(x, y, texts, strict=True):
        name = f"hover-{len(titles)}"
        (dot,) = ax.plot([here], [there], marker="o", markersize=11, linestyle="", alpha=0.0, label="_nothing")
        dot.set_gid(name)
        titles[name] = text
    ax.axis(limits)


def figure_of(ax: "Axes") -> "Figure":
    """The figure that axes belong to."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def svg_of(ax: "Axes", name: str, alternative: str) -> str:
    """A figure as an SVG element.

    Args:
        ax: Its axes.
        name: An identifier that no other figure of the page has.
        alternative: What it shows, for those who cannot see it.

    Returns:
        The element. Colours are CSS variables (``--ink``, ``--faint``, ``--series-0`` …), the usual ones behind.
    """
    figure, buffer = figure_of(ax), io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    titles: dict[str, str] = getattr(figure, "evomal_titles", {})
    text = _GROUP.sub(lambda found: f"{found[0]}<title>{escape(cleaned(titles[found[1]]))}</title>", buffer.getvalue())
    return page_svg(text, name, alternative)


def page_svg(text: str, name: str, alternative: str, keeps_size: bool = False) -> str:
    """An SVG file of matplotlib's as an element of a page.

    Args:
        text: The file.
        name: What its identifiers begin with.
        alternative: What it shows, in words.
        keeps_size: Whether it is as large as it was made; else it is as wide as the page lets it.
    """
    text = _IDS.sub(rf"\g<1>{name}-", text[text.index("<svg") :])
    for place, colour in enumerate(SERIES):
        text = text.replace(colour, f"var({PROPERTY}series-{place}, {colour})")
    for variable, colour in (("ink", INK), ("faint", FAINT), ("paper", PAPER)):
        text = text.replace(colour, f"var({PROPERTY}{variable}, {colour})")
    head, rest = text.split(">", 1)
    if not keeps_size:
        head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(cleaned(alternative))}">{rest}'
