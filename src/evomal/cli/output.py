"""What commands print: one JSON document, lines for people, and remarks on standard error."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

from evomal.foundation.serialization import cleaned, finite

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


def say(line: str) -> None:
    """One line on standard error."""
    with suppress(OSError):  # a full disk under it: there is nobody to tell
        print(f"evomal: {line}", file=sys.stderr, flush=True)


class Watched:
    """A stream that remembers why it could not be written, as the error itself does not say which file it was.

    Args:
        stream: Where to write.

    Attributes:
        failed: The last error, or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failed: OSError | None = None

    def write(self, text: str) -> int:
        """Write it, or remember why not."""
        return int(self._tried(lambda: self._stream.write(text)) or 0)

    def flush(self) -> None:
        """Hand it on, or remember why not."""
        self._tried(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a stream."""
        return getattr(self._stream, name)

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OSError as error:
            self.failed = error
            raise


class Lasting(Watched):
    """A stream for progress: what cannot be written there is left out, as the work itself has more room.

    A pipe whose reader has gone away is still an error: nobody wants to know any more.

    Example:
        >>> print("going on", file=Lasting(sys.stdout))
        going on
    """

    def _tried(self, call: Callable[[], Any]) -> Any:
        told = self.failed is not None
        try:
            return super()._tried(call)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not told:
                say(f"warning: progress cannot be written ({error.strerror}); the work goes on")
            return None


def lasting(stream: TextIO) -> TextIO:
    """The stream, for progress."""
    return cast(TextIO, Lasting(stream))


def printable(text: str) -> str:
    r"""A message without line breaks, and without anything that a terminal would obey.

    Example:
        >>> printable("first\n  second \x1b[31m")
        'first second ?[31m'
    """
    return cleaned(" ".join(part.strip() for part in text.splitlines() if part.strip()))


def print_json(document: Any) -> None:
    """One JSON document on standard output; numbers that are not finite become null."""
    print(as_json_text(document))


def as_json_text(document: Any) -> str:
    """Plain values as JSON; numbers that are not finite become null."""
    return json.dumps(finite(document), indent=2, allow_nan=False)


def warn_of_workers(workers: int) -> None:
    """Say so if there are more workers than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > cores:
        say(f"warning: {workers} workers share {cores} cores; more than {cores} gain nothing")
