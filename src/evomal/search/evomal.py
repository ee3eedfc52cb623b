"""EvoMAL: genetic programming over formulas, gradients for their coefficients (Figure 1)."""

import math
from os import PathLike
from time import perf_counter
from typing import Any

from evomal.config import LearnSettings, learn_settings
from evomal.errors import EvomalError, ModelError, SettingError, one_line
from evomal.expressions import parse
from evomal.local_search import tune
from evomal.losses import SymbolicLoss
from evomal.runs import Executor, RunFolder, make_executor
from evomal.search.candidate import Candidate
from evomal.search.evaluation import Evaluator
from evomal.search.filters import FilterProbe, improvement, make_probe, passes
from evomal.search.genetic import GeneticEngine
from evomal.search.provenance import provenance
from evomal.search.result import LearnResult
from evomal.search.stages import initial_loss, train_stage
from evomal.search.watching import Watcher
from evomal.seeds import python_random
from evomal.tasks import Task, probe
from evomal.training import one_thread


class EvoMAL:
    """Learns a loss for a task: evolved structure, gradient-tuned coefficients.

    Args:
        settings: All settings; None means the paper's.
        **flat: Single settings by their flat names, such as ``population_size=25, generations=50, seed=0``; see
            `evomal.config.learn_settings`. ``preset="quick"`` starts from named ones.

    Raises:
        SettingError: A setting is unknown or out of range, or both `settings` and single ones are given.

    Example:
        >>> EvoMAL(population_size=25, generations=50, seed=0).settings.genetic.generations
        50

    Source:
        Raymond et al., "Learning Symbolic Model-Agnostic Loss Functions via Meta-Learning", 2023.
    """

    def __init__(self, settings: LearnSettings | None = None, **flat: Any) -> None:
        if settings is not None and flat:
            raise SettingError(f"give either settings or single values, not both ({', '.join(flat)})")
        if settings is not None and not isinstance(settings, LearnSettings):
            raise SettingError(f"settings is {settings!r}; give single values, such as EvoMAL(preset='quick', seed=0)")
        self.settings = settings or learn_settings(**flat)

    def learn(
        self,
        task: Task,
        out: str | PathLike[str] | RunFolder | None = None,
        force: bool = False,
        watcher: Watcher | None = None,
    ) -> LearnResult:
        """Search for the loss with the best metric after partial training.

        Model and data are probed first. Ctrl-C ends the search with the best loss so far.

        Args:
            task: The task.
            out: Run folder for settings, journal and best loss; None writes nothing.
            force: Replace a run that lies in `out`.
            watcher: Told of progress.

        Returns:
            The best loss and all that was tried.

        Raises:
            EvomalError: The task cannot be learned on, or the folder cannot be used.
        """
        folder = _prepared(out, force, self.settings)
        executor = make_executor(self.settings.workers)
        try:
            filter_probe = probed(task, self.settings)
            baseline = train_stage(task, self.settings, task.task_loss).fitness
            engine = GeneticEngine(self.settings.genetic, python_random(self.settings.seed, task.key, "genetic"))
            record = _Record(task, self.settings, folder, watcher or Watcher(), baseline)
            return self._search(task, filter_probe, executor, engine, record)
        finally:
            executor.close()
            if folder is not None:
                folder.discard()

    def _search(
        self, task: Task, filter_probe: FilterProbe, executor: Executor, engine: GeneticEngine, record: "_Record"
    ) -> LearnResult:
        """The outer loop: ask the engine, evaluate, tell it, until the last generation."""
        evaluator = Evaluator(task, self.settings, filter_probe, executor, record.watcher)
        interrupted = False
        with record:
            try:
                for generation in range(self.settings.genetic.generations):
                    members = [
                        Candidate(generation, index, child.expression, child.origin, child.parents)
                        for index, child in enumerate(engine.ask())
                    ]
                    evaluator.evaluate(members, record.add)
                    engine.tell([member.fitness for member in members])
                    record.watcher.generation(generation, record.best)
            except KeyboardInterrupt:
                if not record.members:
                    raise
                interrupted = True
        return record.result(interrupted)


