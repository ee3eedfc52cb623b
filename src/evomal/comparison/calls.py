"""`evomal.compare` and `evomal.train`: comparisons from Python, each in one call."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.comparison.comparison import Comparison
from evomal.comparison.contenders import Contender, Given, by_name, is_path, named_objects, path_name
from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import CONTENDERS, listed, make_plan
from evomal.comparison.running import ComparisonWatcher, run_comparison
from evomal.comparison.train_call import TrainCall
from evomal.comparison.trained import TrainResult
from evomal.comparison.training import Told, TrainJob, begin, go_on, job_of, new_journal, old_journal, read_losses
from evomal.config import TrainSettings, train_settings
from evomal.executors import make_executor
from evomal.foundation.contexts import recording
from evomal.foundation.errors import SettingError, StorageError
from evomal.losses import HANDCRAFTED
from evomal.losses.published import PUBLISHED
from evomal.search import LearnResult
from evomal.store.provenance import task_entries
from evomal.tasks import Task


@recording()
def compare(
    task: Task,
    methods: Sequence[Given],
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
            files or run folders by name; functions ``(outputs, targets) -> scalar``, modules, and results of searches
            as they are. One of these is called by its function or class; if it computes something else when the
            comparison goes on, its trainings are done again.
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
        >>> from torch.nn.functional import cross_entropy
        >>> from evomal.tasks import named_task
        >>> def smoothed(outputs, targets):
        ...     return cross_entropy(outputs, targets, label_smoothing=0.1)
        >>> with TemporaryDirectory() as folder:
        ...     iris = named_task("iris", "linear")
        ...     comparison = compare(iris, ["focal", smoothed], [0, 1], out=folder, preset="quick", steps=20)
        ...     written = sorted(file.name for file in Path(folder).glob("table.*"))
        >>> [row.contender.name for row in comparison.rows()], written
        (['cross_entropy', 'focal', 'smoothed'], ['table.csv', 'table.json', 'table.md'])
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


@recording()
def train(
    task: Task,
    losses: Given | Sequence[Given] = (),
    *,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    override: bool = False,
    force: bool = False,
    preset: str | None = None,
    workers: int | None = None,
    on_run: Told | None = None,
    **flat: Any,
) -> TrainResult:
    """Train fresh networks with finished losses, and compare them on test data; what the command `train` does.

    Args:
        task: The task, with a test split.
        losses: One or several: handcrafted losses, loss files or run folders by name; functions
            ``(outputs, targets) -> scalar``, modules, and results of searches as they are.
        out: A JSON file for the results, or a folder for ``train.json``; each training is kept beside it as soon as it
            is finished. None keeps nothing.
        resume: Goes on with a call that was stopped, whose `out` this was; what is left out is as it was then.
        override: With `resume`: take over more seeds, rates or workers than the call was begun with.
        force: Replace what lies in `out`.
        preset: Named settings.
        workers: Trainings at a time, one thread each; None means 1.
        on_run: Told of every training as it ends, ``on_run(name, run)``.
        **flat: Single settings, such as ``steps=2000, seeds=(0, 1, 2), lrs=(0.01, 0.1)``.

    Returns:
        Each loss at the rate that validation chose. It prints as a table.

    Raises:
        EvomalError: A setting is odd, a loss does not fit the task, or `out` holds something else.
        KeyboardInterrupt: Ctrl-C; what is finished is kept in `out`.

    Example:
        >>> from evomal.tasks import named_task
        >>> result = train(named_task("iris", "linear"), ["cross_entropy", "focal"], steps=20, seeds=(0, 1))
        >>> [(each.name, len(each.test.runs)) for each in result]
        [('cross_entropy', 2), ('focal', 2)]
    """
    if not isinstance(task, Task):
        raise SettingError(f"losses are trained with on one task, and this is a {type(task).__name__}; give a Task")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise SettingError(f"setting 'workers': {workers!r} is no number of processes; give 1 or more")
    single = isinstance(losses, str | PathLike | LearnResult) or callable(losses)
    listing: Any = [losses] if single else losses
    contenders = _given(listed("losses", listing, CONTENDERS, "['cross_entropy', 'loss.json']"), task)
    if resume is not None:
        if force or out is not None:
            raise SettingError(f"`resume` goes on with '{resume}'; leave out `{'force' if force else 'out'}`")
        given = {**flat, "losses": [each.name for each in contenders] or None, "preset": preset, "workers": workers}
        job = _resumed(task, contenders, Path(resume), given, override)
    else:
        if override:
            raise SettingError("`override` is for a call that goes on; give `resume`, or leave it out")
        job = _begun(task, contenders, out, force, workers or 1, preset, train_settings(preset, **flat))
    try:
        result, ended = job.run(on_run)
        if not isinstance(ended, StorageError):
            job.write(result)
    finally:
        job.close()
    if ended is not None:
        raise ended
    return result


def _given(losses: Sequence[Any], task: Task) -> list[Contender]:
    """Losses that were named or given, in their order."""
    losses = by_name(losses)
    texts = [path_name(each) for each in losses if isinstance(each, str | PathLike)]
    objects = iter(named_objects([each for each in losses if not isinstance(each, str | PathLike)], texts, "losses"))
    read = iter(read_losses({text: text for text in texts}, task.task_loss_name))
    found: dict[str, Contender] = {}
    for each in losses:
        if not isinstance(each, str | PathLike):
            contender = next(objects)
        elif path_name(each) in found:
            continue
        else:
            contender = next(read)
        found[contender.name] = contender
    return list(found.values())


def _begun(
    task: Task,
    contenders: Sequence[Contender],
    out: str | PathLike[str] | None,
    force: bool,
    workers: int,
    preset: str | None,
    settings: TrainSettings,
) -> TrainJob:
    if not contenders:
        raise SettingError("there is nothing to train with; give at least one of `losses`")
    if out is None:
        return job_of(task, contenders, settings, workers, task_entries(task))
    with new_journal(Path(out), force) as journal:
        job = job_of(task, contenders, settings, workers, task_entries(task), journal)
        begin(job, force, options={}, preset=preset)
    return job


def _resumed(
    task: Task, contenders: Sequence[Contender], out: Path, given: Mapping[str, Any], override: bool
) -> TrainJob:
    with old_journal(out) as (journal, before):
        call = before.agreed({name: value for name, value in given.items() if value is not None}, override, journal.out)
        known = contenders or _known(call, task)
        job = job_of(task, known, call.settings, call.workers, call.options or task_entries(task), journal)
        go_on(job, call)
    return job


def _known(call: TrainCall, task: Task) -> list[Contender]:
    """The losses of a call, by their names alone."""
    for loss in call.losses:
        named = loss.name in (*HANDCRAFTED, *PUBLISHED, task.task_loss_name)
        if not named and not is_path(loss.name):
            raise SettingError(f"loss '{loss.name}' was given as an object, which no file holds; give `losses` again")
    return read_losses({loss.name: loss.name for loss in call.losses}, task.task_loss_name)
