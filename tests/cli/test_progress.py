import io
import math
import sys
import types

import pytest
import torch
from rich.console import Console

import evomal
from evomal.config import learn_settings
from evomal.engines.genome import Formula
from evomal.expressions import parse
from evomal.report.counting import Progress
from evomal.report.progress import LineProgress, LiveProgress, NotebookProgress, make_progress
from evomal.search import Candidate
from evomal.search.search_log import SearchLog
from evomal.tasks import TaskSet


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def candidate(outcome, fitness=0.5):
    genome = Formula(parse("square(sub(y, f))"))
    return Candidate(0, 0, genome, "initial", weights=[2.0, 1.0, 1.0], outcome=outcome, fitness=fitness)


def recorded(progress, *outcomes):
    """Members go through the search's record, which tells the progress of them."""
    task = evomal.Task(lambda: torch.nn.Linear(1, 2), (torch.randn(20, 1), torch.arange(20) % 2))
    record = SearchLog(TaskSet((task,)), progress.settings, None, progress, math.inf)
    for outcome in outcomes:
        record.add(candidate(outcome))
    return record


def go_through(progress, clock):
    """One of four generations of five, in a quarter of a minute."""
    progress.stage("tune", 4)
    record = recorded(progress, "trained", "rejected", "rejected", "failed", "archived")
    clock.now += 15
    progress.generation(0, record.best)


@pytest.fixture
def settings():
    return learn_settings(population_size=5, generations=4)


def test_pace_and_time_left(settings):
    clock = Clock()
    progress = Progress("digits/mlp", settings, clock)
    assert progress.left is None
    assert progress.fitness == "none yet"
    go_through(progress, clock)
    assert progress.per_minute == pytest.approx(4 * 60 / 15)  # the archived one was no evaluation
    assert progress.left == pytest.approx(45)
    assert progress.counts == {"trained": 1, "rejected": 2, "failed": 1, "archived": 1}


def test_one_line_a_generation(settings):
    stream, clock = io.StringIO(), Clock()
    with LineProgress("digits/mlp", settings, stream, clock) as progress:
        go_through(progress, clock)
    assert stream.getvalue() == (
        "generation 1/4  best 0.5  trained 1, rejected 2, failed 1, archived 1  "
        "16 evaluations/min, about 45.0 s left  4·(y - f)²\n"
    )


def test_live_display_on_a_terminal(settings):
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=100, markup=False, highlight=False)
    with LiveProgress("digits/mlp", settings, console, clock) as progress:
        go_through(progress, clock)
        console.print(progress.render())
    shown = stream.getvalue()
    for part in ("2 of 4", "0.5", "4·(y - f)²", "trained 1, rejected 2", "16 evaluations/min, about 45.0 s left"):
        assert part in shown
    assert "\x1b[?25h" in shown  # the cursor is back


def test_softplus_is_part_of_the_formula():
    settings = learn_settings(output_activation="softplus")
    progress = Progress("digits/mlp", settings)
    recorded(progress, "trained")
    assert progress.formula == "softplus(4·(y - f)²)"


def test_progress_suits_where_it_goes(settings):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert type(make_progress("t", settings, io.StringIO())) is LineProgress
    assert type(make_progress("t", settings, Terminal())) is LiveProgress
    assert type(make_progress("t", settings, Terminal(), quiet=True)) is Progress


class Display:
    """What a notebook shows below a cell."""

    def __init__(self):
        self.shown = []

    def display(self, data, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(data["text/html"])
        return self

    def update(self, data, raw):
        self.shown.append(data["text/html"])


@pytest.fixture
def notebook(monkeypatch):
    display, ipython = Display(), types.ModuleType("IPython")
    ipython.get_ipython = type("ZMQInteractiveShell", (), {})
    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return display


def test_a_table_in_a_notebook(settings, notebook):
    clock = Clock()
    with NotebookProgress("a<b", settings, clock) as progress:
        go_through(progress, clock)
    first, *_, last = notebook.shown
    assert "1 of 4" in first
    assert "a&lt;b" in first
    for part in ("2 of 4  done", "4·(y - f)²", "trained 1, rejected 2", '<progress value="5" max="20">'):
        assert part in last
    count = len(notebook.shown)
    with NotebookProgress("mine", settings, Clock()) as progress:  # no more than twice a second
        for _ in range(50):
            progress.stage("train", 3)
    assert len(notebook.shown) == count + 3


def _learn(**options):
    task = evomal.Task(lambda: torch.nn.Linear(1, 2), (torch.randn(20, 1), torch.arange(20) % 2))
    tiny = {"population_size": 2, "generations": 1, "partial_steps": 1, "rejection": False, "finals": False}
    return evomal.GPLFL(**tiny).learn(task, **options)


def test_learning_in_python_shows_its_progress_where_somebody_watches(monkeypatch, capsys, notebook):
    heard = []
    watcher = type("Heard", (evomal.search.Watcher,), {"generation": lambda self, number, best: heard.append(number)})()
    _learn(watcher=watcher)
    assert "1 of 1  done" in notebook.shown[-1]
    assert heard == [0]
    shown = len(notebook.shown)
    _learn(progress=False)
    assert len(notebook.shown) == shown
    monkeypatch.delitem(sys.modules, "IPython")
    _learn()  # in a pipe nobody watches
    assert capsys.readouterr().err == ""
    _learn(progress=True)
    assert capsys.readouterr().err.startswith("generation 1/1  best ")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    _learn()
    assert "1 of 1" in terminal.getvalue()
