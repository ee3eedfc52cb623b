"""Progress of a search: live on a terminal or in a notebook, one line a generation in a pipe, or nothing."""

import math
import sys
from collections import Counter
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
from evomal.report.tables import outcomes_text
from evomal.search import Candidate, Watcher

REFRESH = 2  # times a second
STAGES = {"heat": "racing", "tune": "tuning", "filter": "filtering", "train": "training", "finals": "finals, training"}


class Progress(Watcher):
    """Keeps count and shows nothing.

    Args:
        name: What is learned on.
        settings: All settings of the search.
        clock: Seconds that only go forward.

    Attributes:
        counts: Members so far by outcome.
        best: The best candidate so far that was trained itself.
        done: Complete generations.
    """

    def __init__(self, name: str, settings: LearnSettings, clock: Callable[[], float] = perf_counter) -> None:
        self.name, self.settings = name, settings
        self.counts: Counter[str] = Counter()
        self.best: Candidate | None = None
        self.done = 0
        self.plan: FinalsPlan | None = None
        self.entrants = self.final_steps = 0
        self._before: Counter[str] = Counter()
        self._clock, self._start = clock, clock()

    def resumed(self, members: Sequence[Candidate], best: Candidate | None, generation: int) -> None:
        """Count what an earlier call had finished."""
        self.counts.update(member.outcome or "unfinished" for member in members)
        self._before = Counter(self.counts)
        self.best, self.done = best, generation

    def member(self, candidate: Candidate, best: Candidate | None) -> None:
        """Count an outcome."""
        self.counts[candidate.outcome or "unfinished"] += 1
        self.best = best

    def generation(self, number: int, best: Candidate | None) -> None:
        """Count a generation."""
        self.done = number + 1

    def finals(self, entrants: Sequence[Entrant], plan: FinalsPlan) -> None:
        """The finals have begun."""
        self.plan, self.entrants = plan, len(entrants)

    def final(self, entrant: Entrant, trial: Trial, value: float) -> None:
        """Count base steps of the finals."""
        self.final_steps += trial.steps

    @property
    def finals_text(self) -> str:
        """What the finals are, in words; nothing before they begin."""
        if self.plan is None:
            return ""
        return f"finals: {self.entrants} losses, {self.plan.steps} steps a training, {self.plan.budget} in all at most"

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return self._clock() - self._start

    @property
    def per_minute(self) -> float:
        """Evaluations per minute; what the outer filter answers is none."""
        now = self.counts - self._before
        known = now["archived"] + now["elite"]
        return 60 * (now.total() - known) / max(self.seconds, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds left if the rest goes like what is done; None before the first generation is complete.

        Later generations meet more known formulas, so it is rather less.
        """
        now = self.counts.total() - self._before.total()
        left = self.settings.evaluations - self.counts.total()
        return self.seconds * left / now if self.done and now else None

    @property
    def formula(self) -> str:
        """The best formula so far, with its coefficients."""
        return "" if self.best is None else self.best.formula

    @property
    def fitness(self) -> str:
        """The best fitness so far."""
        return "none yet" if self.best is None else f"{self.best.fitness:.4g}"

    @property
    def pace(self) -> str:
        """Evaluations per minute, and the time left."""
        left = "" if not self.left else f", about {duration(self.left)} left"
        return f"{self.per_minute:.3g} evaluations/min{left}"

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""


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
            budget = 0 if self.plan is None else self.plan.budget
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
        rows.append(("finals", f"{progress.final_steps} of {progress.plan.budget} steps, {progress.entrants} losses"))
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
