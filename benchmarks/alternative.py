"""What a search is worth: the test metric against training steps spent, beside what people do without one."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.measuring import show
from benchmarks.suite.run import Job, results
from benchmarks.suite.table import answer, mean_of, spread
from evomal.comparison.tables import markdown_table

KINDS: Mapping[str, str] = MappingProxyType(
    {"evomal": "evomal", "random": "random formulas, the same finals", "optuna": "Optuna: handcrafted losses and rates"}
)
"""Who is compared, and what figures call it."""


class Point(NamedTuple):
    """What one draw came to for one budget.

    Args:
        task: Its name.
        kind: A name in `KINDS`.
        scale: Of the search.
        draw: Of the data.
        steps: Base steps that were spent.
        value: Test metric of what was handed out, the mean of fresh networks.
    """

    task: str
    kind: str
    scale: float
    draw: int
    steps: int
    value: float


def alternative(
    data: Path = Path("data"),
    out: Path = Path("alternative"),
    tasks: str = "wrong_labels uneven_classes shares_of_prices",
    draws: str = "0 1 2 3 4",
    scales: str = "0.05 0.15 0.35 0.7",
    workers: int = 1,
) -> dict[str, list[Point]]:
    """Searches of several sizes with their finals, random formulas through the same finals, and Optuna's incumbents.

    `data`, `tasks`, `draws` and `workers` are the suite's, whose results serve where they lie in `out/SCALE`. Optuna
    runs once, with the budget of the largest search; at that of a smaller one stands what it would have handed out
    then. A table and a figure, ``table.md`` and ``alternative.svg``, are written to `out`.
    """
    sizes = sorted(float(scale) for scale in scales.split())
    jobs = [
        Job(task, int(draw), kind, data, out / f"{size:g}", size)
        for draw in draws.split()
        for task in tasks.split()
        for size in sizes
        for kind in KINDS
        if kind != "optuna" or size == sizes[-1]
    ]
    found = points(results(jobs, workers))
    head = ["task", "base steps", *KINDS]
    rows = table(found)
    show("test metric, mean ± sd over draws; lower is better", head, rows)
    (out / "table.md").write_text(markdown_table([head, *rows]) + "\n", encoding="utf-8")
    _figure(found, out / "alternative.svg")
    return {"points": found}


def points(found: Mapping[Job, Mapping[str, Any]]) -> list[Point]:
    """The points of all curves.

    Args:
        found: What came of each job.

    Returns:
        One for each search; for Optuna one for each of evomal's searches on the same draw, with the last incumbent that
        was found within its steps, or the first one where all came later.
    """
    those = [
        Point(job.task, job.variant, job.scale, job.draw, each["steps"], answer(each))
        for job, each in found.items()
        if job.variant != "optuna"
    ]
    for job, each in found.items():
        if job.variant == "optuna":
            beside = [p for p in those if (p.task, p.kind, p.draw) == (job.task, "evomal", job.draw)]
            for point in beside:
                within = sum(one["steps"] <= point.steps for one in each["found"])
                value = mean_of(each["tests"][max(within, 1) - 1])
                those.append(point._replace(kind="optuna", value=value))
    return those


def table(found: Sequence[Point]) -> list[list[str]]:
    """A row for each task and scale: evomal's steps, mean over draws, and the metric of each kind."""
    rows = []
    for task in dict.fromkeys(point.task for point in found):
        for scale in sorted({point.scale for point in found}):
            here = {k: [p for p in found if (p.task, p.scale, p.kind) == (task, scale, k)] for k in KINDS}
            if here["evomal"]:
                steps = fmean(point.steps for point in here["evomal"])
                rows.append([task, f"{steps:,.0f}", *(spread([p.value for p in here[kind]]) for kind in KINDS)])
    return rows


def _figure(found: Sequence[Point], file: Path) -> None:
    """A panel for each task: means over draws with their standard errors."""
    from matplotlib.figure import Figure

    from evomal.report.figures.style import DASHES, MARKERS, SERIES, styled

    tasks = list(dict.fromkeys(point.task for point in found))
    with styled():
        figure = Figure(figsize=(3.6 * len(tasks), 3.4), layout="constrained")
        for ax, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
            for place, (kind, label) in enumerate(KINDS.items()):
                curve = _curve([point for point in found if (point.task, point.kind) == (task, kind)])
                look = {"color": SERIES[place], "ls": DASHES[place], "marker": MARKERS[place], "capsize": 2}
                ax.errorbar(*curve, label=label if task == tasks[0] else None, **look)
            ax.set(title=task.replace("_", " "), xlabel="base steps spent", xscale="log")
        figure.axes[0].set_ylabel("test metric, mean ± standard error")
        figure.legend(loc="outside lower center", ncols=len(KINDS))
        figure.savefig(file, metadata={"Date": None})


def _curve(found: Sequence[Point]) -> tuple[list[float], list[float], list[float]]:
    """Steps, means and standard errors over draws, for each scale; failed trainings are no part of a curve."""
    xs, ys, errors = [], [], []
    for scale in sorted({point.scale for point in found}):
        here = [point for point in found if point.scale == scale and isfinite(point.value)]
        if here:
            values = [point.value for point in here]
            xs.append(fmean(point.steps for point in here))
            ys.append(fmean(values))
            errors.append(stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0)
    return xs, ys, errors
