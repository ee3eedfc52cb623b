"""What a page is made of: sections of lines, tables, figures and formulas; the template knows how each looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from markupsafe import Markup

from evomal.foundation.serialization import cleaned
from evomal.report.figures.svg import svg_of
from evomal.report.page.typeset import typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class LinesBlock:
    """Sentences, as paragraphs or as a list.

    Args:
        items: The sentences.
        kind: ``"plain"``, ``"list"``, ``"verdict"`` (first on the page) or ``"problems"`` (what is missing).
    """

    items: Sequence[str]
    kind: str = "plain"
    block: ClassVar[str] = "lines"


@dataclass(frozen=True, slots=True)
class Rows:
    """A table.

    Args:
        head: Its heads.
        rows: Its cells.
        caption: What it shows.
        numbers: Columns that hold numbers, by place; they stand to the right.
        folded: Whether it is shown only when asked for.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    folded: bool = False
    block: ClassVar[str] = "rows"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure.

    Args:
        svg: Its element, safe as it stands.
        caption: What it shows.
    """

    svg: Markup
    caption: str
    block: ClassVar[str] = "drawing"


@dataclass(frozen=True, slots=True)
class FormulaBlock:
    """A formula.

    Args:
        title: What it is.
        svg: It typeset; None where that cannot be done.
        text: The same as text.
    """

    title: str
    svg: Markup | None
    text: str
    block: ClassVar[str] = "formula"


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy."""

    title: str
    text: str
    block: ClassVar[str] = "code"


Block = LinesBlock | Rows | Drawing | FormulaBlock | Code


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under its own head."""

    title: str
    blocks: Sequence[Block]


@dataclass
class Drawer:
    """Turns axes and formulas into elements of a page, each with identifiers of its own."""

    _names: Iterator[int] = field(default_factory=count)

    def __call__(self, axes: "Axes", caption: str) -> Drawing:
        """The figure that axes belong to."""
        # What matplotlib makes is safe: all text in it went through its own escaping, that of pointers through ours.
        return Drawing(Markup(svg_of(axes, f"figure{next(self._names)}", cleaned(caption))), cleaned(caption))

    def formula(self, title: str, latex: str, text: str) -> FormulaBlock:
        """A formula typeset, with the same as text."""
        return FormulaBlock(title, typeset(latex, f"formula{next(self._names)}"), cleaned(text))
