"""Gradients are recorded where they are needed, whatever the caller has switched off."""

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
