"""The evaluation of a generation: outer filter, tuning, inner filters, partial training, in that order."""

from collections.abc import Callable, Iterator, Sequence

from evomal.config import LearnSettings
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.runs import Executor
from evomal.search.candidate import Candidate, Outcome
from evomal.search.filters import FilterProbe, passes
from evomal.search.limits import LimitReached, Limits
from evomal.search.stages import Judgement, judge_stage, train_stage, tune_stage
from evomal.search.standing import Standing
from evomal.search.watching import Watcher
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
        standing: Keeps what is tuned until it is finished.
        limits: Say when there is no time or budget for more.
    """

    def __init__(
        self,
        tasks: TaskSet,
        settings: LearnSettings,
        probes: Sequence[FilterProbe],
        executor: Executor,
        watcher: Watcher,
        standing: Standing | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tasks, self.settings, self.probes = tasks, settings, probes
        self.executor, self.watcher = executor, watcher
        self.standing, self.limits = standing or Standing(), limits or Limits(settings.limits)
        self.archive: dict[str, Candidate] = {}
        self.signatures: dict[str, Candidate] = {}

    def evaluate(self, members: Sequence[Candidate], done: Callable[[Candidate], None]) -> None:
        """Fill in outcome and fitness of every member that has none; `done` is called once for each of these.

        Raises:
            LimitReached: There is no time or budget for all.
        """
        self.recall([member for member in members if member.outcome is not None])
        fresh, repeated = self._outer_filter([member for member in members if member.outcome is None], done)
        budget = self.limits.left(len(self.archive))
        beyond = [] if budget is None else fresh[budget:]
        fresh = fresh[:budget]
        self.archive |= {candidate.key: candidate for candidate in fresh}
        tuned = self._tune(fresh, done)
        survivors, equivalent = self._inner_filters(tuned, done)
        self._train(survivors, done)
        for candidate, known in equivalent:
            # The fitness is taken over, φ stays its own (D9).
            candidate.fitness, candidate.fitness_lr, candidate.same_as = known.fitness, known.fitness_lr, known.place
            _settle(candidate, "equivalent", done)
        for candidate in repeated:
            if candidate.key in self.archive:
                candidate.take(self.archive[candidate.key], "archived")
                done(candidate)
        if beyond:
            raise LimitReached("evaluations")

    def recall(self, members: Sequence[Candidate]) -> None:
        """Take in members that are finished, as if they had been evaluated here."""
        for candidate in members:
            if not candidate.own:
                continue
            self.archive[candidate.key] = candidate
            passed = candidate.outcome == "trained" or "train" in candidate.seconds
            if passed and candidate.signature is not None:
                self.signatures[candidate.signature] = candidate

    def _outer_filter(
        self, members: Sequence[Candidate], done: Callable[[Candidate], None]
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Split into losses never seen and repeated ones (Section 3.4.1; D7)."""
        fresh: dict[str, Candidate] = {}
        repeated = []
        for candidate in members:
            known = self.archive.get(candidate.key)
            if known is not None and known.generation < candidate.generation:
                candidate.take(known, "elite" if candidate.origin == "elite" else "archived")
                done(candidate)
            elif known is not None or candidate.key in fresh:  # an interrupted call may have finished the other one
                repeated.append(candidate)
            else:
                fresh[candidate.key] = candidate
        return list(fresh.values()), repeated

    def _tune(
        self, fresh: Sequence[Candidate], done: Callable[[Candidate], None]
    ) -> list[tuple[Candidate, LearnedLoss]]:
        """Local search for all, in one chunk per worker."""
        kept = []
        for candidate, loss, outcome in [*self._tuned_before(fresh), *self._tuned_now(fresh)]:
            candidate.weights, candidate.scale = loss.coefficients, loss.scale
            candidate.tuned_steps = outcome.steps
            candidate.seconds["tune"] = outcome.seconds
            candidate.reason = outcome.reason or outcome.note
            if outcome.reason:
                _settle(candidate, "failed", done)
            else:
                kept.append((candidate, loss))
        return sorted(kept, key=lambda pair: pair[0].index)

    def _tuned_before(self, fresh: Sequence[Candidate]) -> Iterator[tuple[Candidate, LearnedLoss, Tuned]]:
        """What an interrupted call has tuned already."""
        for candidate in fresh:
            known = self.standing.tuned(candidate)
            if known is not None:
                loss = candidate.genome.loss(self.tasks, self.settings)
                loss.coefficients, loss.scale = list(known.weights), known.scale
                yield candidate, loss, known.outcome()

    def _tuned_now(self, fresh: Sequence[Candidate]) -> Iterator[tuple[Candidate, LearnedLoss, Tuned]]:
        left = [candidate for candidate in fresh if self.standing.tuned(candidate) is None]
        self._stage("tune", len(left))
        chunks = [left[i :: self.executor.workers] for i in range(self.executor.workers)]
        chunks = [chunk for chunk in chunks if chunk]
        jobs = [(self.settings, [c.genome for c in chunk]) for chunk in chunks]
        for chunk, outcomes in zip(chunks, self.executor.map(tune_stage, self.tasks, jobs), strict=True):
            found = [(candidate, *outcome) for candidate, outcome in zip(chunk, outcomes, strict=True)]
            self.standing.keep(found)
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
        jobs = [(self.settings, self.probes, loss) for _, loss in tuned]
        survivors: list[tuple[Candidate, LearnedLoss]] = []
        equivalent: list[tuple[Candidate, Candidate]] = []
        for (candidate, loss), judgement in zip(tuned, self.executor.map(judge_stage, self.tasks, jobs), strict=True):
            candidate.seconds["filter"], candidate.score = judgement.seconds, judgement.score
            candidate.signature = judgement.signature
            if judgement.reason:
                candidate.reason = judgement.reason
                _settle(candidate, "failed", done)
            elif not self._promising(candidate, judgement):
                _settle(candidate, "rejected", done)
            elif judgement.signature is not None and judgement.signature in self.signatures:
                equivalent.append((candidate, self.signatures[judgement.signature]))
            else:
                if judgement.signature is not None:
                    self.signatures[judgement.signature] = candidate
                survivors.append((candidate, loss))
        return survivors, equivalent

    def _promising(self, candidate: Candidate, judgement: Judgement) -> bool:
        if judgement.score is None or passes(judgement.score, self.tasks.task_type, self.settings.filters):
            return True
        candidate.reason = f"improves predictions by {judgement.score:.2f} of what is possible"
        return False

    def _train(self, pairs: Sequence[tuple[Candidate, LearnedLoss]], done: Callable[[Candidate], None]) -> None:
        """Partial training of the survivors (Section 3.4.4)."""
        self._stage("train", len(pairs))
        jobs = [(self.settings, loss) for _, loss in pairs]
        for (candidate, _), partial in zip(pairs, self.executor.map(train_stage, self.tasks, jobs), strict=True):
            candidate.seconds["train"], candidate.fitness = partial.seconds, partial.fitness
            candidate.fitness_lr, candidate.trainings = partial.rate, partial.trainings
            candidate.reason = partial.reason or candidate.reason
            _settle(candidate, "failed" if partial.reason else "trained", done)


def _settle(candidate: Candidate, outcome: Outcome, done: Callable[[Candidate], None]) -> None:
    candidate.outcome = outcome
    done(candidate)
