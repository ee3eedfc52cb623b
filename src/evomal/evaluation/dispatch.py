"""How the stages of an evaluation are spread over an executor: candidate by candidate, or in groups of lanes."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from evomal.config import LearnSettings
from evomal.evaluation.batched_stages import judge_in_lanes, train_in_lanes, tune_in_lanes
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.stages import Judgement, Partial, judge_group, train_group, tune_stage
from evomal.executors import Executor
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.tasks import TaskSet

Item = TypeVar("Item")
Found = tuple[Candidate, LearnedLoss, Tuned]


class Work:
    """Has stages done, and gives back what comes out in the order of the candidates.

    Args:
        tasks: The tasks.
        executor: Where the work is done.
    """

    def __init__(self, tasks: TaskSet, executor: Executor) -> None:
        self.tasks, self.executor = tasks, executor

    def tune(self, settings: LearnSettings, candidates: Sequence[Candidate]) -> Iterator[list[Found]]:
        """Local search, group by group: in one chunk per worker, or in lanes."""
        lanes, workers = settings.lanes, self.executor.workers
        # What comes out for a candidate depends on its lane's company, so with lanes a group must not depend on the
        # number of workers; one by one it does not matter, and the whole chunk shares its predictions.
        groups = _split(candidates, lanes) if lanes > 1 else [candidates[i::workers] for i in range(workers)]
        groups = [group for group in groups if group]
        jobs = [(settings, [candidate.genome for candidate in group]) for group in groups]
        stage = tune_in_lanes if settings.lanes > 1 else tune_stage
        for group, outcomes in zip(groups, self.executor.map(stage, self.tasks, jobs), strict=True):
            yield [(candidate, *outcome) for candidate, outcome in zip(group, outcomes, strict=True)]

    def judge(
        self, settings: LearnSettings, probes: Sequence[FilterProbe], losses: Sequence[LearnedLoss]
    ) -> Iterator[Judgement]:
        """What the inner filters measure."""
        jobs = [(settings, probes, group) for group in _split(losses, settings.lanes)]
        stage = judge_in_lanes if settings.lanes > 1 else judge_group
        for found in self.executor.map(stage, self.tasks, jobs):
            yield from found

    def train(self, settings: LearnSettings, losses: Sequence[LearnedLoss]) -> Iterator[Partial]:
        """Partial training."""
        jobs = [(settings, group) for group in _split(losses, settings.lanes)]
        stage = train_in_lanes if settings.lanes > 1 else train_group
        for found in self.executor.map(stage, self.tasks, jobs):
            yield from found


def in_their_company(
    members: Sequence[Candidate], done: Callable[[Candidate], None]
) -> tuple[list[Candidate], Callable[[Candidate], None]]:
    """Members of a generation that an interrupted call has begun, all to be evaluated once more.

    In lanes the last bits of a result depend on who is evaluated at once, so those that are finished go along for the
    company's sake; nobody is told of them again.
    """
    finished = {member.place for member in members if member.outcome is not None}
    if len(finished) == len(members):
        return list(members), done
    everybody = [member.anew() if member.own and member.outcome is not None else member for member in members]
    return everybody, lambda candidate: None if candidate.place in finished else done(candidate)


def _split(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Pieces of a size; the last may be smaller.

    Example:
        >>> _split("abcde", 2)
        ['ab', 'cd', 'e']
    """
    return [items[start : start + size] for start in range(0, len(items), size)]
