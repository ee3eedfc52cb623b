"""Where work is done: in this process, in worker processes of one thread each, or on a cluster.

An executor knows functions and plain values, nothing about losses. Results come in the order of the jobs, whatever ran
first, so a caller cannot tell one executor from another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from evomal.errors import SettingError

Result = TypeVar("Result")
Function = Callable[..., Result]
Kind = Literal["auto", "here", "processes", "ray"]


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


def make_executor(
    workers: int, executor: Kind = "auto", address: str | None = None, object_store: int = 512, gpus: float = 0.0
) -> Executor:
    """An executor with that many workers.

    Args:
        workers: How many jobs run at a time.
        executor: ``"here"``: in this process; ``"processes"``: in worker processes; ``"ray"``: on a cluster;
            ``"auto"``: here for one worker, else in processes.
        address: For Ray, ``HOST:PORT`` of a running cluster; None starts one on this machine alone.
        object_store: For Ray that is started here, MiB of shared memory for data.
        gpus: For Ray, how much of a GPU each job takes.

    Returns:
        The executor; `close` gives back what it holds.

    Raises:
        SettingError: The choices do not fit together, Ray is not installed, or the cluster cannot be used.

    Example:
        >>> type(make_executor(1)).__name__
        'InProcess'
        >>> make_executor(2, "here")
        Traceback (most recent call last):
        evomal.errors.SettingError: setting 'executor': 'here' has one worker, not 2; give --workers 1, or 'processes'
    """
    if address is not None and executor != "ray":
        raise SettingError(f"setting 'address': '{address}' is for executor 'ray', not '{executor}'; leave it out")
    if executor == "here" and workers > 1:
        raise SettingError(
            f"setting 'executor': 'here' has one worker, not {workers}; give --workers 1, or 'processes'"
        )
    if executor == "ray":
        from evomal.runs.ray_cluster import RayExecutor

        return RayExecutor(address, workers, object_store, gpus)
    if executor == "here" or (executor == "auto" and workers == 1):
        return InProcess()
    from evomal.runs.processes import Processes

    return Processes(workers)
