"""`evomal reproduce`: the paper's tables and figures, priced, run resumably, and laid beside what it prints."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from evomal.cli import options
from evomal.cli.compare import LEARN, Rates
from evomal.cli.output import GOOD, INTERRUPTED, lasting, print_json, say, warn_of_workers
from evomal.config import LearnSettings

if TYPE_CHECKING:
    from evomal.reproduction import Reproduction, ReproductionWatcher
    from evomal.reproduction.prices import PlanPrice

What = Annotated[list[str], typer.Argument(help="table2, table3, table4, table5, fig5 to fig11; several may be given.")]
Rows = Annotated[
    list[str] | None,
    typer.Option(
        "--row",
        help="Rows such as mnist/lenet5 or, by the same settings, fashion-mnist/lenet5; all of the table if left out, "
        "for fig9 to fig11 one.",
    ),
]
Scale = Annotated[
    float,
    typer.Option("--scale", help="Share of the paper's budgets: generations, meta steps, partial and full trainings."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--methods", help="Which of ml3, taylorglo, gplfl, evomal; the baseline is always there."),
]
Seeds = Annotated[
    list[int] | None, typer.Option("--seeds", min=0, help="One search and one training each (default 0 to 4).")
]
Out = Annotated[Path | None, typer.Option("--out", help="The folder (default runs/reproduce, with the scale).")]
DataDir = Annotated[Path | None, typer.Option(help="Where to look for data sets' files first, and where downloads go.")]
Device = Annotated[str, typer.Option(help="Such as cpu or cuda.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Searches or trainings at a time, one thread each.")]
TimedBatch = Annotated[
    int | None,
    typer.Option("--timed-batch", min=2, help="table4: instances in a timed batch; the preset's if left out."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is to be run and what it costs; write nothing.")]


@options.setting_options(LearnSettings, LEARN)
def reproduce(
    context: typer.Context,
    what: What,
    rows: Rows = None,
    scale: Scale = 1.0,
    seeds: Seeds = None,
    methods: Methods = None,
    lr_grid: Rates = None,
    out: Out = None,
    force: options.Force = False,
    data_dir: DataDir = None,
    device: Device = "cpu",
    workers: Workers = 1,
    timed_batch: TimedBatch = None,
    dry_run: DryRun = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    **settings: Any,
) -> int:
    """Reproduce the paper's tables and figures, with its own numbers beside ours.

    First the plan and its cost, from a probe of at most a minute; then everything runs. The same command goes on after
    it was stopped. At full size on a processor most rows take months to years: see --dry-run, --row, --scale.
    """
    from evomal.reproduction import plan_price
    from evomal.reproduction import reproduce as run
    from evomal.reproduction.call import SEEDS, default_out
    from evomal.reproduction.plans import LEARNERS

    warn_of_workers(workers)
    flat = {name: value for name, value in options.with_tuples(settings).items() if value is not None}
    # Trainings are given their steps here, which searches do not know.
    given: dict[str, Any] = {
        "scale": scale,
        "seeds": seeds or SEEDS,
        "methods": methods or LEARNERS,
        "lr_grid": lr_grid or (),
    }
    given |= {"data_dir": data_dir, "device": device, "workers": workers, **flat}
    stream = lasting(sys.stderr if as_json else sys.stdout)
    if dry_run or not quiet:
        price = plan_price(what, rows or (), **given)
        _say_price(price, stream, as_json and dry_run)
    if dry_run:
        return GOOD
    place = default_out(scale) if out is None else out
    watcher = None if quiet else _lines(stream)
    command = shlex.join(["evomal", *context.obj])
    try:
        more: dict[str, Any] = {"timed_batch": timed_batch, "force": force, "watcher": watcher, "command": command}
        found = run(what, rows or (), out=place, **given, **more)
    except KeyboardInterrupt:
        say(f"stopped by Ctrl-C; what is finished is in {place}, and the same command goes on from there")
        return INTERRUPTED
    _report(found, as_json)
    return GOOD


def _say_price(price: "PlanPrice", stream: TextIO, as_json: bool) -> None:
    from evomal.report.tables import make_table, print_table
    from evomal.reproduction.prices import HEADS, row_of

    if as_json:
        print_json(price.as_dict())
        return
    table = make_table(*HEADS, left=(HEADS[0], HEADS[-1]))
    for part in price.parts:
        table.add_row(*row_of(part))
    print_table(table, stream)
    for line in price.summary:
        print(line, file=stream, flush=True)


def _lines(stream: TextIO) -> "ReproductionWatcher":
    """Says what begins and what is written, on lines of a stream."""
    from evomal.report.comparing import ComparisonLines
    from evomal.reproduction import ReproductionWatcher

    class Told(ReproductionWatcher):
        comparison = ComparisonLines(stream)

        def part(self, part: Any, number: int, of: int) -> None:
            print(f"[{number} of {of}] {part.folder}", file=stream, flush=True)

        def written(self, paths: Sequence[Path]) -> None:
            print(f"written: {', '.join(map(str, paths))}", file=stream, flush=True)

    return Told()


def _report(found: "Reproduction", as_json: bool) -> None:
    from evomal.foundation.serialization import cleaned
    from evomal.report.tables import make_table, print_table

    if as_json:
        print_json(found.as_dict())
        return
    for name, table in found.tables.items():
        print(f"\n{name}")
        heads = table.heads()
        shown = make_table(*heads, left=(*heads[:2], heads[-1]))
        for row in table.rows():
            shown.add_row(*map(cleaned, row))
        print_table(shown, sys.stdout)
        for note in table.notes:
            print(cleaned(note))
    for name, paths in found.figures.items():
        print(f"{name}: {', '.join(map(str, paths))}")
