"""Tables and lines for terminals, and the same for pipes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evomal.foundation.files import LEARNED
from evomal.foundation.serialization import cleaned, duration

if TYPE_CHECKING:
    from evomal.analysis import Audit
    from evomal.comparison import Comparison
    from evomal.comparison.trained import TrainedLoss
    from evomal.search import LearnResult
    from evomal.search.prices import Price


WIDE = 1000  # columns of what is no terminal: nothing is broken into lines there
OUTCOMES = ("trained", "equivalent", "dropped", "rejected", "failed", "archived", "elite")
NEAREST, PARTS = 3, 12  # rows of an audit: losses beside it, parts of its formula


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
    formula = result.learned.short()
    use = f"criterion = evomal.load_loss({str(loss_file)!r}); loss = criterion(outputs, targets)"
    recommended = result.fitness is not None or result.verdict is not None
    return {
        **({"learned": formula} if result.verdict else {"formula": formula}),
        "fitness": fitness,
        "beside it": f"{rival} with {baseline['loss']} in the same training{_verdict(result)}",
        "outcomes": f"{outcomes_text(result.outcomes)} ({len(result.members)} in all)",
        "time": duration(result.seconds),
        "loss file": f"{loss_file}{_handed_out(result, loss_file)}",
        **({"use it": use} if recommended else {}),
        **_finals(result),
    }


def _handed_out(result: "LearnResult", loss_file: Path) -> str:
    """What lies in the loss file, where finals decided that."""
    from evomal.losses import SavedLoss

    if result.verdict is None:
        return ""
    rate = "" if result.verdict.lr is None else f", at rate {result.verdict.lr:.3g}"
    if result.best_learned is None:
        return f" (the learned loss{rate})"
    if not isinstance(result.loss, SavedLoss):
        return " (the best learned loss; what the verdict names is a function of your own)"
    return f" ({result.verdict.name}{rate}; the best learned loss is {loss_file.with_name(LEARNED)})"


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


def outcomes_text(counts: Mapping[str, int]) -> str:
    """How many candidates ended in which way, in a fixed order.

    Example:
        >>> outcomes_text({"rejected": 3, "trained": 2})
        'trained 2, rejected 3'
    """
    return ", ".join(f"{name} {counts[name]}" for name in OUTCOMES if counts.get(name))


def between(low: str, high: str) -> str:
    """A range, or one value where both ends are the same.

    Example:
        >>> between("3", "5"), between("3", "3")
        ('3 to 5', '3')
    """
    return low if low == high else f"{low} to {high}"


def table_of_trained(results: Sequence["TrainedLoss"]) -> Table:
    """One row a loss: chosen rate, mean ± standard deviation over seeds, each seed's value, seconds."""
    from evomal.comparison.trained import rows_of_trained

    heads, *rows = rows_of_trained(results)
    table = make_table(*heads, left=("loss", "each seed"))
    for row in rows:
        table.add_row(*row)
    return table


def table_of_comparison(comparison: "Comparison") -> Table:
    """One row a contender: test metric at the fixed and at its best rate, with what is gained, and the search's price.

    Args:
        comparison: The comparison.

    Returns:
        The table; the best mean of each column is bold. With a single learning rate the second block is left out.
    """
    from evomal.comparison.tables import columns_of

    # The effect size is in the Markdown table; a terminal has no room for it.
    columns = [column for column in columns_of(comparison, cleaned) if column.head != "d"]
    table = make_table(*(column.head for column in columns), left=("loss",))
    for place in range(len(comparison.contenders)):
        styled = [Text(column.cells[place], style="bold" if place in column.best else "") for column in columns]
        table.add_row(*styled)
    return table


def table_of_audit(audit: "Audit") -> Table:
    """The numbers of an audit, one row each.

    Example:
        >>> from evomal.analysis import audit
        >>> from evomal.losses import HandcraftedLoss
        >>> table_of_audit(audit(HandcraftedLoss("mse"))).row_count
        9
    """
    table = make_table("measured", "value", left=("measured",))
    for name, weight in audit.weights.items():
        what = "weight on the margin" if audit.task_type != "regression" else "slope"
        table.add_row(f"{what}, {name} predictions" if audit.classes else f"{what}, {name} residuals", _shown(weight))
    table.add_row("asymmetry", _shown(audit.asymmetry))
    table.add_row("minimum at", f"{audit.minimum:g}")
    if audit.properness is not None:
        table.add_row("distance from proper", f"{audit.properness:g}")
    table.add_row("greatest value, far out", _shown(audit.greatest))
    table.add_row("Lipschitz constant on the grid", _shown(audit.lipschitz))
    for known in audit.nearest[:NEAREST]:
        table.add_row(f"distance from {cleaned(known.name)}", f"{known.distance:.3f}")
    for part in audit.ablation.parts[:PARTS] if audit.ablation else ():
        table.add_row(f"change without {cleaned(part.text)}", "needed" if part.change is None else f"{part.change:.3f}")
    return table


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
