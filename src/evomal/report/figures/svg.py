"""Figures as text for pages: their colours become the page's, their values show under a pointer."""

import io
import re
from html import escape
from typing import TYPE_CHECKING

from evomal.foundation.serialization import cleaned
from evomal.report.figures.style import FAINT, INK, PAPER, SERIES, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUP = re.compile(r'<g id="(hover-\d+)">')
PROPERTY = "--"  # how the name of a CSS property begins
_IDS = re.compile(r'(\bid="|xlink:href="#|href="#|url\(#)')


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
