"""Runs searches and commands in forks of one warm process: each starts in milliseconds, and may die as it likes.

A process of its own is forked, not the one of the tests, which has threads that a fork would not have. As a script it
reads one order per line, as JSON, and answers each by how its fork ended.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

NOBODY = 65534
KILLED = 9
"""The exit code of a fork that died at its crash point."""


class Ended(NamedTuple):
    """How a fork ended.

    Args:
        code: Its exit code.
        out: What it printed.
        err: What it said on standard error.
    """

    code: int
    out: str
    err: str


class Forks:
    """A warm process that is forked for every call."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "EVOMAL_TRACEBACK"}
        path = [str(Path(__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)},
        )

    def __call__(self, **order: Any) -> Ended:
        """Follow an order in a fork; see `_follow`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order, default=str) + "\n")
        stdin.flush()
        return Ended(*json.loads(stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _serve() -> None:
    import torch

    torch.set_num_threads(1)
    from helpers import fast

    with TemporaryDirectory() as folder:  # all that is loaded when it is needed is loaded now
        _command(["learn", *IRIS, "--out", f"{folder}/a", "--quiet"], None)
        _command(["learn", "--resume", f"{folder}/a", "--json"], None)
        fast.learn(Path(folder) / "b", fast.settings())
    for line in sys.stdin:
        with TemporaryDirectory() as folder:
            print(json.dumps(_forked(json.loads(line), Path(folder))), file=ANSWERS, flush=True)


def _forked(order: dict[str, Any], folder: Path) -> Ended:
    """Follow an order in a fork."""
    streams = [(folder / name).open("w+", encoding="utf-8") for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        code = 70
        try:
            for number, stream in enumerate(streams, start=1):
                os.dup2(stream.fileno(), number)
            try:
                code = _follow(**order)
            except Exception:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for stream in streams:
        stream.seek(0)
    return Ended(code, *(stream.read() for stream in streams))


def _follow(
    command: list[str] | None = None,
    script: str | None = None,
    search: dict[str, Any] | None = None,
    out: str | None = None,
    cwd: str | None = None,
    largest: int | None = None,
    nobody: bool = False,
    crash: tuple[int, str] | None = None,
    counted: bool = False,
) -> int:
    """In a fork.

    Args:
        command: What follows `evomal` on a command line.
        script: A file of Python to run as it stands instead.
        search: Settings of `fast.settings`, and options of `fast.learn`, of a search instead.
        out: Its run folder.
        cwd: Where it works.
        largest: Bytes that a file may have; one that would be larger cannot be written, as on a full disk.
        nobody: Let go of root's rights, for which every folder can be written.
        crash: Which of the operations on files to die at, and where: before it, within it, or after it.
        counted: Print all operations on files, as JSON.
    """
    if cwd is not None:
        os.chdir(cwd)
    from helpers import operations

    point = operations.Point() if crash is None else operations.Crash(*crash)
    operations.install(point)
    if nobody and os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    if command is not None:
        return _command(command, largest)
    if script is not None:
        runpy.run_path(script, run_name="__main__")
        return 0
    assert search is not None
    from helpers import fast

    options = {name: search.pop(name) for name in ("force", "resume") if name in search}
    try:
        fast.learn(Path(str(out)), fast.settings(**search), **options)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    if counted:
        print(json.dumps(point.seen))
    return 0


IRIS = [
    *("--dataset", "iris", "--model", "linear", "--generations", "3", "--population", "5", "--max-depth", "2"),
    *("--min-depth", "1", "--meta-steps", "1", "--partial-steps", "6", "--rejection-steps", "60"),
    *("--rejection-threshold", "0.05", "--lr", "0.05", "--batch-size", "16", "--no-finals"),
]
"""Arguments of `evomal learn` for a search of half a second."""


def _command(arguments: list[str], largest: int | None) -> int:
    from evomal.cli import main

    if largest is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    return main(arguments)


if __name__ == "__main__":
    ANSWERS = os.fdopen(os.dup(1), "w")  # what anybody prints meanwhile is no answer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _serve()
