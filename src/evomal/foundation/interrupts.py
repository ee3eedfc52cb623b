"""Ctrl-C, and the request to end that schedulers send, wait while something is being written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off signals that end a program until a block is done; they are raised at its end.

    For blocks of milliseconds that leave two things which must agree, such as a file and what is remembered of it.
    Signals reach the main thread only, so anywhere else there is nothing to do.

    Example:
        >>> try:
        ...     with uninterrupted():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("written")
        ... except KeyboardInterrupt:
        ...     print("stopped")
        written
        stopped
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    # Those that nobody handles stay as they are: a program that ends at once needs no order.
    handlers = {number: signal.getsignal(number) for number in STOPS}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if seen:
            signal.raise_signal(signal.Signals(seen[0]))


@contextmanager
def ctrl_c_noted() -> Iterator[list[int]]:
    """Note whether Ctrl-C comes within a block, and let it do what it does: somebody may turn it into a result.

    Only where Python's own handler is in place: whoever has another one knows of Ctrl-C already.

    Example:
        >>> with ctrl_c_noted() as pressed:
        ...     pass
        >>> pressed
        []
    """
    seen: list[int] = []
    plain = signal.default_int_handler
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not plain:
        yield seen
        return

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        plain(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, plain)
