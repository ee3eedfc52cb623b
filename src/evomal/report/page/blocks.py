"""What a page is made of: sections of lines, tables, figures and formulas; and the page from its sections.

The template, the style and the one script are files beside this one, fixed and ours. Formulas are typeset by
matplotlib's own mathematics: no script, no fonts of the reader's.
"""

import base64
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from markupsafe import Markup

import evomal
from evomal.foundation.serialization import cleaned
from evomal.report.figures.style import INK, styled, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 15.0  # size of a typeset formula
LONGEST = 1500  # letters of LaTeX: what is longer has no shape that a page can show
HERE = Path(__file__).parent


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


def typeset(latex: str, name: str) -> Markup | None:
    r"""A formula in LaTeX as an SVG element; None where it is too long, or not understood.

    Example:
        >>> typeset(r"\left(y - f_\theta(x)\right)^2", "formula")[:4], typeset(r"\unknown{", "formula")
        (Markup('<svg'), None)
    """
    from matplotlib.figure import Figure

    from evomal.report.figures.style import page_svg

    if len(latex) > LONGEST:
        return None
    buffer = io.StringIO()
    with styled():
        figure = Figure(figsize=(0.1, 0.1))
        figure.text(0, 0, f"${latex}$", fontsize=POINTS, color=INK, parse_math=True, math_fontfamily="dejavusans")
        try:
            figure.savefig(
                buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03, metadata={"Date": None}
            )
        except (ValueError, RuntimeError):  # a command that it does not know
            return None
    return Markup(page_svg(buffer.getvalue(), name, f"formula {latex}", keeps_size=True))


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The page as text.

    Whatever comes from files is escaped, and the page forbids every script but ours, which it names by its hash.

    Args:
        title: Its title.
        subtitle: A line below it.
        sections: Its sections.

    Example:
        >>> page = render("a <script> of a task", "", [])
        >>> "a &lt;script&gt; of a task" in page, page.count("<script>")
        (True, 1)
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("template.html")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return template.render(
        title=cleaned(title),
        subtitle=cleaned(subtitle),
        sections=sections,
        version=evomal.__version__,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
