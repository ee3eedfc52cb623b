"""One thread at a time: what changes switches and random generators that a whole process shares."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
