"""What mkdocstrings is told of our docstrings: `Example:` holds doctests, and :math: is shown as it stands."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Brings docstrings into the form that griffe's Google parser expects."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the text before it is parsed."""
        if obj.docstring is not None:
            text = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r":math:`([^`]*)`", r"`\1`", text, flags=re.DOTALL)