class _Record:
    """Everything that became known, written down at once."""

    def __init__(
        self, task: Task, settings: LearnSettings, folder: RunFolder | None, watcher: Watcher, baseline: float
    ) -> None:
        self.task, self.settings, self.folder, self.watcher = task, settings, folder, watcher
        self.baseline = baseline
        self.best: Candidate | None = None
        self.members: list[Candidate] = []
        self.start = perf_counter()
        if folder is not None:
            folder.begin()
        self.journal = None if folder is None else folder.journal()

    def add(self, candidate: Candidate) -> None:
        """Take down a finished candidate; a new best loss is saved at once."""
        if self.folder is not None and self.journal:
            self.journal.write(candidate.record(self.settings.seed))
            self.folder.keep()
        self.members.append(candidate)
        # The best must have been trained itself (D9).
        if candidate.outcome == "trained" and (self.best is None or candidate.rank < self.best.rank):
            self.best = candidate
            self._save(candidate)
        self.watcher.member(candidate, self.best)

    def result(self, interrupted: bool) -> LearnResult:
        """The result of the search, saved."""
        best = self.best or max(self.members, key=lambda c: (_score(c), -c.expression.size))
        loss = self._save(best)
        members = tuple(sorted(self.members, key=lambda c: c.place))
        fitness = best.fitness if math.isfinite(best.fitness) else None
        seconds = perf_counter() - self.start
        return LearnResult(loss, fitness, self.baseline, best, members, self.settings, seconds, interrupted)

    def _save(self, candidate: Candidate) -> SymbolicLoss:
        loss = initial_loss(candidate.expression, self.task, self.settings)
        if candidate.weights is not None:
            loss.weights.data.copy_(loss.weights.new_tensor(candidate.weights))
        loss.info = provenance(loss, candidate, self.task, self.settings, self.baseline)
        loss.requires_grad_(False)  # finished: nobody's optimiser shall train it by accident
        if self.folder is not None:
            loss.save(self.folder.loss)
        return loss

    def __enter__(self) -> "_Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal:
            self.journal.__exit__(None, None, None)


def probed(task: Task, settings: LearnSettings) -> FilterProbe:
    """Probe model and data for all that a search does with them, and the task loss by the rejection filter (D8).

    Raises:
        EvomalError: Something does not fit, in one sentence.
    """
    probe(task)
    try:
        filter_probe = make_probe(task, settings.filters.rejection_instances, settings.seed)
        if settings.local_search.meta_steps > 0:
            _probe_meta_gradient(task, settings)
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(f"model '{task.model_name}' fails on a batch of training data: {one_line(error)}") from error
    if settings.filters.rejection:
        with one_thread():
            score = improvement(task.task_loss, filter_probe, settings.filters)
        if not passes(score, task.task_type, settings.filters):
            raise SettingError(
                f"the task loss of '{task.name}' does not pass the rejection filter itself (it improves "
                f"'{task.metric.name}' by {score:.2f} of what is possible), so every formula would be rejected; raise "
                "rejection_steps, lower rejection_threshold, or switch rejection off"
            )
    return filter_probe


def _probe_meta_gradient(task: Task, settings: LearnSettings) -> None:
    """One meta-gradient of a plain loss, so that a model which allows none is refused before the search."""
    loss = initial_loss(parse("square(sub(y, f))"), task, settings)
    one_step = settings.local_search.model_copy(update={"meta_steps": 1})
    (outcome,) = tune([loss], task, one_step, settings.base, settings.seed)
    if outcome.reason is not None:
        raise ModelError(
            f"no meta-gradient can be taken through model '{task.model_name}' ({outcome.reason}); use operations that "
            "can be differentiated twice, or --meta-steps 0"
        )


def _score(candidate: Candidate) -> float:
    return -math.inf if candidate.score is None or math.isnan(candidate.score) else candidate.score


def _prepared(out: str | PathLike[str] | RunFolder | None, force: bool, settings: LearnSettings) -> RunFolder | None:
    if out is None or isinstance(out, RunFolder):
        return out
    folder = RunFolder(out, force)
    folder.prepare({"settings": settings.model_dump(mode="json")})
    return folder
