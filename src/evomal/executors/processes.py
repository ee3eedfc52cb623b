"""Worker processes on this machine, of one thread each."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evomal.executors.executor import Executor, Function, Result, WorkerError
from evomal.executors.memory import keep_freed_memory
from evomal.executors.orphans import SUFFIX, TemporaryFolder, end_with_parent

BREAKS = 3  # workers killed so often, with no result in between, are not started again
ALONE = 2  # workers killed so often get one job at a time


class Processes(Executor):
    """Runs jobs in worker processes of one thread each, by joblib's `loky`.

    The shared object is written once to a temporary folder; its arrays are mapped into every worker's memory, so all
    workers read the same pages. When a worker is killed, loky ends the others; they are started anew and what was lost
    is done again, so a job must bear being done twice. Workers end when this process does, in whatever way.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._folder = TemporaryFolder()
        self._files: dict[int, tuple[Any, Path]] = {}

    def map(self, function: Function[Result], shared: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield the results in order, each as soon as it and those before it are there.

        Raises:
            WorkerError: Workers were killed ``BREAKS`` times without a result in between.
        """
        path = self._written(shared)
        done = breaks = 0
        while done < len(jobs):
            # Jobs that do not fit into memory together may do so one after the other.
            left = jobs[done : done + 1] if breaks >= ALONE else jobs[done:]
            try:
                with _closing(self._results(function, path, left)) as results:
                    for result in results:
                        done, breaks = done + 1, 0
                        yield result
            except BrokenExecutor as error:
                breaks += 1
                self._tell(breaks, error)

    def _results(
        self, function: Function[Result], path: Path, jobs: Sequence[tuple[Any, ...]]
    ) -> Generator[Result, None, None]:
        """Results as joblib gives them; workers are started if there are none, or none that can be used."""
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(backend="loky", n_jobs=self.workers, inner_max_num_threads=1):
            parallel = Parallel(
                return_as="generator",
                batch_size=1,
                # No more than loky hands on at once: of jobs that still wait in it, Ctrl-C would leave a traceback.
                pre_dispatch=2 * self.workers,
                initializer=_begin,
                initargs=(os.getpid(),),
            )
        yield from parallel(delayed(_call)(function, path, job) for job in jobs)

    def _tell(self, breaks: int, error: BrokenExecutor) -> None:
        """Say that workers are started anew, or give up."""
        if breaks >= BREAKS:
            raise WorkerError(
                f"one of {self.workers} worker processes was killed {breaks} times in a row, perhaps for want of "
                "memory; what is finished is kept, go on with fewer workers"
            ) from error
        how = ", with one worker at a time" if breaks >= ALONE else ""
        logging.getLogger("evomal").warning(
            "one of %d worker processes was killed, perhaps for want of memory; what it was doing is done again%s",
            self.workers,
            how,
        )

    def close(self) -> None:
        """Remove the temporary folder; idle workers end by themselves."""
        self._folder.close()

    def _written(self, shared: Any) -> Path:
        """The file of a shared object; the object is kept, so that its identity stays its own."""
        import joblib

        if id(shared) not in self._files:
            path = self._folder.path / f"{len(self._files)}{SUFFIX}"
            joblib.dump(shared, path)
            self._files[id(shared)] = (shared, path)
        return self._files[id(shared)][1]


@contextmanager
def _closing(results: Generator[Result, None, None]) -> Iterator[Generator[Result, None, None]]:
    """Close a generator of joblib's at the end, without its remark on what is not waited for."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def _begin(parent: int) -> None:
    """In a worker, before its first job."""
    # In a terminal Ctrl-C reaches every process; the parent alone acts on it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    end_with_parent(parent)


_loaded: dict[Path, Any] = {}


def _call(function: Callable[..., Any], path: Path, job: tuple[Any, ...]) -> Any:
    """In a worker: run a job, with the shared object mapped into memory at its first use."""
    if path not in _loaded:
        import joblib

        _loaded.clear()  # workers outlive runs; one object at a time is enough
        _loaded[path] = joblib.load(path, mmap_mode="c")
    return function(_loaded[path], *job)
