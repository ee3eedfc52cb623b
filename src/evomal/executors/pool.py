"""Worker processes by joblib's `loky`, kept for the next run when one is over."""

import math
import os
import signal
from typing import Any

from evomal.executors.memory import keep_freed_memory
from evomal.executors.orphans import end_with_parent

IDLE = 300  # seconds, after which a worker that nobody needs ends by itself
SAFE_PATH = "PYTHONSAFEPATH"
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
)

Key = tuple[int, int, str | None]
_spare: dict[Key, Any] = {}  # one at most


def take_pool(workers: int, safe_path: str | None) -> Any:
    """A pool of worker processes of one thread each: that which the last run left, or a new one.

    It is nobody else's: joblib's own is one for the whole process, and whoever wants it otherwise ends it.

    Args:
        workers: How many.
        safe_path: What the variable of that name was before it was set for the workers' start.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    pool = _spare.pop(_key(workers, safe_path), None)
    if pool is not None:
        return pool
    return ProcessPoolExecutor(
        max_workers=workers,
        timeout=IDLE,
        initializer=_begin,
        initargs=(os.getpid(), safe_path),
        env=dict.fromkeys(THREADS, "1"),
    )


def leave_pool(pool: Any, workers: int, safe_path: str | None) -> None:
    """Leave a pool that is idle to the next run; one that was left before ends."""
    end_spare_workers()
    _spare[_key(workers, safe_path)] = pool


def end_pool(pool: Any) -> None:
    """End the workers of a pool, whatever they are doing."""
    pool.shutdown(wait=True, kill_workers=True)


def end_spare_workers() -> None:
    """End the workers that the last run left."""
    for key in [key for key in _spare if key[0] == os.getpid()]:  # others are our parent's
        end_pool(_spare.pop(key))


def set_safe_path(value: str | None) -> None:
    """Set the variable that keeps files of the current folder from being taken for libraries; None removes it."""
    if value is None:
        os.environ.pop(SAFE_PATH, None)
    else:
        os.environ[SAFE_PATH] = value


def _key(workers: int, safe_path: str | None) -> Key:
    return os.getpid(), workers, safe_path


def _begin(parent: int, safe_path: str | None) -> None:
    """In a worker, before its first job."""
    from joblib.externals.loky import process_executor

    # loky ends a worker whose memory has grown by 300 MB since its first job. Ours load PyTorch and the data in some
    # job, and keep what they free: they would be started anew again and again, each time with a warning.
    process_executor._MAX_MEMORY_LEAK_SIZE = math.inf
    set_safe_path(safe_path)  # what users' code starts has the path that they know
    # In a terminal Ctrl-C reaches every process; the parent alone acts on it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    end_with_parent(parent)
