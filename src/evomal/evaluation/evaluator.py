"""The evaluation of a generation: outer filter, tuning, inner filters, partial training, in that order for each."""

from collections.abc import Callable, Iterator, Sequence

from evomal.config import LearnSettings
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.course import FullEvaluation
from evomal.evaluation.dispatch import STAGES, Flow, Found
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.grouping import in_their_company
from evomal.evaluation.limits import LimitReached, Limits
from evomal.evaluation.racing import Heat, drop_losers
from evomal.evaluation.tuning_memory import TuningMemory
from evomal.evaluation.watching import Watcher
from evomal.executors import Executor
from evomal.tasks import TaskSet


class Evaluator:
    """Gives every member of a generation its fitness; it never selects.

    Work is spread by the executor, and each candidate goes on as soon as it can; what comes out is told stage by stage
    and by index: so it does not depend on who worked, or in which order.

    Args:
        tasks: The tasks.
        settings: All settings of the search.
        probes: Predictions for the inner filters, for each task.
        executor: Where the work is done.
        watcher: Told of progress.
        memory: Keeps what is tuned until it is finished.
        limits: Say when there is no time or budget for more.
        archive: What is finished already.
    """

    trains = True
    """Whether partial training is done here."""

    def __init__(
        self,
        tasks: TaskSet,
        settings: LearnSettings,
        probes: Sequence[FilterProbe],
        executor: Executor,
        watcher: Watcher,
        memory: TuningMemory | None = None,
        limits: Limits | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.tasks, self.settings, self.probes = tasks, settings, probes
        self.executor, self.watcher = executor, watcher
        self.memory, self.limits = memory or TuningMemory(), limits or Limits(settings.limits)
        self.archive = Archive() if archive is None else archive

    def evaluate(self, members: Sequence[Candidate], done: Callable[[Candidate], None]) -> None:
        """Fill in outcome and fitness of every member that has none; `done` is called once for each of these.

        Raises:
            LimitReached: There is no time or budget for all.
        """
        if self.settings.lanes > 1:
            members, done = in_their_company(members, done)
        self.archive.meet(member for member in members if member.outcome is not None)
        fresh, repeated = self._outer_filter([member for member in members if member.outcome is None], done)
        budget = self.limits.left(len(self.archive.losses))
        beyond = [] if budget is None else fresh[budget:]
        fresh = fresh[:budget]
        self.archive.losses |= {candidate.key: candidate for candidate in fresh}
        if self.settings.racing.racing:
            fresh = self._race(fresh, [m for m in members if m.own and m.outcome is not None], done)
        self._evaluate(fresh, done)
        for candidate in repeated:
            if candidate.key in self.archive.losses:
                candidate.take(self.archive.losses[candidate.key], "archived")
                done(candidate)
        if beyond:
            raise LimitReached("evaluations")

    def _outer_filter(
        self, members: Sequence[Candidate], done: Callable[[Candidate], None]
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Split into losses never seen and repeated ones (Section 3.4.1; D7)."""
        fresh: dict[str, Candidate] = {}
        repeated = []
        for candidate in members:
            known = self.archive.losses.get(candidate.key)
            if known is not None and known.generation < candidate.generation:
                candidate.take(known, "elite" if candidate.origin == "elite" else "archived")
                done(candidate)
            elif known is not None or candidate.key in fresh:  # an interrupted call may have finished the other one
                repeated.append(candidate)
            else:
                fresh[candidate.key] = candidate
        return list(fresh.values()), repeated

    def _race(
        self, fresh: Sequence[Candidate], finished: Sequence[Candidate], done: Callable[[Candidate], None]
    ) -> list[Candidate]:
        """A short heat for all; back come those that are evaluated in full."""
        self._begin("heat", len(fresh))
        with Flow(self.tasks, self.executor, self.probes, fresh, Heat(self.settings, self.tasks.task_type)) as flow:
            for stage in STAGES:
                for candidate in flow.ended(stage):
                    if candidate.outcome is not None:
                        done(candidate)
                    self.limits.check_time()
        for candidate in drop_losers(fresh, finished, self.settings):
            done(candidate)
        return [candidate for candidate in fresh if candidate.outcome is None]

    def _evaluate(self, fresh: Sequence[Candidate], done: Callable[[Candidate], None]) -> None:
        """Local search, inner filters and partial training."""
        known = list(self._tuned_before(fresh))
        self._begin("tune", len(fresh) - len(known))
        course = FullEvaluation(self.settings, self.tasks.task_type, self.archive, self.trains)
        flow = Flow(self.tasks, self.executor, self.probes, fresh, course, known, self.memory.keep)
        with flow:
            for candidate in flow.ended("tune"):
                done(candidate)
            self._begin("filter", flow.count("filter"))
            equivalent = []
            for candidate in flow.ended("filter"):
                if candidate.outcome is None:
                    equivalent.append(candidate)
                else:
                    done(candidate)
            self._train(flow, done)
        for candidate in equivalent:
            assert candidate.signature is not None
            candidate.share(self.archive.gradients[candidate.signature])
            done(candidate)

    def _train(self, flow: Flow, done: Callable[[Candidate], None]) -> None:
        """Partial training of the survivors."""
        self._begin("train", flow.count("train"))
        for candidate in flow.ended("train"):
            done(candidate)

    def _tuned_before(self, fresh: Sequence[Candidate]) -> Iterator[Found]:
        """What an interrupted call has tuned already."""
        for candidate in fresh:
            known = self.memory.tuned(candidate)
            if known is not None:
                loss = candidate.genome.loss(self.tasks, self.settings)
                loss.coefficients, loss.scale = list(known.weights), known.scale
                yield candidate, loss, known.outcome()

    def _begin(self, name: str, count: int) -> None:
        """A stage is waited for from now on, if there is time for it."""
        if count:
            self.limits.check_time()
        self.watcher.stage(name, count)
