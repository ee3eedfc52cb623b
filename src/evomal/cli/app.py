"""The `evomal` command: its parts, and how errors become one line and an exit code."""

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, TextIO, cast

import typer
from typer.main import get_command

import evomal
from evomal.cli.compare import compare
from evomal.cli.learn import learn
from evomal.cli.options import SeveralValues, with_flags
from evomal.cli.output import BAD_USAGE, FAILED, GOOD, INTERRUPTED, Watched, printable, say
from evomal.cli.report import plot, report
from evomal.cli.reproduce import reproduce
from evomal.cli.show import list_names, show
from evomal.cli.train import train
from evomal.cli.transfer import transfer, tune
from evomal.executors import WorkerError
from evomal.executors.memory import keep_freed_memory
from evomal.foundation.errors import BaselineError, EvomalError, StorageError, one_line

TRACEBACK = "--traceback"
IGNORED = 2  # of the signals that end a program, all after so many end it at once
EPILOG = "Exit codes: 0 good, 1 failed, 2 bad usage or bad input, 130 stopped by Ctrl-C, 143 by SIGTERM."

app = typer.Typer(
    name="evomal",
    help="Learn a loss function for your model, data set and metric: a short formula, used as one line of PyTorch.",
    epilog=EPILOG,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("learn", short_help="Search for the loss that suits a task best.", cls=SeveralValues)(learn)
app.command("train", short_help="Train networks with finished losses, and compare.", cls=SeveralValues)(train)
app.command("transfer", short_help="Train networks of another task with a learned loss.", cls=SeveralValues)(transfer)
app.command("compare", short_help="Compare methods and losses over seeds.", cls=SeveralValues)(compare)
app.command("tune", short_help="Tune an old formula's coefficients for a new task.", cls=SeveralValues)(tune)
app.command("show", short_help="Show a loss, or the best formulas of a run.")(show)
app.command("report", short_help="Write a report on runs or comparisons: one HTML page.")(report)
app.command("plot", short_help="Draw one figure of losses, runs or a comparison.")(plot)
app.command("reproduce", short_help="Run the paper's tables and figures.", cls=SeveralValues)(reproduce)
app.command("list", short_help="List all names that other commands take.")(list_names)


@app.callback()
def evomal_command(
    context: typer.Context,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            help="Run your own Python file or module first, for the operators that it registers; may be repeated.",
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    show_traceback: Annotated[
        bool, typer.Option(TRACEBACK, help="Show where an error came from; EVOMAL_TRACEBACK=1 does the same.")
    ] = False,
) -> None:
    """Print the version, or the help if there is no command."""
    if version:
        print(f"evomal {evomal.__version__}")
        raise typer.Exit
    for source in modules or ():
        from evomal.tasks.user import import_user_module

        import_user_module(source)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows `evomal` on the command line; None takes it from there.

    Returns:
        The exit code: 0 good, 1 failed, 2 bad usage or bad input, 130 stopped by Ctrl-C, 143 by SIGTERM.

    Example:
        >>> main(["show"])  # and one line on standard error
        2
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Without a terminal and without a pipe (a daemon), output goes nowhere.
    sys.stdout, sys.stderr = (s or open(os.devnull, "w") for s in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # φ must not stop a terminal that has no φ
    shown = TRACEBACK in given or os.environ.get("EVOMAL_TRACEBACK", "") not in ("", "0")
    keep_freed_memory()
    # Whoever wants several workers is told in one sentence; with one it does not matter.
    warnings.filterwarnings("ignore", ".*joblib will operate in serial mode", UserWarning)
    with _watched_output(), _stops_remembered(ends=arguments is None) as stopped:
        code = _guarded([argument for argument in given if argument != TRACEBACK], shown, stopped)
        return 128 + stopped[-1] if code == INTERRUPTED and stopped else code


def _guarded(arguments: list[str], shown: bool, stopped: list[int]) -> int:
    """Run a command; whatever it raises becomes a line and an exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("stopped before there was a result")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        _silence()
        return FAILED
    except SystemExit as error:  # of somebody's model or task; ours return their code
        say(f"error: the code of the task or model ended the program (exit code {error.code}); let it raise an error")
        return FAILED
    except Exception as error:
        if stopped:  # a library that was being loaded may make another error of it
            say("stopped before there was a result")
            return INTERRUPTED
        if isinstance(error, OSError) and error is getattr(sys.stdout, "failed", None):
            _silence()
            say(f"error: standard output cannot be written ({error.strerror}); make room there, or send it elsewhere")
            return FAILED
        if shown:
            traceback.print_exc()
        return _explained(error)


@contextmanager
def _watched_output() -> Iterator[None]:
    usual, sys.stdout = sys.stdout, cast(TextIO, Watched(sys.stdout))
    try:
        yield
    finally:
        sys.stdout = usual


def _silence() -> None:
    """Nothing more may be written at exit either."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _stops_remembered(ends: bool) -> Iterator[list[int]]:
    """The signals that were to end the program: Ctrl-C, or what schedulers send, which then is the same as Ctrl-C.

    The first is an exception. A second comes while the result is being saved, which takes less than a second, and
    changes nothing. A third is from somebody who has waited: the program ends at once.

    Args:
        ends: Whether the program ends after this block.
    """
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            signal.default_int_handler(number, frame)
        elif len(seen) > IGNORED:
            os.write(2, b"evomal: ended at once; what is in the journal is kept\n")
            os._exit(128 + number)

    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    # Only where nobody else handles them, and only the main thread may ask for it.
    main = threading.current_thread() is threading.main_thread()
    ours = {number: plain for number, plain in usual.items() if main and signal.getsignal(number) is plain}
    for number in ours:
        signal.signal(number, handler)
    try:
        yield seen
    finally:
        for number, plain in ours.items():
            # The exit code is decided; while Python takes itself down, Ctrl-C would make another of it.
            signal.signal(number, signal.SIG_IGN if ends and number == signal.SIGINT else plain)


def _run(arguments: list[str]) -> int:
    command = get_command(app)
    try:
        with command.make_context("evomal", list(arguments), obj=arguments) as context:
            return command.invoke(context) or GOOD
    except typer.Exit as ended:
        return ended.exit_code


def _explained(error: Exception) -> int:
    """Say in one line what went wrong, and give the exit code."""
    if isinstance(error, WorkerError | EvomalError):
        say(f"error: {printable(with_flags(str(error), _flags()))}")
        return FAILED if isinstance(error, WorkerError | StorageError | BaselineError) else BAD_USAGE
    if isinstance(error, typer.TyperException):
        say(f"error: {_usage(error)}")
        return BAD_USAGE
    what = printable(one_line(error))
    if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, of a device
        say(f"error: the device has too little memory ({what}); what is finished is kept, go on with fewer workers")
        return FAILED
    say(f"error: something unexpected happened ({what}); add {TRACEBACK} to see where")
    return FAILED


def _flags() -> dict[str, str]:
    """The option of every argument and setting that a command takes."""
    commands = getattr(get_command(app), "commands", {}).values()
    return {str(option.name): option.opts[0] for command in commands for option in command.params}


def _usage(error: typer.TyperException) -> str:
    """A usage error of typer's, in our way of saying it."""
    near = getattr(error, "possibilities", None)
    text = printable(error.message if near else error.format_message()).rstrip(".")
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{text[0].lower()}{text[1:]}{hint}"
