"""Methods of losses and results that a later room carries out: it is looked up when it is called.

Imports point upwards alone, so that a loss does not know how it is drawn; yet `criterion.plot()` is where people look.
"""

from importlib import import_module
from typing import Any

DRAWING = "evomal.report.drawing"
PAGE = "evomal.report.page"


def carried_out(module: str, name: str, *arguments: Any, **settings: Any) -> Any:
    """Call a function of a later room.

    Args:
        module: The module, by name.
        name: The function.
        *arguments: Passed on.
        **settings: Passed on.

    Example:
        >>> carried_out("math", "hypot", 3.0, 4.0)
        5.0
    """
    return getattr(import_module(module), name)(*arguments, **settings)
