"""`evomal.reproduce` and what it would cost: the paper's tables and figures from Python."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from evomal.foundation.contexts import recording
from evomal.foundation.errors import SettingError
from evomal.reproduction.execution import Execution, Reproduction, ReproductionWatcher
from evomal.reproduction.plans import LEARNERS, Wanted, parts_of, require_use
from evomal.reproduction.prices import PlanPrice, price_of
from evomal.reproduction.running import ReproductionRun
from evomal.reproduction.timing import PROBE

SEEDS = (0, 1, 2, 3, 4)


@recording()
def reproduce(
    what: str | Sequence[str],
    rows: str | Sequence[str] = (),
    *,
    out: str | PathLike[str] | None = None,
    scale: float = 1.0,
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = LEARNERS,
    lr_grid: Sequence[float] = (),
    data_dir: str | PathLike[str] | None = None,
    device: str = "cpu",
    workers: int = 1,
    timed_batch: int | None = None,
    force: bool = False,
    watcher: ReproductionWatcher | None = None,
    command: str | None = None,
    **flat: Any,
) -> Reproduction:
    """Run the paper's tables and figures, and lay our numbers beside those that it prints.

    What is finished lies in `out`: the same call goes on after it was stopped, and Table 3 and the figures take what
    Table 2 has found. `plan_price` says what it costs before.

    Args:
        what: Names such as ``"table2"``, ``"fig5"``; see `evomal.reproduction.WHATS`.
        rows: Rows such as ``"mnist/lenet5"``, or ``"fashion-mnist/lenet5"`` by the same settings; none means all of a
            table, and the paper's one of Figures 9 to 11.
        out: The folder; None means ``runs/reproduce``, with the scale in its name if that is not 1.
        scale: What generations, meta steps, partial and full trainings are multiplied by; 1 is the paper's size.
        seeds: One search and one training each, at least two.
        methods: Which of ``ml3``, ``taylorglo``, ``gplfl``, ``evomal``; the baseline is always there.
        lr_grid: Base learning rates to try each loss at, beside the paper's; for ``fig11``, to search at.
        data_dir: Where to look for data sets first, and where downloads go.
        device: Where networks are trained.
        workers: Searches or trainings at a time.
        timed_batch: Instances in a timed batch of Table 4; None takes as many as in training.
        force: Start anew what lies in `out`.
        watcher: Told of progress.
        command: The command line, to be written down.
        **flat: Single settings that differ from the paper's, such as ``population_size=10``; all is told with the
            numbers.

    Returns:
        Tables and the files of figures.

    Raises:
        EvomalError: A name or a setting is odd, data are not there, or the folder holds another reproduction.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     found = reproduce("table4", "mnist/lenet5", out=folder, timed_batch=2)
        ...     sorted(path.name for path in (Path(folder) / "table4").iterdir())
        ['lenet5', 'table4.csv', 'table4.json', 'table4.md']
        >>> found.tables["table4"].entries[-1].method, found.tables["table4"].entries[-1].paper
        ('evomal', 3.29)
    """
    _require_use(what, seeds, methods, lr_grid, flat, timed_batch)
    wanted = _wanted(scale, seeds, methods, lr_grid, flat)
    told = watcher or ReproductionWatcher()
    folder = default_out(scale) if out is None else Path(out)
    place = Execution(folder, data_dir, device, _counted(workers), force, timed_batch, command, told)
    return ReproductionRun(wanted, place).all(_listed(what), _listed(rows))


def plan_price(
    what: str | Sequence[str],
    rows: str | Sequence[str] = (),
    *,
    scale: float = 1.0,
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = LEARNERS,
    lr_grid: Sequence[float] = (),
    data_dir: str | PathLike[str] | None = None,
    device: str = "cpu",
    workers: int = 1,
    seconds: float = PROBE,
    **flat: Any,
) -> PlanPrice:
    """What `reproduce` would run, and its cost if nothing is finished: evaluations, base steps, and estimated hours.

    Nothing is written, and no data set is needed: steps are timed on made-up images.

    Args:
        what: As for `reproduce`, like all that is not named here.
        rows: Rows.
        scale: Share of the paper's budgets.
        seeds: Seeds.
        methods: Methods.
        lr_grid: Further rates.
        data_dir: Where to look for data sets.
        device: Where to measure.
        workers: Searches or trainings at a time.
        seconds: How long the probe may take, roughly.
        **flat: Single settings.

    Example:
        >>> price = plan_price("table4", "mnist/lenet5", seconds=1.0)
        >>> [part.part.folder for part in price.parts]
        ['table4/lenet5']
    """
    _require_use(what, seeds, methods, lr_grid, flat)
    wanted = _wanted(scale, seeds, methods, lr_grid, flat)
    parts = parts_of(_listed(what), _listed(rows), wanted)
    return price_of(parts, wanted, device=device, workers=_counted(workers), data_dir=data_dir, seconds=seconds)


def default_out(scale: float) -> Path:
    """Where a reproduction lies unless told otherwise: one folder for each scale.

    Example:
        >>> str(default_out(1.0)), str(default_out(0.05))
        ('runs/reproduce', 'runs/reproduce-scale-0.05')
    """
    return Path("runs") / ("reproduce" if scale == 1 else f"reproduce-scale-{scale:g}")


def _require_use(
    what: str | Sequence[str],
    seeds: Sequence[int],
    methods: Sequence[str],
    lr_grid: Sequence[float],
    flat: dict[str, Any],
    timed_batch: int | None = None,
) -> None:
    """Refuse what was given and has no effect on any of what is asked for."""
    usual = {"seeds": (seeds, SEEDS), "methods": (methods, LEARNERS), "lr_grid": (lr_grid, ())}
    given = {name: value for name, (value, default) in usual.items() if tuple(value) != tuple(default)}
    given |= {name: value for name, value in {**flat, "timed_batch": timed_batch}.items() if value is not None}
    require_use(_listed(what), given)


def _wanted(
    scale: float, seeds: Sequence[int], methods: Sequence[str], lr_grid: Sequence[float], flat: dict[str, Any]
) -> Wanted:
    given = {name: value for name, value in flat.items() if value is not None}
    rates = tuple(dict.fromkeys(lr_grid))
    return Wanted(scale, tuple(dict.fromkeys(seeds)), tuple(dict.fromkeys(methods)), rates, given)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _counted(workers: int) -> int:
    if type(workers) is not int or workers < 1:
        raise SettingError(f"setting 'workers': {workers!r} is no number of processes; give 1 or more")
    return workers
