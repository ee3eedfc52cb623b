"""Progress of a search: live on a terminal or in a notebook, one line a generation in a pipe, or nothing."""

import math
import sys
from collections.abc import Callable, Sequence
from html import escape
from importlib import import_module
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from evomal.config import LearnSettings
from evomal.evaluation.finals import Entrant, FinalsPlan, Trial
from evomal.foundation.serialization import duration
from evomal.report.counting import Progress
from evomal.report.tables import outcomes_text
from evomal.search import Candidate

REFRESH = 2  # times a second
STAGES = {"heat": "racing", "tune": "tuning", "filter": "filtering", "train": "training", "finals": "finals, training"}


class LineProgress(Progress):
    """One plain line for each generation, with the formula when there is a better one.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        stream: Where to write.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, name: str, settings: LearnSettings, stream: TextIO, clock: Callable[[], float] = perf_counter
    ) -> None:
        super().__init__(name, settings, clock)
        self._stream = stream
        self._shown: Candidate | None = None

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """Say where the run goes on."""
        super().resumed(members, best, generation)
        where = f"generation {generation + 1}/{self.settings.generations}"
        print(
            f"going on with {where}  best {self.fitness}  {len(members)} candidates are finished",
            file=self._stream,
            flush=True,
        )

    def generation(self, number: int, best: Candidate | None) -> None:
        """Write the line."""
        super().generation(number, best)
        parts = [
            f"generation {self.done}/{self.settings.generations}",
            f"best {self.fitness}",
            outcomes_text(self.counts),
            self.pace,
            "" if best is self._shown else self.formula,
        ]
        self._shown = best
        print("  ".join(part for part in parts if part), file=self._stream, flush=True)

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """Say what the finals are."""
        super().finals(entrants, plan)
        print(self.finals_text, file=self._stream, flush=True)

    def stage(self, name: str, count: int) -> None:
        """Say what the finals train next."""
        if name == "finals" and count:
            budget = 0 if self.plan is None else self.plan.whole_budget
            told = f"finals: {count} trainings next; {self.final_steps} of {budget} steps spent"
            print(told, file=self._stream, flush=True)


def rows_of(progress: Progress, stage: str) -> list[tuple[str, str]]:
    """What a display that is kept up to date shows: names and values."""
    generations = progress.settings.generations
    rows = [
        ("generation", f"{min(progress.done + 1, generations)} of {generations}  {stage}"),
        ("best", f"{progress.fitness}  {progress.formula}"),
        ("outcomes", outcomes_text(progress.counts)),
    ]
    if progress.plan is not None:
        rows.append(
            ("finals", f"{progress.final_steps} of {progress.plan.whole_budget} steps, {progress.entrants} losses")
        )
    return [*rows, ("pace", f"{progress.pace}, {duration(progress.seconds)} so far")]


class LiveProgress(Progress):
    """A display that is kept up to date in its place on a terminal.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        console: The terminal.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, name: str, settings: LearnSettings, console: Console, clock: Callable[[], float] = perf_counter
    ) -> None:
        super().__init__(name, settings, clock)
        self._stage = ""
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=REFRESH, transient=True)

    def stage(self, name: str, count: int) -> None:
        """Show what is going on."""
        self._stage = f"{STAGES.get(name, name)} {count}"

    def render(self) -> Table:
        """The display as it stands."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        first, *others = rows_of(self, self._stage)
        grid.add_row(*first)
        grid.add_row("", ProgressBar(total=self.settings.evaluations, completed=self.counts.total(), width=40))
        for row in others:
            grid.add_row(*row)
        return grid

    def __enter__(self) -> Self:
        """Start the display."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the display away; what follows is printed in its place."""
        self._live.stop()


class NotebookProgress(Progress):
    """A table that is kept up to date in its place below the cell of a notebook.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        clock: Seconds that only go forward.
    """

    def __init__(self, name: str, settings: LearnSettings, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__(name, settings, clock)
        self._stage, self._drawn = "", -math.inf
        self._handle: Any = None

    def stage(self, name: str, count: int) -> None:
        """Show what is going on."""
        self._stage = f"{STAGES.get(name, name)} {count}"
        self._draw()

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """Count an outcome, and show it."""
        super().member(candidate, best)
        self._draw()

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """Count base steps of the finals, and show them."""
        super().final(entrant, trial, value)
        self._draw()

    def __enter__(self) -> Self:
        """Show the table."""
        # Where there is a notebook it has been imported.
        self._handle = import_module("IPython.display").display({"text/html": self.html}, raw=True, display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it as it stands at the end."""
        self._stage, self._drawn = "stopped" if kind else "done", -math.inf
        self._draw()

    def _draw(self) -> None:
        if self._handle is not None and self._clock() - self._drawn >= 1 / REFRESH:
            self._drawn = self._clock()
            self._handle.update({"text/html": self.html}, raw=True)

    @property
    def html(self) -> str:
        """The table as it stands."""
        left = 'style="text-align: left"'
        cells = [(escape(name), escape(value)) for name, value in rows_of(self, self._stage) if value]
        rows = "".join(f"<tr><th {left}>{name}</th><td {left}>{value}</td></tr>" for name, value in cells)
        total = self.settings.evaluations
        bar = f'<progress value="{min(self.counts.total(), total)}" max="{total}"></progress>'
        return f"<div>{escape(self.name)} {bar}<table>{rows}</table></div>"


def progress_of(name: str, settings: LearnSettings, notebook: bool) -> Progress:
    """What a search that Python code begins shows: on standard error, or in a notebook.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        notebook: Whether there is one.
    """
    return NotebookProgress(name, settings) if notebook else make_progress(name, settings, sys.stderr)


def make_progress(name: str, settings: LearnSettings, stream: TextIO, quiet: bool = False) -> Progress:
    """The progress that suits where it goes: live on a terminal, lines in a pipe, nothing if `quiet`."""
    if quiet:
        return Progress(name, settings)
    if stream.isatty():
        return LiveProgress(name, settings, Console(file=stream, markup=False, highlight=False, emoji=False))
    return LineProgress(name, settings, stream)
