"""How candidates go through the stages of an evaluation: each as soon as what its own verdict depends on is known."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from evomal.evaluation.batched_stages import judge_in_lanes, train_in_lanes, tune_in_lanes
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.course import Course
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.grouping import Queue, chunks, split
from evomal.evaluation.stages import Judgement, judge_group, train_group, tune_stage
from evomal.executors import Executor
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.tasks import TaskSet

Found = tuple[Candidate, LearnedLoss, Tuned]
Stage = Literal["tune", "filter", "train"]
STAGES: tuple[Stage, ...] = ("tune", "filter", "train")
"""In the order of their urgency: what most other work waits for comes first, and trainings fill the gaps at the end."""


class Flow:
    """Candidates on their way through local search, filters and partial training.

    A candidate that is tuned is judged at once, and trained once its verdict is known: with D9 when all of lower index
    have theirs, else when it is judged itself. With lanes the groups are those of the candidates by index, and one
    begins when it is known who is in it. What comes out is told by stage and index, whatever was finished first.

    Args:
        tasks: The tasks.
        executor: Where the work is done.
        probes: What the filters look at, for each task.
        candidates: Whose flow it is, by index.
        course: Takes what comes out.
        known: Those that are tuned already.
        keep: Told of those that are tuned now.
    """

    def __init__(
        self,
        tasks: TaskSet,
        executor: Executor,
        probes: Sequence[FilterProbe],
        candidates: Sequence[Candidate],
        course: Course,
        known: Sequence[Found] = (),
        keep: Callable[[Sequence[Found]], None] = lambda found: None,
    ) -> None:
        self._probes, self._candidates, self._course, self._keep = probes, candidates, course, keep
        self._settings, self._workers, count = course.settings, executor.workers, len(candidates)
        lanes = self._settings.lanes
        self._stream = executor.stream(tasks)
        self._losses: dict[int, LearnedLoss] = {}
        self._judgements: dict[int, Judgement] = {}
        self._to_judge = Queue(count, lanes, ordered=lanes > 1)
        self._to_decide = Queue(count, 1, ordered=lanes > 1 or self._settings.filters.gradient_equivalence)
        self._to_train = Queue(count, lanes, ordered=lanes > 1)
        # Of those that have been through a stage, whether they go on; without `trains` nobody comes out of the last.
        self._over: dict[Stage, dict[int, bool]] = {"tune": {}, "filter": {}, "train": {}}
        self._under_way: dict[int, tuple[Stage, Sequence[int]]] = {}
        self._places = {candidate.place: number for number, candidate in enumerate(candidates)}
        self._known = known

    def __enter__(self) -> Self:
        """Begin with what can be done."""
        self._stream.__enter__()
        lanes = self._settings.lanes
        self._take_tuned(self._known)
        left = [number for number in range(len(self._candidates)) if number not in self._over["tune"]]
        # What comes out for a candidate depends on its lane's company, so with lanes a group must not depend on the
        # number of workers; one by one it does not matter, and a whole chunk shares its predictions.
        for group in split(left, lanes) if lanes > 1 else chunks(left, self._workers):
            genomes = [self._candidates[number].genome for number in group]
            self._submit("tune", tune_in_lanes if lanes > 1 else tune_stage, group, (self._settings, genomes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is not over."""
        self._stream.__exit__(kind, error, trace)

    def count(self, stage: Stage) -> int:
        """How many come to a stage, once all have been through the one before."""
        if stage == "tune":
            return len(self._candidates)
        return sum(self._over[_before(stage)].values())

    def ended(self, stage: Stage) -> Iterator[Candidate]:
        """Those that end with a stage, by index, each as soon as this is known of all up to it."""
        over = self._over[stage]
        for number, candidate in enumerate(self._candidates):
            if stage != "tune" and not self._over[_before(stage)][number]:
                over[number] = False
                continue
            while number not in over:
                self._advance()
            if not over[number]:
                yield candidate

    def survivors(self) -> list[tuple[Candidate, LearnedLoss]]:
        """Those that go on to partial training, once all verdicts are known."""
        passed = self._over["filter"]
        return [(each, self._losses[number]) for number, each in enumerate(self._candidates) if passed[number]]

    def _submit(self, stage: Stage, function: Any, group: Sequence[int], arguments: tuple[Any, ...]) -> None:
        ticket = self._stream.submit(function, arguments, rank=(STAGES.index(stage), group[0]))
        self._under_way[ticket] = stage, group

    def _advance(self) -> None:
        """Wait for the next result, and let those go on that waited for it."""
        ticket, found = self._stream.next_finished()
        stage, group = self._under_way.pop(ticket)
        if stage == "tune":
            outcomes = [(self._candidates[n], *outcome) for n, outcome in zip(group, found, strict=True)]
            self._keep(outcomes)
            self._take_tuned(outcomes)
        elif stage == "filter":
            self._judgements |= dict(zip(group, found, strict=True))
            for number in group:
                self._decide(self._to_decide.settle(number, True))
        else:
            for number, partial in zip(group, found, strict=True):
                self._course.trained(self._candidates[number], partial)
                self._over["train"][number] = False

    def _take_tuned(self, found: Sequence[Found]) -> None:
        for candidate, loss, outcome in found:
            number = self._places[candidate.place]
            self._losses[number] = loss
            goes_on = self._over["tune"][number] = self._course.tuned(candidate, loss, outcome)
            if not goes_on:
                self._decide(self._to_decide.settle(number, False))
                self._train(self._to_train.settle(number, False))
            for group in self._to_judge.settle(number, goes_on):
                losses = [self._losses[each] for each in group]
                stage = judge_in_lanes if self._settings.lanes > 1 else judge_group
                self._submit("filter", stage, group, (self._settings, self._probes, losses))

    def _decide(self, ready: Sequence[Sequence[int]]) -> None:
        for (number,) in ready:
            goes_on = self._course.judged(self._candidates[number], self._judgements[number])
            self._over["filter"][number] = goes_on
            self._train(self._to_train.settle(number, goes_on))

    def _train(self, ready: Sequence[Sequence[int]]) -> None:
        for group in ready if self._course.trains else ():
            stage = train_in_lanes if self._settings.lanes > 1 else train_group
            self._submit("train", stage, group, (self._settings, [self._losses[number] for number in group]))


def _before(stage: Stage) -> Stage:
    return STAGES[STAGES.index(stage) - 1]
