"""The outer loop without generations: no worker waits for another, and the journal tells the order in which it went."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NoReturn

from evomal.config import LearnSettings
from evomal.engines.engine import Engine
from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Formula, Genome
from evomal.engines.steady_state import SteadyState
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.course import FullEvaluation
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.limits import LimitReached
from evomal.evaluation.stages import Judgement, judge_stage, train_stage, tune_stage
from evomal.executors import Executor
from evomal.executors.executor import Stream
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.foundation.seeds import python_random
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.search.result import LearnResult
from evomal.search.search_log import SearchLog
from evomal.store.config import CONFIG
from evomal.tasks import TaskSet

Found = tuple[LearnedLoss, Tuned, Judgement | None]
FIRST, LAST = (1,), (0,)  # who is tuned already is more urgent


def engine_for(engine: Engine | SteadyState, settings: LearnSettings, key: str) -> Engine | SteadyState:
    """The engine of a search with generations or without, from what the method or the user gives.

    Args:
        engine: A `SteadyState`, or what proposes generations: of its kinds `GeneticEngine` has a `SteadyState` that
            breeds in the same way.
        settings: All settings of the search.
        key: The part of a seed that stands for the tasks.

    Raises:
        SettingError: The engine cannot breed as the settings want it, or what it has of its own would be lost.
    """
    if not settings.genetic.asynchronous:
        if isinstance(engine, SteadyState):
            raise SettingError(
                "a SteadyState breeds one child at a time, without generations; add `asynchronous`, or give another "
                "engine"
            )
        return engine
    if isinstance(engine, SteadyState):
        if engine.told:
            raise SettingError(f"the engine was told {engine.told} fitnesses already; give a fresh one")
        return engine
    if not isinstance(engine, GeneticEngine):
        raise SettingError(
            f"setting 'asynchronous': method '{settings.method}' proposes whole generations; leave it out, or take a "
            "method that breeds formulas, such as 'evomal'"
        )
    seed = (settings.seed, key, "genetic")
    usual = GeneticEngine(settings.genetic, python_random(*seed), engine.initial)
    alike = type(engine) is GeneticEngine and engine.settings == usual.settings
    if not alike or engine.state_dict() != usual.state_dict():
        raise SettingError(
            f"of this {type(engine).__name__}, which has a breeding, settings or random numbers of its own, a search "
            "without generations could take over the formulas to start from alone; give a SteadyState as engine, or "
            "leave `asynchronous` out"
        )
    return SteadyState(settings.genetic, *seed, initial=engine.initial)


def search_asynchronously(
    engine: SteadyState,
    tasks: TaskSet,
    settings: LearnSettings,
    probes: Sequence[FilterProbe],
    executor: Executor,
    log: SearchLog,
) -> LearnResult:
    """The search, from where an earlier call left it.

    Args:
        engine: What breeds, fresh.
        tasks: The tasks.
        settings: All settings of the search.
        probes: Predictions for the inner filters, for each task.
        executor: Where candidates are evaluated.
        log: Where the search stands.
    """
    loop = Asynchronous(tasks, settings, probes, executor, engine, log)

    def search() -> None:
        loop.replay(list(log.archive.members.values()))
        log.begin_asynchronous(engine)
        loop.run()

    return log.concluded(search)


def tune_and_judge(
    tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe], genome: Genome
) -> tuple[LearnedLoss, Tuned, Judgement | None]:
    """Local search, and what the inner filters measure; None where the local search failed."""
    ((loss, outcome),) = tune_stage(tasks, settings, [genome])
    return loss, outcome, None if outcome.reason else judge_stage(tasks, settings, probes, loss)


class Asynchronous:
    """Breeds a candidate whenever a worker is free, and tells the engine as soon as one is finished.

    Decisions are the same as by generations, but who was there before is a matter of time: D7 and D9 look at whoever is
    finished or under way. The journal's lines stand in the order in which candidates were told, and each says how many
    were when it was bred, so the journal alone says how the search went.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        probes: Predictions for the inner filters, for each task.
        executor: Where the work is done.
        engine: Breeds; it is told of everybody.
        log: Takes down who is finished.
    """

    def __init__(
        self,
        tasks: TaskSet,
        settings: LearnSettings,
        probes: Sequence[FilterProbe],
        executor: Executor,
        engine: SteadyState,
        log: SearchLog,
    ) -> None:
        self.tasks, self.settings, self.probes, self.executor = tasks, settings, probes, executor
        self.engine, self.log, self.archive = engine, log, log.archive
        self._course = FullEvaluation(settings, tasks.task_type, self.archive, trains=True)
        self._left: list[int] = []
        self._running: dict[int, tuple[Candidate, LearnedLoss | None]] = {}
        self._waiting: defaultdict[tuple[int, int], list[Candidate]] = defaultdict(list)

    def replay(self, members: Sequence[Candidate]) -> None:
        """Bring the engine to where an earlier call left it.

        Args:
            members: Who was finished, in the order of the journal.

        Raises:
            RunFolderError: The engine breeds something else after the same lines, or lines are missing.
        """
        bred: defaultdict[int, list[int]] = defaultdict(list)
        for place, member in enumerate(members):
            bred[member.after or 0].append(place)
        odd = []  # lines that do not follow from those before
        for told, member in enumerate(members):
            odd += [place for place in bred[told] if not self._follows(members[place])]
            odd += [told] if (member.after or 0) > told else []
            self._tell(member)
        if odd:
            self._refuse(members[min(odd)])
        self.archive.meet(members)

    def run(self) -> None:
        """Until all candidates are finished.

        Raises:
            LimitReached: There is no time or budget for all.
        """
        known = {self._number(member) for member in self.archive.members.values()}
        self._left = [number for number in range(self.settings.evaluations) if number not in known][::-1]
        with self.executor.stream(self.tasks) as stream:
            self._breed(stream)
            while self._running:
                ticket, found = stream.next_finished()
                candidate, loss = self._running.pop(ticket)
                if loss is None:
                    self._judged(stream, candidate, found)
                else:
                    self._course.trained(candidate, found)
                    self._done(candidate)
                self._breed(stream)
        if self._left:
            raise LimitReached("evaluations")

    def _breed(self, stream: Stream) -> None:
        """Give every free worker a candidate."""
        while self._left and len(self._running) < self.executor.workers:
            self.log.limits.check_time()
            candidate = self._proposed(self._left[-1])
            known = self.archive.losses.get(candidate.key)
            if known is None and self.log.limits.left(len(self.archive.losses)) == 0:
                return
            self._left.pop()
            if known is None:
                self.archive.losses[candidate.key] = candidate
                job = (self.settings, self.probes, candidate.genome)
                self._running[stream.submit(tune_and_judge, job, FIRST)] = candidate, None
            elif known.outcome is None:  # it is being evaluated
                self._waiting[known.place].append(candidate)
            else:
                candidate.take(known, "archived")
                self._done(candidate)

    def _judged(self, stream: Stream, candidate: Candidate, found: Found) -> None:
        """Decide by D8 and D9 whether a candidate that was tuned is trained."""
        loss, outcome, judgement = found
        goes_on = self._course.tuned(candidate, loss, outcome)
        if goes_on and judgement is not None and self._course.judged(candidate, judgement):
            self._running[stream.submit(train_stage, (self.settings, loss), LAST)] = candidate, loss
        elif candidate.outcome is not None:
            self._done(candidate)
        else:
            alike = self.archive.gradients[candidate.signature or ""]
            if alike.outcome is None:  # it is being trained
                self._waiting[alike.place].append(candidate)
            else:
                candidate.share(alike)
                self._done(candidate)

    def _done(self, candidate: Candidate) -> None:
        """Tell the engine, take it down, and settle those that waited for it."""
        self._tell(candidate)
        self.log.add(candidate)
        self.log.told(self.engine)
        for other in self._waiting.pop(candidate.place, ()):
            if other.key == candidate.key:
                other.take(candidate, "archived")
            else:
                other.share(candidate)
            self._done(other)

    def _proposed(self, number: int) -> Candidate:
        proposed = self.engine.breed(number)
        generation, index = divmod(number, self.settings.population)
        return Candidate(generation, index, proposed.genome, proposed.origin, proposed.parents, after=self.engine.told)

    def _follows(self, member: Candidate) -> bool:
        """Whether it is what would be bred now."""
        return self._proposed(self._number(member)).key == member.key

    def _refuse(self, odd: Candidate) -> NoReturn:
        where = "" if self.log.folder is None else f"'{self.log.folder.path}' cannot go on: "
        raise RunFolderError(
            f"{where}in its journal, candidate {odd.index} of generation {odd.generation} is '{odd.key}', but this "
            f"evomal breeds another one after the lines before; go on with the versions that {CONFIG} names, or delete "
            "its line and all that follow"
        )

    def _number(self, member: Candidate) -> int:
        return member.generation * self.settings.population + member.index

    def _tell(self, member: Candidate) -> None:
        assert isinstance(member.genome, Formula)
        self.engine.tell(self._number(member), member.genome, member.told)
