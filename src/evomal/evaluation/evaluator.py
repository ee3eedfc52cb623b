"""The evaluation of a generation: outer filter, tuning, inner filters, partial training, in that order."""

from collections.abc import Callable, Iterator, Sequence

from evomal.config import LearnSettings
from evomal.evaluation.archive import Archive
from evomal.evaluation.candidate import Candidate, Outcome
from evomal.evaluation.dispatch import Found, Work, in_their_company
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.limits import LimitReached, Limits
from evomal.evaluation.racing import drop_losers, promising, run_heat
from evomal.evaluation.tuning_memory import TuningMemory
from evomal.evaluation.watching import Watcher
from evomal.executors import Executor
from evomal.losses import LearnedLoss
from evomal.tasks import TaskSet


class Evaluator:
    """Gives every member of a generation its fitness; it never selects.

    Work is spread by the executor, decisions are taken here, by index: so what comes out does not depend on who
    worked, or in which order.

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
        self.work, self.watcher = Work(tasks, executor), watcher
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
        tuned = self._tune(fresh, done)
        survivors, equivalent = self._inner_filters(tuned, done)
        self._train(survivors, done)
        for candidate, known in equivalent:
            # The fitness is taken over, φ stays its own (D9).
            candidate.fitness, candidate.fitness_lr, candidate.same_as = known.fitness, known.fitness_lr, known.place
            candidate.tie = known.tie
            _settle(candidate, "equivalent", done)
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
        self._stage("heat", len(fresh))
        for candidate in run_heat(self.work, self.settings, self.probes, fresh):
            if candidate.outcome is not None:
                done(candidate)
            self.limits.check_time()
        for candidate in drop_losers(fresh, finished, self.settings):
            done(candidate)
        return [candidate for candidate in fresh if candidate.outcome is None]

    def _tune(
        self, fresh: Sequence[Candidate], done: Callable[[Candidate], None]
    ) -> list[tuple[Candidate, LearnedLoss]]:
        """Local search for all, in one chunk per worker."""
        kept = []
        for candidate, loss, outcome in [*self._tuned_before(fresh), *self._tuned_now(fresh)]:
            candidate.weights, candidate.scale = loss.coefficients, loss.scale
            candidate.tuned_steps += outcome.steps
            candidate.seconds["tune"] = outcome.seconds
            candidate.reason = outcome.reason or outcome.note
            if outcome.reason:
                _settle(candidate, "failed", done)
            else:
                kept.append((candidate, loss))
        return sorted(kept, key=lambda pair: pair[0].index)

    def _tuned_before(self, fresh: Sequence[Candidate]) -> Iterator[Found]:
        """What an interrupted call has tuned already."""
        for candidate in fresh:
            known = self.memory.tuned(candidate)
            if known is not None:
                loss = candidate.genome.loss(self.tasks, self.settings)
                loss.coefficients, loss.scale = list(known.weights), known.scale
                yield candidate, loss, known.outcome()

    def _tuned_now(self, fresh: Sequence[Candidate]) -> Iterator[Found]:
        left = [candidate for candidate in fresh if self.memory.tuned(candidate) is None]
        self._stage("tune", len(left))
        for found in self.work.tune(self.settings, left):
            self.memory.keep(found)
            yield from found

    def _stage(self, name: str, count: int) -> None:
        """A stage begins, if there is time for it."""
        if count:
            self.limits.check_time()
        self.watcher.stage(name, count)

    def _inner_filters(
        self, tuned: Sequence[tuple[Candidate, LearnedLoss]], done: Callable[[Candidate], None]
    ) -> tuple[list[tuple[Candidate, LearnedLoss]], list[tuple[Candidate, Candidate]]]:
        """Apply D8 and D9 by index; both are measured in the workers."""
        self._stage("filter", len(tuned))
        judgements = self.work.judge(self.settings, self.probes, [loss for _, loss in tuned])
        survivors: list[tuple[Candidate, LearnedLoss]] = []
        equivalent: list[tuple[Candidate, Candidate]] = []
        for (candidate, loss), judgement in zip(tuned, judgements, strict=True):
            candidate.seconds["filter"], candidate.score = judgement.seconds, judgement.score
            candidate.signature = judgement.signature
            if judgement.reason:
                candidate.reason = judgement.reason
                _settle(candidate, "failed", done)
            elif not promising(candidate, self.tasks.task_type, self.settings):
                done(candidate)
            elif judgement.signature is not None and judgement.signature in self.archive.gradients:
                equivalent.append((candidate, self.archive.gradients[judgement.signature]))
            else:
                if judgement.signature is not None:
                    self.archive.gradients[judgement.signature] = candidate
                survivors.append((candidate, loss))
        return survivors, equivalent

    def _train(self, pairs: Sequence[tuple[Candidate, LearnedLoss]], done: Callable[[Candidate], None]) -> None:
        """Partial training of the survivors (Section 3.4.4)."""
        self._stage("train", len(pairs))
        partials = self.work.train(self.settings, [loss for _, loss in pairs])
        for (candidate, _), partial in zip(pairs, partials, strict=True):
            candidate.seconds["train"], candidate.fitness = partial.seconds, partial.fitness
            candidate.fitness_lr, candidate.tie = partial.rate, partial.tie
            candidate.trainings += partial.trainings
            candidate.reason = partial.reason or candidate.reason
            _settle(candidate, "failed" if partial.reason else "trained", done)


def _settle(candidate: Candidate, outcome: Outcome, done: Callable[[Candidate], None]) -> None:
    candidate.outcome = outcome
    done(candidate)
