"""Context managers for what a whole process shares: signals, recorded gradients, whose turn it is, and switches."""

import os
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


@contextmanager
def recording() -> Iterator[None]:
    """A block, or as a decorator a function, in which autograd works inside ``no_grad`` and ``inference_mode`` too.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad(), recording():
        ...     torch.autograd.grad((3 * weight).sum(), weight)
        (tensor([3., 3.]),)
    """
    import torch  # here, as signals are of commands that start without it

    with torch.inference_mode(False), torch.enable_grad():
        yield


_LOCK = threading.RLock()


def _renew() -> None:
    """In a forked process nobody is left to let go of a lock that another thread held."""
    global _LOCK
    if not _LOCK._is_owned():  # type: ignore[attr-defined]
        _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def exclusive() -> Iterator[None]:
    """Run a block while no other thread of this process is in such a block; blocks of one thread may be nested.

    PyTorch's global generator, its number of threads and the choice of its kernels belong to the process. Searches in
    several threads take turns, so that each comes to what it comes to alone.

    Example:
        >>> with exclusive(), exclusive():
        ...     1 + 1
        2
    """
    with _LOCK:
        yield


class Switch:
    """A faster way of computing, on where it can be had, but inside blocks that go without to compare both.

    Attributes:
        on: Whether it is on.

    Example:
        >>> quick = Switch()
        >>> with quick(False):
        ...     print(quick.on)
        False
        >>> quick.on
        True
    """

    def __init__(self) -> None:
        self.on = True

    @contextmanager
    def __call__(self, allowed: bool) -> Iterator[None]:
        """A block in which it is on or off."""
        before, self.on = self.on, allowed
        try:
            yield
        finally:
            self.on = before
