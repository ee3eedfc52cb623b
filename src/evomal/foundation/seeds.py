"""Seeds that depend only on what they are for, never on the order in which they are asked (D3)."""

import hashlib
import json
import random

import torch


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
