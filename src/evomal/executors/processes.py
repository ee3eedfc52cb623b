"""Worker processes on this machine, of one thread each."""

import errno
import heapq
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from pickle import PicklingError
from types import TracebackType
from typing import Any

from evomal.executors.executor import Executor, Job, Stream, WorkerError, unsendable
from evomal.executors.orphans import SUFFIX, TemporaryFolder, no_room
from evomal.executors.pool import SAFE_PATH, end_pool, leave_pool, set_safe_path, take_pool
from evomal.foundation.errors import one_line

BREAKS = 3  # workers killed so often, with no result in between, are not started again
ALONE = 2  # workers killed so often get one job at a time
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
        self._pool: Any = None
        # A worker starts as `python -m`, for which a file queue.py in the current folder is the library of that name.
        self._path = os.environ.get(SAFE_PATH)
        os.environ[SAFE_PATH] = "1"

    def stream(self, shared: Any) -> Stream:
        """A stream of jobs for the workers; the most urgent ones run, and a few more are there when a worker is done.

        Taking out the next result raises `WorkerError` when workers were killed ``BREAKS`` times with none in between.
        """
        return _Jobs(self, shared)

    def submit(self, shared: Any, job: Job) -> "Future[Any]":
        """Hand a job to the workers; they are started if there are none."""
        path = self._written(shared)
        try:
            if self._pool is None:
                self._pool = take_pool(self.workers, self._path)
            future: Future[Any] = self._pool.submit(_call, job.function, path, job.arguments)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise no_room(SHARED_MEMORY, error) from error
        return future

    def end_workers(self) -> None:
        """End the workers, whatever they are doing; the next job starts others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            end_pool(pool)

    def close(self) -> None:
        """Remove the temporary folder; the workers stay for the next run, and end by themselves if there is none."""
        if self._pool is not None:
            leave_pool(self._pool, self.workers, self._path)
            self._pool = None
        set_safe_path(self._path)
        self._folder.close()

    def _written(self, shared: Any) -> Path:
        """The file of a shared object; the object is kept, so that its identity stays its own."""
        import joblib

        if id(shared) not in self._files:
            path = self._folder.path / f"{len(self._files)}{SUFFIX}"
            try:
                joblib.dump(shared, path)
            except BaseException as error:
                path.unlink(missing_ok=True)
                if isinstance(error, OSError):
                    raise no_room(tempfile.gettempdir(), error) from error
                if isinstance(error, MemoryError) or not isinstance(error, Exception):
                    raise
                raise unsendable(one_line(error)) from error
            self._files[id(shared)] = (shared, path)
        return self._files[id(shared)][1]


class _Jobs(Stream):
    """Jobs for worker processes; those that a killed one was doing are done again."""

    def __init__(self, processes: Processes, shared: Any) -> None:
        super().__init__()
        self._processes, self._shared = processes, shared
        self._under_way: dict[Future[Any], Job] = {}
        self._breaks = 0

    def next_finished(self) -> tuple[int, Any]:
        while True:
            try:
                self._hand_on()
            except BrokenExecutor as error:
                self._begin_anew(error)
                continue
            finished = wait(self._under_way, return_when=FIRST_COMPLETED).done
            future = min(finished, key=lambda each: (_lost(each), self._under_way[each].number))
            if _lost(future):
                self._begin_anew(future.exception())
                continue
            self._breaks = 0
            number = self._under_way.pop(future).number
            try:
                return number, future.result()
            except PicklingError as error:  # loky's; why it is one stands in the text of its cause
                lines = str(error.__cause__ or error).strip('" \n').splitlines()
                raise unsendable(lines[-1]) from error

    def _hand_on(self) -> None:
        """Keep the workers busy: a few jobs beyond those that run wait with loky, so that none is idle meanwhile."""
        workers = self._processes.workers
        # Jobs that do not fit into memory together may do so one after the other.
        most = workers + (workers + 1) // 2 if self._breaks < ALONE else 1
        while self._waiting and len(self._under_way) < most:
            future = self._processes.submit(self._shared, self._waiting[0])
            self._under_way[future] = heapq.heappop(self._waiting)

    def _begin_anew(self, error: BaseException | None) -> None:
        """Take back what was lost with the workers, or give up."""
        self._processes.end_workers()
        for future, job in list(self._under_way.items()):
            if _lost(future):
                del self._under_way[future]
                heapq.heappush(self._waiting, job)
        self._breaks += 1
        workers = self._processes.workers
        if self._breaks >= BREAKS:
            raise WorkerError(
                f"one of {workers} worker processes was killed {self._breaks} times in a row, perhaps for want of "
                "memory; what is finished is kept, go on with fewer workers"
            ) from error
        how = ", with one worker at a time" if self._breaks >= ALONE else ""
        logging.getLogger("evomal").warning(
            "one of %d worker processes was killed, perhaps for want of memory; what it was doing is done again%s",
            workers,
            how,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not all(future.done() for future in self._under_way):
            self._processes.end_workers()
        self._under_way.clear()


def _lost(future: "Future[Any]") -> bool:
    """Whether the worker of a job that is over was killed."""
    return isinstance(future.exception(), BrokenExecutor)


def _require_semaphores() -> None:
    """Make sure that there is room for what workers talk with, before anything long begins."""
    if os.name != "posix":
        return
    try:
        context = multiprocessing.get_context("fork")  # whose locks are gone at once
        [context.Lock() for _ in range(SEMAPHORES)]
    except OSError as error:
        raise no_room(SHARED_MEMORY, error) from error


_loaded: dict[Path, Any] = {}


def _call(function: Callable[..., Any], path: Path, arguments: tuple[Any, ...]) -> Any:
    """In a worker: run a job, with the shared object mapped into memory at its first use."""
    if path not in _loaded:
        import joblib

        _loaded.clear()  # workers outlive runs; one object at a time is enough
        _loaded[path] = joblib.load(path, mmap_mode="c")
    return function(_loaded[path], *arguments)
