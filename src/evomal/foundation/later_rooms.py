"""Methods of losses and results that a later room carries out: it is looked up when it is called.

Imports point upwards alone, so that a loss does not know how it is drawn; yet `criterion.plot()` is where people look.
"""

from importlib import import_module
from types import MappingProxyType
from typing import Any

HOMES = MappingProxyType(
    {
        "html_of_comparison": "evomal.report.notebook",
        "html_of_loss": "evomal.report.notebook",
        "html_of_result": "evomal.report.notebook",
        "html_of_trained": "evomal.report.notebook",
        "html_of_tuned": "evomal.report.notebook",
        "latex_of_comparison": "evomal.report.notebook",
        "latex_of_loss": "evomal.report.notebook",
        "latex_of_result": "evomal.report.notebook",
        "plot_criterion": "evomal.report.drawing",
        "plot_result": "evomal.report.drawing",
        "progress_of": "evomal.report.progress",
        "report_of_result": "evomal.report.page",
    }
)
"""Each function of a later room that is called from here, and its module."""


def carried_out(name: str, *arguments: Any, **settings: Any) -> Any:
    """Call a function of a later room.

    Args:
        name: A name in `HOMES`.
        *arguments: Passed on.
        **settings: Passed on.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> carried_out("plot_criterion", HandcraftedLoss("mae"), "loss", 10, None).get_ylabel()
        'loss (slope 1 at residual 1)'
    """
    return getattr(import_module(HOMES[name]), name)(*arguments, **settings)
