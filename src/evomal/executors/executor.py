"""Where work is done: in this process, in worker processes of one thread each, or on a cluster.

An executor knows functions and plain values, nothing about losses. Jobs are handed to a stream and come back as they
finish; what a caller makes of them by their number does not depend on who worked, or in which order.
"""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from evomal.foundation.errors import SettingError

Result = TypeVar("Result")
Function = Callable[..., Result]


class WorkerError(RuntimeError):
    """Workers are lost again and again; nothing in the input is wrong."""


def unsendable(why: str) -> SettingError:
    """The error for an object that cannot be brought into another process, as it cannot be pickled.

    Args:
        why: What pickling it raised, on one line.

    Example:
        >>> str(unsendable("TypeError: cannot pickle 'generator' object"))[:91]
        "what is worked on cannot be sent to workers (TypeError: cannot pickle 'generator' object); "
    """
    return SettingError(
        f"what is worked on cannot be sent to workers ({why}); leave out of model, data and functions what "
        "holds that, or give `workers=1`"
    )


class Job(NamedTuple):
    """What is handed in; of two jobs that with the lower rank is the more urgent, of equal ones the first.

    Args:
        rank: How urgent it is.
        number: What the caller knows it by.
        function: What is called, with the shared object and then the arguments.
        arguments: What it is called with.
    """

    rank: tuple[int, ...]
    number: int
    function: Function[Any]
    arguments: tuple[Any, ...]


class Stream(ABC):
    """Jobs under way that share an object: handed in at any time, taken out as they finish.

    Used as a context manager; what is under way at its end is given up.

    Example:
        >>> with InProcess().stream(10) as stream:
        ...     late, soon = stream.submit(divmod, (3,), rank=(2,)), stream.submit(divmod, (4,), rank=(1,))
        ...     stream.next_finished() == (soon, (2, 2)), stream.next_finished() == (late, (3, 1))
        (True, True)
    """

    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self._numbers = count()

    def submit(self, function: Function[Any], arguments: tuple[Any, ...], rank: tuple[int, ...] = ()) -> int:
        """Hand in ``function(shared, *arguments)``.

        Args:
            function: What is to be done.
            arguments: What it is called with, after the shared object.
            rank: Of the jobs that wait, the one with the lowest begins next.

        Returns:
            The number by which it is known when it is finished.
        """
        number = next(self._numbers)
        heapq.heappush(self._waiting, Job(rank, number, function, arguments))
        return number

    @abstractmethod
    def next_finished(self) -> tuple[int, Any]:
        """Wait until a job is finished; its number and its result. An exception that the job raised is raised here."""

    def __enter__(self) -> Self:
        """Nothing begins before it is asked for."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is under way."""
        return


class Executor(ABC):
    """Runs ``function(shared, *arguments)`` for every job.

    Attributes:
        workers: How many jobs run at a time.
    """

    workers: int = 1

    @abstractmethod
    def stream(self, shared: Any) -> Stream:
        """Begin to work with a shared object; to be used as a context manager."""

    def as_finished(
        self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield the place of every job and its ``function(shared, *job)``, as soon as that is there.

        What is finished waits for no other job. An exception that a job raises comes as soon as it is known.
        """
        with self.stream(shared) as stream:
            places = {stream.submit(function, job): place for place, job in enumerate(jobs)}
            while places:
                number, result = stream.next_finished()
                yield places.pop(number), result

    def map(self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield ``function(shared, *job)`` for every job, in their order, as soon as it and those before it are there.

        An exception that a job raises comes as soon as it is known.
        """
        found: dict[int, Result] = {}
        due = 0
        with closing(self.as_finished(function, shared, jobs)) as results:
            for place, result in results:
                found[place] = result
                while due in found:
                    yield found.pop(due)
                    due += 1

    def close(self) -> None:
        """Give back what the executor holds."""
        return


class InProcess(Executor):
    """Runs jobs here, one after the other."""

    def stream(self, shared: Any) -> Stream:
        """A stream that runs the most urgent job when a result is asked for."""
        return _Here(shared)


class _Here(Stream):
    def __init__(self, shared: Any) -> None:
        super().__init__()
        self._shared = shared

    def next_finished(self) -> tuple[int, Any]:
        job = heapq.heappop(self._waiting)
        return job.number, job.function(self._shared, *job.arguments)
