"""Whether somebody watches a search that Python code begins, and what they are shown."""

import sys
from contextlib import AbstractContextManager, nullcontext

from evomal.config import LearnSettings
from evomal.evaluation.watching import Watcher
from evomal.foundation.later_rooms import carried_out


def shown(name: str, settings: LearnSettings, progress: bool | None) -> AbstractContextManager[Watcher]:
    """The display of a search, shown inside the block; a watcher that shows nothing where nobody watches.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        progress: Whether to show it; None: on a terminal or in a notebook.

    Example:
        >>> with shown("digits/mlp", LearnSettings(), progress=False) as watcher:
        ...     watcher.generation(0, None)
    """
    notebook = in_notebook()
    if progress is None:
        progress = notebook or (sys.stderr is not None and sys.stderr.isatty())
    if not progress:
        return nullcontext(Watcher())
    found: AbstractContextManager[Watcher] = carried_out("progress_of", name, settings, notebook)
    return found


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, where output is shown as HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's, Colab's
