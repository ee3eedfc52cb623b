"""Tables and lines for terminals, and the same for pipes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table

from evomal.foundation.serialization import cleaned, duration
from evomal.report.text import between, outcomes_text

if TYPE_CHECKING:
    from evomal.search import LearnResult
    from evomal.search.prices import Price

WIDE = 1000  # columns of what is no terminal: nothing is broken into lines there


def print_pairs(pairs: Mapping[str, object], stream: TextIO, indent: int = 0) -> None:
    """Names and values, one pair a line, the values below one another.

    Example:
        >>> import sys
        >>> print_pairs({"fitness": 0.5, "time": "2 s"}, sys.stdout)
        fitness  0.5
        time     2 s
    """
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        print(f"{'':{indent}}{name:{width}}  {cleaned(value)}".rstrip(), file=stream)


def make_table(*columns: str, left: tuple[str, ...] = ()) -> Table:
    """An empty table; columns named in `left` hold text, the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table


def print_table(table: Table, stream: TextIO) -> None:
    """A table, as wide as the terminal; in a pipe, as wide as it needs."""
    console = Console(file=stream, width=None if stream.isatty() else WIDE, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=stream)


def result_pairs(result: "LearnResult", loss_file: Path) -> dict[str, str]:
    """The end of a search: formula, fitness, outcomes, time, and how the loss is used."""
    info = result.learned.info
    metric, steps = info["learned_on"]["metric"], result.settings.partial_steps
    judged = f"{metric} on validation data after {steps} base steps"
    fitness = result.message if result.fitness is None else f"{result.fitness:.4g} ({judged})"
    baseline = info["baseline"]
    rival = "failed" if baseline["fitness"] is None else f"{baseline['fitness']:.4g}"
    formula = result.learned.formula(digits=4)
    use = f"criterion = evomal.load_loss({str(loss_file)!r}); loss = criterion(outputs, targets)"
    recommended = result.fitness is not None or result.verdict is not None
    return {
        **({"learned": formula} if result.verdict else {"formula": formula}),
        "fitness": fitness,
        "beside it": f"{rival} with {baseline['loss']} in the same training{_verdict(result)}",
        "outcomes": f"{outcomes_text(result.outcomes)} ({len(result.members)} in all)",
        "time": duration(result.seconds),
        "loss file": str(loss_file),
        **({"use it": use} if recommended else {}),
        **_finals(result),
    }


def _finals(result: "LearnResult") -> dict[str, str]:
    """What finals came to, the verdict last."""
    verdict = result.verdict
    if verdict is None:
        return {}
    rho = "" if verdict.rank_correlation is None else f"; Spearman's ρ with the fitness {verdict.rank_correlation:.2f}"
    found = sum(place.kind == "learned" for place in verdict.places)
    taking_part = f"{len(verdict.places)} losses, {found} of them learned"
    return {
        "finals": f"{taking_part}; {verdict.spent} of {verdict.budget} base steps{rho}",
        **({"note": "; ".join(verdict.notes)} if verdict.notes else {}),
        "verdict": verdict.message,
    }


def _verdict(result: "LearnResult") -> str:
    """Said where it is easily overlooked: the task loss did better."""
    return ": better than this loss" if result.fitness is not None and result.baseline < result.fitness else ""


def table_of_price(price: "Price") -> Table:
    """One row a stage, and the total."""
    table = make_table("stage", "candidates", "each", "in all", left=("stage",))
    for stage in price.stages:
        count = between(str(stage.least), str(stage.most))
        least, most = stage.seconds(stage.least), stage.seconds(stage.most)
        table.add_row(stage.name, count, duration(stage.each), between(duration(least), duration(most)))
    table.add_row("total", str(price.candidates), "", between(duration(price.least), duration(price.most)))
    return table
