"""Runs searches and commands in forks of one warm process: each starts in milliseconds, and may die as it likes.

A process of its own is forked, not the one of the tests, which has threads that a fork would not have. As a script it
reads one order per line, as JSON, and answers each: with how its fork ended, or, for one that is only to be begun, with
its number. Such a fork is what `python -m evomal.cli` would be but for its start: it leads a session, signals do what
they do to any process, and its workers are forks too. Workers of the tests' own process can be had from here as well:
they become its children, as those that it starts itself are.
"""

import atexit
import ctypes
import fcntl
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, NoReturn

import joblib.externals.loky.process_executor  # noqa: F401
from joblib.externals.loky.backend import fork_exec as loky

fork_exec = loky.fork_exec  # as it was

NOBODY = 65534
SUBREAPER = 36  # Linux's number of what `prctl` is to set
ABOVE = 512  # numbers of files that nobody asks for
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
    """A warm process, started when it is first needed, that is forked for every call."""

    def __init__(self) -> None:
        self._owner, self._lock = os.getpid(), threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        self._files, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name != "EVOMAL_TRACEBACK"}
        path = [str(Path(__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
        with theirs:
            return subprocess.Popen(
                [sys.executable, "-m", "helpers.forks", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)},
            )

    def __call__(self, **order: Any) -> Ended:
        """Follow an order in a fork; see `_follow`."""
        return Ended(*self._ask(order))

    def start(self, command: list[str], cwd: Path, out: Path, err: Path, environment: Mapping[str, str]) -> "Started":
        """Begin a command, as `subprocess.Popen` would.

        Args:
            command: What follows `evomal` on a command line.
            cwd: Where it works.
            out: The file of what it prints.
            err: The file of what it says on standard error.
            environment: Changes of the environment.
        """
        order = {"command": command, "cwd": cwd, "environment": dict(environment)}
        return Started(self, self._ask({"start": order, "streams": (out, err)}))

    def poll(self, pid: int) -> int | None:
        """The exit code of a command that was begun, asked for once; None while it lives."""
        return self._ask({"poll": pid})

    def worker(self, command: list[str], keep: Sequence[int], env: Mapping[str, str] | None = None) -> int:
        """Start a worker for this process as loky's `fork_exec` does; it becomes a child of this process."""
        if os.getpid() != self._owner:  # a fork of the tests' process, whose child it would not be
            return fork_exec(command, keep, env)
        files = sorted({0, 1, 2, *keep})
        order = {"worker": command, "files": files, "cwd": os.getcwd(), "environment": {**os.environ, **(env or {})}}
        return self._ask(order, files)

    def _ask(self, order: dict[str, Any], files: Sequence[int] = ()) -> Any:
        with self._lock, _adopting(bool(files)):
            self._process = self._process or self._start()
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            if files:
                socket.send_fds(self._files, [b"files"], list(files))
            stdin.write(json.dumps(order, default=str) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._files.close()


@contextmanager
def _adopting(wanted: bool) -> Iterator[None]:
    """Within this, children of children that have died become our own children."""
    if wanted:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    yield
    if wanted:
        ctypes.CDLL(None).prctl(SUBREAPER, 0, 0, 0, 0)


class Started:
    """A command that was begun; used as a `subprocess.Popen`."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks, self.pid, self.returncode = forks, pid, None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        if self.returncode is None:
            self.returncode = self._forks.poll(self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("evomal", timeout)
            time.sleep(0.004)
        return code

    def send_signal(self, number: int) -> None:
        """Tell it alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it alone."""
        self.send_signal(signal.SIGKILL)


def _serve() -> None:
    import torch

    torch.set_num_threads(1)
    from helpers import fast

    with TemporaryDirectory() as folder:  # all that is loaded when it is needed is loaded now
        _command(["learn", *IRIS, "--out", f"{folder}/a", "--quiet"], None)
        _command(["learn", "--resume", f"{folder}/a", "--json"], None)
        fast.learn(Path(folder) / "b", fast.settings())
    for line in sys.stdin:
        print(json.dumps(_answer(**json.loads(line))), file=ANSWERS, flush=True)


def _answer(
    start: dict[str, Any] | None = None,
    streams: tuple[str, str] = ("", ""),
    poll: int | None = None,
    worker: list[str] | None = None,
    **order: Any,
) -> Any:
    """Begin a command, tell whether one has ended, start a worker, or follow an order to its end."""
    if worker is not None:
        return _worker_of_another(worker, **order)
    if start is not None:
        return _fork(start, streams, begun=True)
    if poll is not None:
        ended, status = os.waitpid(poll, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        child = _fork(order, files)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(code, *(file.read_text(encoding="utf-8") for file in files))


def _fork(order: dict[str, Any], streams: Sequence[str | Path], begun: bool = False) -> int:
    """Follow an order in a fork, whose number is given."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.close(ANSWERS.fileno())
        for number, name in enumerate((os.devnull, *streams)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        _other_random_numbers()
        if begun:
            _like_a_process()
        try:
            code = _follow(**order)
        except Exception:
            traceback.print_exc()
        if begun:  # what the interpreter does at its end
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _like_a_process() -> None:
    """Make this fork a session of its own, which signals end, and whose workers are forks."""
    os.setsid()
    _default_signals()
    loky.fork_exec = _worker


def _default_signals() -> None:
    """Forget the handlers that a fork has from its parent."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _worker(command: list[str], keep: Sequence[int], env: Mapping[str, str] | None = None) -> int:
    """Start loky's worker as a fork of this process; nothing is open in it but what it is given."""
    child = os.fork()
    if child == 0:
        files = sorted({0, 1, 2, *keep})
        os.environ.update(env or {})
        _work(command, files, files)
    return child


def _worker_of_another(command: list[str], files: list[int], cwd: str, environment: dict[str, str]) -> int:
    """Start loky's worker for the tests' process, whose child it becomes as its parent dies at once."""
    given = socket.recv_fds(FILES, 5, len(files))[1]
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork():
            os._exit(0)
        while os.getppid() != TESTS:
            time.sleep(0.0005)
        os.write(tell, str(os.getpid()).encode())
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        _work(command, given, files)
    os.waitpid(parent, 0)
    for file in (tell, *given):
        os.close(file)
    with os.fdopen(told) as pipe:
        return int(pipe.read(20))


def _work(command: list[str], given: Sequence[int], files: Sequence[int]) -> NoReturn:
    """In a fork: be loky's worker, with these open files and no others, under their numbers in its parent."""
    code: Any = 1
    try:
        _default_signals()
        _other_random_numbers()
        tempfile.tempdir = None
        moved = [fcntl.fcntl(file, fcntl.F_DUPFD, ABOVE) for file in given]
        for file in [int(name) for name in os.listdir("/proc/self/fd")]:
            if file not in moved:
                with suppress(OSError):
                    os.close(file)
        for file, number in zip(moved, files, strict=True):
            os.dup2(file, number)
            os.close(file)
        _, _, module, *sys.argv[1:] = command  # python -m module …
        sys.modules.pop(module, None)  # or Python warns of a second one
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _other_random_numbers() -> None:
    """Each process has its own, as long as nobody seeds them; forks would all have the same."""
    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.seed()


def _follow(
    command: list[str] | None = None,
    script: str | None = None,
    search: dict[str, Any] | None = None,
    out: str | None = None,
    cwd: str | None = None,
    environment: dict[str, str] | None = None,
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
        environment: Changes of the environment.
        largest: Bytes that a file may have; one that would be larger cannot be written, as on a full disk.
        nobody: Let go of root's rights, for which every folder can be written.
        crash: Which of the operations on files to die at, and where: before it, within it, or after it.
        counted: Print all operations on files, as JSON.
    """
    if cwd is not None:
        os.chdir(cwd)
        sys.path[0] = cwd
    if environment is not None:
        os.environ.update(environment)
        tempfile.tempdir = None
    from helpers import operations

    point = operations.Point() if crash is None else operations.Crash(*crash)
    operations.install(point)
    if nobody and os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    sys.argv = ["evomal", *command] if command is not None else [script or ""]
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
    *(
        "--min-depth",
        "1",
        "--meta-steps",
        "1",
        "--partial-steps",
        "6",
        "--rejection-steps",
        "8",
        "--rejection-lr",
        "0.08",
    ),
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
    FILES, TESTS = socket.socket(fileno=int(sys.argv[1])), os.getppid()
    ANSWERS = os.fdopen(os.dup(1), "w")  # what anybody prints meanwhile is no answer
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _serve()
