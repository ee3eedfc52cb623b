"""Progress of a comparison: one line for each finished search and training."""

from typing import TextIO

from evomal.comparison.entries import Entry
from evomal.comparison.plan import Plan
from evomal.comparison.results import SearchSummary
from evomal.comparison.running import ComparisonWatcher
from evomal.report.text import cleaned, duration
from evomal.training import TrainingRun


class Lines(ComparisonWatcher):
    """Writes a line for everything that is finished.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, plan: Plan, searches: int, trainings: int) -> None:
        """Say what is to be done, and the most that it may take."""
        budget = f"searches (all together at most {plan.evaluations} evaluations)"
        full = f"trainings of {plan.training.steps} steps"
        self._say(
            f"to be done: {searches} of {len(plan.searches)} {budget}, {trainings} of {len(plan.trainings)} {full}"
        )

    def search(self, entry: Entry, summary: SearchSummary) -> None:
        """Say what a search found."""
        fitness = "nothing was trained" if summary.fitness is None else f"fitness {summary.fitness:.4f}"
        work = f"{summary.evaluations} partial trainings, {duration(summary.seconds)}"
        self._say(f"{entry.name}  seed {summary.seed}: {fitness}  ({work})  {summary.formula}")

    def training(self, entry: Entry, run: TrainingRun) -> None:
        """Say what a training came to."""
        ended = run.reason or f"validation {run.valid:.4f}, test {run.test:.4f}"
        self._say(f"{entry.name}  seed {run.seed}  lr {run.lr:g}: {ended}  ({duration(run.seconds)})")

    def _say(self, line: str) -> None:
        print(cleaned(line), file=self._stream, flush=True)
