"""A page from its sections: the template, the style and the one script are files beside this one, fixed and ours."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import evomal
from evomal.foundation.serialization import cleaned
from evomal.report.page.blocks import Section

HERE = Path(__file__).parent


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
