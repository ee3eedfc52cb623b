"""Where work is done: in this process, in worker processes of one thread each, or on a cluster.

An executor knows functions and plain values, nothing about losses. Results come in the order of the jobs, whatever ran
first, so a caller cannot tell one executor from another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
Function = Callable[..., Result]


class WorkerError(RuntimeError):
    """Workers are lost again and again; nothing in the input is wrong."""


class Executor(ABC):
    """Runs ``function(shared, *job)`` for every job.

    Attributes:
        workers: How many jobs run at a time.
    """

    workers: int = 1

    @abstractmethod
    def map(self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield ``function(shared, *job)`` for every job, in their order, as soon as each is ready."""

    def close(self) -> None:
        """Give back what the executor holds."""
        return


class InProcess(Executor):
    """Runs jobs here, one after the other."""

    def map(self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield each result when it is asked for."""
        for job in jobs:
            yield function(shared, *job)
