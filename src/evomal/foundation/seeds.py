"""Seeds that depend only on what they are for, not on the order of asking (D3); random code of users, repeatable."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from evomal.foundation.contexts import exclusive


def derive(*parts: str | int) -> int:
    """A 63-bit seed from words and numbers.

    The seed is the start of the SHA-256 digest of the parts, so it is the same on every machine, in every process
    and in every order of asking, and seeds of different parts are independent.

    Args:
        *parts: What the seed is for, such as ``(seed, task, "partial", "batches", epoch)``.

    Returns:
        A number in ``[0, 2**63)``.

    Example:
        >>> derive(0, "digits") == derive(0, "digits") != derive(1, "digits")
        True
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: str | int) -> torch.Generator:
    """A CPU generator seeded with :func:`derive`; random numbers are always drawn on the CPU."""
    return torch.Generator().manual_seed(derive(*parts))


def python_random(*parts: str | int) -> random.Random:
    """A generator of the standard library seeded with :func:`derive`; the search draws from it."""
    return random.Random(derive(*parts))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python inside a block, and restore them after it.

    Only for code of users that draws from global generators; code of this package takes a generator (D3). Other threads
    of the process that come to such a block wait for its end, as they share the generators.

    Args:
        seed: A number in ``[0, 2**63)``.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(7):
        ...     _ = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    with exclusive():
        # Before CUDA is first used there is no state to keep, and asking for it would start CUDA in this process.
        cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        numpy_state, python_state = np.random.get_state(), random.getstate()
        with torch.random.fork_rng(devices=cuda):
            seed_torch(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            try:
                yield
            finally:
                np.random.set_state(numpy_state)
                random.setstate(python_state)


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, as `torch.manual_seed` does.

    That keeps a traceback for every kind of accelerator, which takes up to a millisecond; where torch was built for
    none of them, the generator of the CPU is all there is.

    Args:
        seed: A number in ``[0, 2**63)``.

    Example:
        >>> before = torch.get_rng_state()
        >>> seed_torch(7)
        >>> torch.initial_seed()
        7
        >>> _ = torch.set_rng_state(before)
    """
    if torch.accelerator.current_accelerator() is None:
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def random_state(device: torch.device) -> tuple[Tensor, ...]:
    """The states of the generators that layers such as dropout draw from."""
    cpu = torch.get_rng_state()
    return (cpu, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (cpu,)


def set_random_state(state: Sequence[Tensor], device: torch.device) -> None:
    """Put the states back that `random_state` gave."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
