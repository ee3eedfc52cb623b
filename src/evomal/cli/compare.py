"""`evomal compare`: methods and losses beside one another, over seeds and learning rates."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomal.cli import options
from evomal.cli.output import GOOD, INTERRUPTED, lasting, print_json, say, warn_of_workers
from evomal.cli.source import TaskSource, task_options
from evomal.config import LearnSettings, flat_fields, idle

if TYPE_CHECKING:
    from evomal.comparison import Comparison
    from evomal.comparison.folder import ComparisonFolder
    from evomal.comparison.plan import Plan
    from evomal.tasks import Task

# The method is an entry of --methods, the seeds are a list, and workers, which are processes here, take whole searches
# and trainings.
LEARN = [name for name in flat_fields(LearnSettings) if name not in {"method", "seed", *idle(LearnSettings)}]


Methods = Annotated[
    list[str],
    typer.Option(
        "--methods",
        help="Methods (evomal, gplfl, ml3, taylorglo, glo; a variant as evomal+scale-control or evomal+fitness-lrs), "
        "handcrafted losses, loss files or run folders; several may be given.",
    ),
]
Seeds = Annotated[list[int], typer.Option("--seeds", min=0, help="One search and one meta-test each; at least two.")]
Rates = Annotated[
    list[float] | None,
    typer.Option(
        "--lr-grid",
        help="Base learning rates to try each loss at, beside the common one (--lr); the best on validation is taken.",
    ),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", help="What the others are tested against; the task loss if left out.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The folder of the comparison (default runs/compare-DATASET-MODEL).")
]
Force = Annotated[bool, typer.Option("--force", help="Start anew instead of going on with what lies in --out.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is to be done; write nothing.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Searches or trainings at a time, one thread each.")]


@options.setting_options(LearnSettings, LEARN)
@task_options
def compare(
    context: typer.Context,
    source: TaskSource,
    methods: Methods,
    seeds: Seeds,
    lr_grid: Rates = None,
    baseline: Baseline = None,
    out: Out = None,
    force: Force = False,
    preset: options.Preset = None,
    dry_run: DryRun = False,
    workers: Workers = 1,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Compare methods and losses on test data, each at the same learning rate and at its own best one.

    A seed is one search and one meta-test, the same initialisations for all. The same command goes on after it was
    stopped; methods, seeds and rates may be added. The table is written to --out as Markdown, CSV and JSON.
    """
    from evomal.comparison.folder import ComparisonFolder
    from evomal.comparison.plan import make_plan

    warn_of_workers(workers)
    folder = ComparisonFolder(out or Path("runs") / f"compare-{source.slug}", force)
    task = source.load()
    own = task.task_loss_name
    plan = make_plan(methods, baseline or own, seeds, preset, lr_grid or (), own, **options.with_tuples(settings))
    if dry_run:
        return _say_plan(task, plan, folder, as_json)
    command = shlex.join(["evomal", *context.obj])
    return _run(task, plan, folder, workers, command, quiet, as_json)


def _run(
    task: "Task", plan: "Plan", folder: "ComparisonFolder", workers: int, command: str, quiet: bool, as_json: bool
) -> int:
    from evomal.comparison.running import run_comparison
    from evomal.executors import make_executor
    from evomal.report.comparing import ComparisonLines

    watcher = None if quiet else ComparisonLines(lasting(sys.stderr if as_json else sys.stdout))
    executor = make_executor(workers)
    try:
        comparison = run_comparison(task, plan, folder, executor, watcher, command)
    except KeyboardInterrupt:
        say(f"stopped by Ctrl-C; what is finished is in {folder.path}, and the same command goes on from there")
        return INTERRUPTED
    finally:
        executor.close()
    _report(comparison, folder.path, as_json)
    return GOOD


def _say_plan(task: "Task", plan: "Plan", folder: "ComparisonFolder", as_json: bool) -> int:
    from evomal.comparison.pending import what_is_left
    from evomal.foundation.serialization import cleaned
    from evomal.report.comparing import lines_of_plan, plan_rows, table_of_plan
    from evomal.report.tables import print_table

    left = what_is_left(task, plan, folder)
    if as_json:
        shown = {"out": str(folder.path), "baseline": plan.baseline, "contenders": plan_rows(plan, left)}
        print_json(shown | {"remarks": plan.remarks, "settings": plan.as_dict()})
        return GOOD
    print_table(table_of_plan(plan, left), sys.stdout)
    for line in lines_of_plan(plan, left):
        print(cleaned(line))
    return GOOD


def _report(comparison: "Comparison", folder: Path, as_json: bool) -> None:
    from evomal.foundation.serialization import cleaned
    from evomal.report.tables import print_table, table_of_comparison

    if as_json:
        print_json(comparison.as_dict())
        return
    print_table(table_of_comparison(comparison), sys.stdout)
    for note in comparison.notes():
        print(cleaned(note))
    print(f"verdict: {cleaned(comparison.verdict)}")
    print(f"written to {folder}/table.md, table.csv and table.json")
