"""`evomal` as a process of its own, to be killed, stopped and run twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evomal.store import comparable, read_journal
from helpers.forks import Forks, Started

DEADLINE = 120  # seconds; a loaded machine is slow, and nothing but a failure waits so long

# A search of some seconds, in which every part has something to do.
SMALL = [
    *("--preset", "paper-mnist", "--dataset", "digits", "--model", "mlp", "--generations", "5", "--population", "6"),
    *("--meta-steps", "5", "--partial-steps", "25"),
    *("--rejection-steps", "5", "--rejection-lr", "0.1", "--rejection-threshold", "0.05"),
]
LEARN = ["learn", *SMALL, "--out", "run", "--json", "--quiet"]
RESUME = ["learn", "--resume", "run", "--json", "--quiet"]


class Call:
    """`evomal` in a process, a session and a temporary folder of its own.

    Args:
        arguments: What follows `evomal` on the command line.
        folder: Where it works; its run is `run` in there.
        fork: What to fork it from; without, it is a process from the start, which takes seconds.
    """

    numbers = count()

    def __init__(self, arguments: list[str], folder: Path, fork: Forks | None) -> None:
        self.run, self.temporary = folder / "run", folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        # No pipes: the workers of a killed process hold them open for a while.
        self._out, self._err = (folder / f"{name}-{next(self.numbers)}" for name in ("out", "err"))
        changes = {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary)}
        self.process: subprocess.Popen[bytes] | Started
        if fork is not None:
            self.process = fork.start(arguments, folder, self._out, self._err, changes)
            return
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evomal.cli", *arguments],
                cwd=folder,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=os.environ | changes,
            )

    @property
    def out(self) -> str:
        """What it printed."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it said on standard error."""
        return self._err.read_text()

    @property
    def result(self) -> dict[str, Any]:
        """What `--json` printed, but for times."""
        return {name: value for name, value in json.loads(self.out).items() if name != "seconds"}

    @property
    def lines(self) -> list[bytes]:
        """The whole lines of its run's journal, as they are."""
        try:
            return (self.run / "journal.jsonl").read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def workers(self) -> list[int]:
        """The processes that work for it."""
        return [each.pid for each in processes() if each.parent == self.process.pid and "tracker" not in each.command]

    @property
    def left(self) -> list["Process"]:
        """Whatever it has started that still lives."""
        return [each for each in processes() if each.session == self.process.pid != each.pid]

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that it does; what the condition gives, false only if the process ended before."""
        return wait_for(lambda: condition() or not self.lives) and condition()

    def wait(self) -> int:
        """Its exit code, once it has ended; a signal that killed it is negative."""
        return self.process.wait(DEADLINE)

    def kill(self) -> int:
        """Kill it, as the system does when memory runs out: it alone, at once, in whatever it is doing."""
        self.process.kill()
        return self.wait()

    def leaves_nothing(self) -> None:
        """Wait until all that it started has ended."""
        wait_for(lambda: not self.left)

    def ctrl_c(self) -> None:
        """Press Ctrl-C: a terminal tells the process and all that it started."""
        os.killpg(self.process.pid, signal.SIGINT)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true; what it gives."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"nothing has happened in {DEADLINE} seconds"
        time.sleep(0.004)
    return value


class Process(NamedTuple):
    """A process that lives."""

    pid: int
    parent: int
    session: int
    command: str


def processes() -> list[Process]:
    """All processes that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if state not in "ZX":
            found.append(Process(int(entry.name), int(parent), int(session), command))
    return found


class Reference(NamedTuple):
    """What a run comes to when nothing happens to it.

    Args:
        run: Its folder.
        result: What `--json` printed, but for times.
    """

    run: Path
    result: dict[str, Any]

    @property
    def lines(self) -> int:
        """How many lines its journal has."""
        return len(read_journal(self.run))

    def require(self, call: Call, err: str = "") -> None:
        """A call, however its run was begun, has ended well and with the same search."""
        assert (call.wait(), call.err) == (0, err)
        assert call.result == self.result
        same_run(call.run, self.run)

    def require_same(self, run: Path) -> None:
        """A folder holds the same search."""
        same_run(run, self.run)


def same_run(a: Path, b: Path) -> None:
    """Two run folders hold the same search, to the bit, but for times."""
    assert comparable(read_journal(a)) == comparable(read_journal(b))
    assert (a / "loss.json").read_bytes() == (b / "loss.json").read_bytes()


@pytest.fixture(scope="session")
def reference(tmp_path_factory, fork) -> Reference:
    """The run of `SMALL`, uninterrupted."""
    call = Call(LEARN, tmp_path_factory.mktemp("reference"), fork)
    assert (call.wait(), call.err) == (0, "")
    return Reference(call.run, call.result)


@pytest.fixture
def start(tmp_path, fork) -> Iterator[Callable[..., Call]]:
    """Starts `evomal` in a folder, from the start if it is to be real; all of its processes end with the test."""
    calls = []

    def start(*arguments: str, folder: Path = tmp_path, real: bool = False) -> Call:
        calls.append(Call(list(arguments), folder, None if real else fork))
        return calls[-1]

    yield start
    for call in calls:
        call.kill()
        for each in call.left:
            os.kill(each.pid, signal.SIGKILL)


@pytest.fixture
def begin(start) -> Callable[..., Call]:
    """Starts the run of `SMALL`, with further options."""
    return lambda *more, **where: start(*LEARN, *more, **where)


@pytest.fixture
def resume(start) -> Callable[..., Call]:
    """Goes on with it."""
    return lambda *more, **where: start(*RESUME, *more, **where)


@pytest.fixture
def small() -> list[str]:
    return list(SMALL)
