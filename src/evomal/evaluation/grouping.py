"""Who is evaluated together: chunks that share what they can, groups of lanes, and whoever waits for others."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from evomal.evaluation.candidate import Candidate

Item = TypeVar("Item")

FIRST = 0.85  # of the candidates, those in the first chunk of each worker
LEAST = 3  # candidates in a chunk, below which what they would share costs more than waiting for one another


class Queue:
    """Forms groups of those that go on.

    Args:
        count: How many there are.
        size: Of a group; the last may be smaller.
        ordered: Whether groups are formed by number, each when this is settled for all up to it; else anybody goes at
            once, alone.

    Example:
        >>> queue = Queue(4, 2, ordered=True)
        >>> [queue.settle(number, number != 1) for number in (3, 0, 2, 1)]
        [[], [], [], [[0, 2], [3]]]
    """

    def __init__(self, count: int, size: int, ordered: bool) -> None:
        self._count, self._size, self._ordered = count, size, ordered
        self._settled: dict[int, bool] = {}
        self._next, self._group = 0, list[int]()

    def settle(self, number: int, goes_on: bool) -> list[list[int]]:
        """It is known whether one goes on; the groups that are complete with it."""
        if not self._ordered:
            return [[number]] if goes_on else []
        self._settled[number] = goes_on
        ready = []
        while self._next in self._settled:
            if self._settled[self._next]:
                self._group.append(self._next)
            self._next += 1
            if self._group and (len(self._group) == self._size or self._next == self._count):
                ready.append(self._group)
                self._group = []
        return ready


def chunks(items: Sequence[Item], workers: int) -> list[Sequence[Item]]:
    """Large pieces for all workers to begin with, small ones for whoever is done first.

    Example:
        >>> [len(chunk) for chunk in chunks(range(25), 2)], [len(chunk) for chunk in chunks(range(25), 4)]
        ([11, 11, 3], [6, 6, 6, 6, 1])
    """
    if workers == 1 or not items:
        return [items] if items else []
    large = math.ceil(FIRST * len(items) / workers)
    first = split(items, large)[:workers]
    rest = items[sum(map(len, first)) :]
    small = max(math.ceil(len(rest) / workers), min(LEAST, large))
    return [*first, *split(rest, small)]


def split(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Pieces of a size; the last may be smaller.

    Example:
        >>> split("abcde", 2)
        ['ab', 'cd', 'e']
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def in_their_company(
    members: Sequence[Candidate], done: Callable[[Candidate], None]
) -> tuple[list[Candidate], Callable[[Candidate], None]]:
    """Members of a generation that an interrupted call has begun, all to be evaluated once more.

    In lanes the last bits of a result depend on who is evaluated at once, so those that are finished go along for the
    company's sake; nobody is told of them again.
    """
    finished = {member.place for member in members if member.outcome is not None}
    if len(finished) == len(members):
        return list(members), done
    everybody = [member.anew() if member.own and member.outcome is not None else member for member in members]
    return everybody, lambda candidate: None if candidate.place in finished else done(candidate)
