"""Formulas typeset for a page, by matplotlib's own mathematics: no script, no fonts of the reader's."""

import io

from markupsafe import Markup

from evomal.report.figures.style import INK, styled

POINTS = 15.0
LONGEST = 1500  # letters of LaTeX: what is longer has no shape that a page can show


def typeset(latex: str, name: str) -> Markup | None:
    r"""A formula in LaTeX as an SVG element; None where it is too long, or not understood.

    Example:
        >>> typeset(r"\left(y - f_\theta(x)\right)^2", "formula")[:4], typeset(r"\unknown{", "formula")
        (Markup('<svg'), None)
    """
    from matplotlib.figure import Figure

    from evomal.report.figures.svg import page_svg

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
