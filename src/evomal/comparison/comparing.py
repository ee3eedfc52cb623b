"""`evomal.compare`: a comparison from Python in one call."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import make_plan
from evomal.comparison.results import Comparison
from evomal.comparison.running import ComparisonWatcher, run_comparison
from evomal.executors import make_executor
from evomal.foundation.errors import SettingError
from evomal.foundation.recording import recording
from evomal.tasks import Task


@recording()
def compare(
    task: Task,
    methods: Sequence[str | PathLike[str]],
    seeds: Sequence[int],
    *,
    out: str | PathLike[str],
    preset: str | None = None,
    lr_grid: Sequence[float] = (),
    baseline: str | None = None,
    workers: int = 1,
    force: bool = False,
    watcher: ComparisonWatcher | None = None,
    **flat: Any,
) -> Comparison:
    """Compare methods and losses on a task, each at the same learning rate and at its own best one.

    A seed is one independent search and one meta-test. What is finished lies in `out`: the same call goes on after it
    was stopped, and with more methods, seeds or rates does only what is new. When all is done, `out` has the table as
    ``table.md``, ``table.csv`` and ``table.json``, too.

    Args:
        task: The task, with a test split.
        methods: Methods (variants as ``"evomal+scale-control"``, ``"evomal+fitness-lrs"``), handcrafted losses, loss
            files or run folders.
        seeds: At least two.
        out: The folder of the comparison.
        preset: Named settings, for searches and trainings.
        lr_grid: Base learning rates to try each loss at; the fixed one is among them anyway.
        baseline: What others are tested against; None means the task loss.
        workers: Searches or trainings at a time, one thread each.
        force: Start anew instead of going on with what lies in `out`.
        watcher: Told of progress.
        **flat: Single settings of searches and trainings, such as ``generations=5, steps=2000``. The fixed rate is
            ``lr``; others go into `lr_grid`.

    Returns:
        The comparison; `rows` gives its cells and tests, `as_dict` everything as plain values.

    Raises:
        EvomalError: A setting is odd, a contender does not fit the task, or the folder holds another comparison.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from evomal.tasks import named_task
        >>> with TemporaryDirectory() as folder:
        ...     iris = named_task("iris", "linear")
        ...     comparison = compare(iris, ["focal"], [0, 1], out=folder, preset="quick", steps=20)
        ...     written = sorted(file.name for file in Path(folder).glob("table.*"))
        >>> [row.contender.name for row in comparison.rows()], written
        (['cross_entropy', 'focal'], ['table.csv', 'table.json', 'table.md'])
    """
    if not isinstance(task, Task):
        raise SettingError(
            f"a comparison is made on one task, and this is a {type(task).__name__}; give an evomal.Task"
        )
    if type(workers) is not int or workers < 1:
        raise SettingError(f"setting 'workers': {workers!r} is no number of processes; give 1 or more")
    own = task.task_loss_name
    plan = make_plan(methods, baseline or own, seeds, preset, lr_grid, own, **flat)
    executor = make_executor(workers)
    try:
        return run_comparison(task, plan, ComparisonFolder(out, force), executor, watcher)
    finally:
        executor.close()
