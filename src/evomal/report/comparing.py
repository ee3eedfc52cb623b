"""Progress of a comparison, one line for each finished search and training, and what it would do."""

from collections import Counter
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from evomal.comparison import Contender, SearchSummary
from evomal.comparison.pending import Left
from evomal.comparison.plan import Plan
from evomal.comparison.running import ComparisonWatcher
from evomal.foundation.serialization import cleaned, duration, shown
from evomal.report.tables import make_table
from evomal.training import TrainingRun


class ComparisonLines(ComparisonWatcher):
    """Writes a line for everything that is finished.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, plan: Plan, left: Left) -> None:
        """Say what is to be done, and the most that it may take."""
        for line in lines_of_plan(plan, left):
            self._say(line)

    def search(self, contender: Contender, summary: SearchSummary) -> None:
        """Say what a search found."""
        fitness = "nothing was trained" if summary.fitness is None else f"fitness {shown(summary.fitness)}"
        work = f"{_counted(summary.evaluations, 'partial training')}, {duration(summary.seconds)}"
        self._say(f"{contender.name}  seed {summary.seed}: {fitness}  ({work})  {summary.formula}")

    def training(self, contender: Contender, run: TrainingRun) -> None:
        """Say what a training came to."""
        self._say(f"{contender.name}  seed {run.seed}  lr {run.lr:g}: {run.ended}  ({duration(run.seconds)})")

    def _say(self, line: str) -> None:
        print(cleaned(line), file=self._stream, flush=True)


def lines_of_plan(plan: Plan, left: Left) -> list[str]:
    """What is to be done at most, and which settings do not hold for which contender."""
    remarks = plan.remarks
    if left.others:
        names = ", ".join(left.others)
        remarks = [
            *remarks,
            f"{names}: in the folder from an earlier call, not in this table; name them to have them in it",
        ]
    if not left.searches and not left.trainings:
        return ["to be done: nothing, everything is finished", *remarks]
    evaluations = sum(contender.evaluations for contender, _ in left.searches)
    searches = (
        f"{len(left.searches)} of {len(plan.searches)} searches (at most {_counted(evaluations, 'partial training')})"
    )
    trainings = f"{len(left.trainings)} of {len(plan.trainings)} trainings of {_counted(plan.training.steps, 'step')}"
    return [f"to be done: {searches}, {trainings}", *remarks]


def table_of_plan(plan: Plan, left: Left) -> Table:
    """One row a contender: its searches, what each may take, and its trainings; what is left of how many."""
    table = make_table("loss", "searches left", "partial trainings each, at most", "trainings left", left=("loss",))
    for row in plan_rows(plan, left):
        baseline = " (baseline)" if row["name"] == plan.baseline else ""
        table.add_row(
            Text(cleaned(row["name"]) + baseline),
            f"{row['searches_left']} of {row['searches']}" if row["searches"] else "",
            str(row["evaluations_each"]) if row["searches"] else "",
            f"{row['trainings_left']} of {row['trainings']}",
        )
    return table


def plan_rows(plan: Plan, left: Left) -> list[dict[str, Any]]:
    """What each contender has to do, as plain values."""
    searches, open_searches, trainings, open_trainings = (
        Counter(contender.name for contender, *_ in items)
        for items in (plan.searches, left.searches, plan.trainings, left.trainings)
    )
    return [
        {
            "name": contender.name,
            "kind": contender.kind,
            "searches": searches[contender.name],
            "searches_left": open_searches[contender.name],
            "evaluations_each": contender.evaluations,
            "trainings": trainings[contender.name],
            "trainings_left": open_trainings[contender.name],
        }
        for contender in plan.contenders
    ]


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
