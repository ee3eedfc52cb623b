"""Context managers for what a whole process shares: whether gradients are recorded, whose turn it is, switches."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def recording() -> Iterator[None]:
    """A block, or as a decorator a function, in which autograd works inside ``no_grad`` and ``inference_mode`` too.

    Example:
        >>> weight = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad(), recording():
        ...     torch.autograd.grad((3 * weight).sum(), weight)
        (tensor([3., 3.]),)
    """
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
