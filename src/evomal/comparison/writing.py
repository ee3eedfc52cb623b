"""The table of a comparison as files."""

import json
from os import PathLike
from pathlib import Path

from evomal.comparison.csv_table import as_csv
from evomal.comparison.markdown import as_markdown
from evomal.comparison.results import Comparison
from evomal.foundation.atomic import write_atomically

TABLES = ("table.md", "table.csv", "table.json")


def write_tables(comparison: Comparison, folder: str | PathLike[str]) -> list[Path]:
    """Write a comparison as Markdown, as CSV and as JSON; each file is complete, or as it was before.

    Args:
        comparison: The comparison.
        folder: Where they shall lie; files of these names are replaced.

    Returns:
        ``table.md``, ``table.csv`` and ``table.json`` in the folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from evomal.comparison import Contender
        >>> from evomal.training import TrainingRun
        >>> focal = Contender("focal", "handcrafted", (), (TrainingRun(0.1, 0, 0.2, 0.3, 100, 1.0),))
        >>> with TemporaryDirectory() as folder:
        ...     comparison = Comparison("iris", "error_rate", "focal", 0.1, (0.1,), (0,), (focal,), {})
        ...     [path.name for path in write_tables(comparison, folder)]
        ['table.md', 'table.csv', 'table.json']
    """
    document = json.dumps(comparison.as_dict(), indent=2, allow_nan=False) + "\n"
    paths = [Path(folder) / name for name in TABLES]
    for path, text in zip(paths, (as_markdown(comparison), as_csv(comparison), document), strict=True):
        write_atomically(path, text)
    return paths
