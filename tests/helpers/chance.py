"""An executor whose jobs finish in whatever order a test wants."""

import heapq

from evomal.executors import Executor, Stream


class Chance(Executor):
    """Runs jobs here, as if there were several workers.

    Args:
        workers: How many jobs are under way at a time.
        choose: Which of those under way is finished next, by its place among them.
    """

    def __init__(self, workers, choose):
        self.workers, self.choose, self.finished = workers, choose, []

    def stream(self, shared):
        return SideBySide(self, shared)


class SideBySide(Stream):
    def __init__(self, owner, shared):
        super().__init__()
        self.owner, self.shared, self.running = owner, shared, []

    def next_finished(self):
        while self._waiting and len(self.running) < self.owner.workers:
            self.running.append(heapq.heappop(self._waiting))
        job = self.running.pop(self.owner.choose(self.running))
        self.owner.finished.append(job)
        return job.number, job.function(self.shared, *job.arguments)
