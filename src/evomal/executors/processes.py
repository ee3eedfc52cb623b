"""Worker processes on this machine, of one thread each."""

import errno
import logging
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evomal.executors.executor import Executor, Function, Result, WorkerError
from evomal.executors.memory import keep_freed_memory
from evomal.executors.orphans import SUFFIX, TemporaryFolder, end_with_parent, no_room

BREAKS = 3  # workers killed so often, with no result in between, are not started again
ALONE = 2  # workers killed so often get one job at a time
SAFE_PATH = "PYTHONSAFEPATH"
SHARED_MEMORY = "/dev/shm"
SEMAPHORES = 32  # more than loky makes
NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT)


class Processes(Executor):
    """Runs jobs in worker processes of one thread each, by joblib's `loky`.

    The shared object is written once to a temporary folder; its arrays are mapped into every worker's memory, so all
    workers read the same pages. When a worker is killed, loky ends the others; they are started anew and what was lost
    is done again, so a job must bear being done twice. Workers end when this process does, in whatever way.

    Args:
        workers: Number of processes.

    Raises:
        StorageError: Workers have no room: in the temporary folder, or in shared memory.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        _require_semaphores()
        self._folder = TemporaryFolder()
        self._files: dict[int, tuple[Any, Path]] = {}
        # A worker starts as `python -m`, for which a file queue.py in the current folder is the library of that name.
        self._path = os.environ.get(SAFE_PATH)
        os.environ[SAFE_PATH] = "1"

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
                max_nbytes=None,  # what is large is in our own file; joblib would need room for more
                initializer=_begin,
                initargs=(os.getpid(), self._path),
            )
        try:
            yield from parallel(delayed(_call)(function, path, job) for job in jobs)
        except OSError as error:
            if error.errno not in NO_ROOM or error.__cause__ is not None:  # a job's own error has its traceback there
                raise
            raise no_room(SHARED_MEMORY, error) from error

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
        _set_safe_path(self._path)
        self._folder.close()

    def _written(self, shared: Any) -> Path:
        """The file of a shared object; the object is kept, so that its identity stays its own."""
        import joblib

        if id(shared) not in self._files:
            path = self._folder.path / f"{len(self._files)}{SUFFIX}"
            try:
                joblib.dump(shared, path)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise no_room(tempfile.gettempdir(), error) from error
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


def _require_semaphores() -> None:
    """Make sure that there is room for what workers talk with: without, joblib would go on with one of them."""
    if os.name != "posix":
        return
    try:
        context = multiprocessing.get_context("fork")  # whose locks are gone at once
        [context.Lock() for _ in range(SEMAPHORES)]
    except OSError as error:
        raise no_room(SHARED_MEMORY, error) from error


def _set_safe_path(value: str | None) -> None:
    if value is None:
        os.environ.pop(SAFE_PATH, None)
    else:
        os.environ[SAFE_PATH] = value


def _begin(parent: int, safe_path: str | None) -> None:
    """In a worker, before its first job."""
    _set_safe_path(safe_path)  # what users' code starts has the path that they know
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
