"""Many workers on one: what a search would do if it had them, in the order in which their jobs would end."""

import heapq
from time import process_time
from typing import Any

from evomal.executors.executor import Executor, Stream


class Virtual(Executor):
    """Runs jobs here, one after the other, and hands results out as so many workers would have them finished.

    A job's duration is the processor's time that it takes here. Nothing is won in time: it shows what a search without
    generations finds when many candidates are under way.

    Args:
        workers: How many it plays.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def stream(self, shared: Any) -> Stream:
        """A stream in virtual time."""
        return _Virtual(shared, self.workers)


class _Virtual(Stream):
    def __init__(self, shared: Any, workers: int) -> None:
        super().__init__()
        self._shared, self._free, self._now = shared, workers, 0.0
        self._running: list[tuple[float, int, Any]] = []

    def next_finished(self) -> tuple[int, Any]:
        while self._waiting and self._free:
            job = heapq.heappop(self._waiting)
            start = process_time()
            result = job.function(self._shared, *job.arguments)
            self._free -= 1
            heapq.heappush(self._running, (self._now + process_time() - start, job.number, result))
        self._now, number, result = heapq.heappop(self._running)
        self._free += 1
        return number, result
