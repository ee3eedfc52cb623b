"""Where work is done: in this process, or in worker processes of one thread each.

An executor knows functions and plain values, nothing about losses. Results come in the order of the jobs, whatever ran
first, so a caller cannot tell one executor from another.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Function = Callable[..., Result]


class WorkerError(RuntimeError):
    """A worker process died; nothing in the input is wrong."""


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


class Processes(Executor):
    """Runs jobs in worker processes of one thread each, by joblib's `loky`.

    The shared object is written once to a temporary folder; its arrays are mapped into every worker's memory, so all
    workers read the same pages.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._folder = Path(tempfile.mkdtemp(prefix="evomal-"))
        self._files: dict[int, tuple[Any, Path]] = {}

    def map(self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield the results in order, each as soon as it and those before it are there."""
        from joblib import Parallel, delayed, parallel_config

        path = self._written(shared)
        try:
            with parallel_config(backend="loky", n_jobs=self.workers, inner_max_num_threads=1):
                # No more than loky hands on at once: of jobs that still wait in it, Ctrl-C would leave a traceback.
                parallel = Parallel(return_as="generator", batch_size=1, pre_dispatch=2 * self.workers)
                yield from parallel(delayed(_call)(function, path, job) for job in jobs)
        except BrokenExecutor as error:
            raise WorkerError(
                f"one of {self.workers} worker processes was killed, perhaps for want of memory; what was finished is "
                "kept, start again with fewer workers"
            ) from error

    def close(self) -> None:
        """Remove the temporary folder; idle workers end by themselves."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _written(self, shared: Any) -> Path:
        """The file of a shared object; the object is kept, so that its identity stays its own."""
        import joblib

        if id(shared) not in self._files:
            path = self._folder / f"{len(self._files)}.joblib"
            joblib.dump(shared, path)
            self._files[id(shared)] = (shared, path)
        return self._files[id(shared)][1]


def make_executor(workers: int) -> Executor:
    """An executor with that many workers; one worker is this process."""
    return InProcess() if workers == 1 else Processes(workers)


_loaded: dict[Path, Any] = {}


def _call(function: Callable[..., Any], path: Path, job: tuple[Any, ...]) -> Any:
    """In a worker: run a job, with the shared object mapped into memory at its first use."""
    if path not in _loaded:
        import joblib

        _loaded.clear()  # workers outlive runs; one object at a time is enough
        _loaded[path] = joblib.load(path, mmap_mode="c")
    return function(_loaded[path], *job)
