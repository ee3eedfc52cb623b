"""A method: an engine that proposes losses, and the outer loop that all methods share (Figure 1)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from os import PathLike
from time import perf_counter
from typing import Any, ClassVar

from evomal.config import LearnSettings, learn_settings
from evomal.errors import SettingError
from evomal.runs import RunFolder, make_executor
from evomal.search.candidate import Candidate
from evomal.search.engine import Engine
from evomal.search.evaluation import Evaluator
from evomal.search.filters import FilterProbe
from evomal.search.probing import probed
from evomal.search.record import Record
from evomal.search.result import LearnResult
from evomal.search.stages import train_stage
from evomal.search.watching import Watcher
from evomal.tasks import Task, TaskSet


class Method(ABC):
    """Learns a loss for a task, or for several.

    Args:
        settings: All settings; None means the paper's.
        **flat: Single settings by their flat names, such as ``population_size=25, generations=50, seed=0``; see
            `evomal.config.learn_settings`. ``preset="quick"`` starts from named ones.

    Raises:
        SettingError: A setting is unknown or out of range, is another method's, or both `settings` and single ones
            are given.
    """

    name: ClassVar[str]
    """What `--method` calls it."""
    summary: ClassVar[str]
    """What it is, in a line."""
    shares: ClassVar[tuple[float, float, float]] = (0.9, 0.25, 0.5)
    """Of the candidates, those that are new, and those that are trained, at least and at most; to price a run."""

    def __init__(self, settings: LearnSettings | None = None, **flat: Any) -> None:
        if settings is not None and flat:
            raise SettingError(f"give either settings or single values, not both ({', '.join(flat)})")
        own = type(self).__name__
        if settings is not None and not isinstance(settings, LearnSettings):
            raise SettingError(f"settings is {settings!r}; give single values, such as {own}(preset='quick', seed=0)")
        self.settings = settings or learn_settings(**({"method": self.name} | flat))
        if self.settings.method != self.name:
            raise SettingError(f"setting 'method': {own} is '{self.name}', not '{self.settings.method}'; leave it out")

    @abstractmethod
    def engine(self, tasks: TaskSet, probes: Sequence[FilterProbe]) -> Engine:
        """The engine of a new search."""

    def budget(self, tasks: int = 1) -> str:
        """The most that a search does, in words.

        Args:
            tasks: How many tasks it learns on.

        Example:
            >>> from evomal.search import GLO
            >>> GLO(preset="quick").budget()
            'at most 400 partial trainings (20 candidates in each of 10 + 10 generations)'
        """
        settings = self.settings
        extra = settings.generations - settings.genetic.generations
        rounds = f"{settings.genetic.generations} + {extra}" if extra > 0 else str(settings.generations)
        trainings = settings.evaluations * len(settings.fitness_lrs) * tasks
        candidates = f"{settings.population} candidate{'s' if settings.population > 1 else ''}"
        each = f" at {len(settings.fitness_lrs)} rates" if len(settings.fitness_lrs) > 1 else ""
        on = f" on {tasks} tasks" if tasks > 1 else ""
        if settings.evaluations == 1:
            return f"{trainings} partial training{'s' if trainings > 1 else ''} (1 candidate{each}{on})"
        return f"at most {trainings} partial trainings ({candidates} in each of {rounds} generations{each}{on})"

    def learn(
        self,
        task: Task | Sequence[Task],
        out: str | PathLike[str] | RunFolder | None = None,
        force: bool = False,
        watcher: Watcher | None = None,
    ) -> LearnResult:
        """Search for the loss with the best metric after partial training.

        Model and data are probed first. Ctrl-C ends the search with the best loss so far.

        Args:
            task: The task, or several of one kind: meta-gradients are summed and the fitness averaged over them.
            out: Run folder for settings, journal and best loss; None writes nothing.
            force: Replace a run that lies in `out`.
            watcher: Told of progress.

        Returns:
            The best loss and all that was tried.

        Raises:
            EvomalError: The task cannot be learned on, or the folder cannot be used.
        """
        start = perf_counter()
        tasks = TaskSet.of(task)
        folder = _prepared(out, force, self.settings)
        executor = make_executor(self.settings.workers)
        try:
            probes = probed(tasks, self.settings)
            baseline = train_stage(tasks, self.settings, None).fitness
            record = Record(tasks, self.settings, folder, watcher or Watcher(), baseline, start)
            evaluator = Evaluator(tasks, self.settings, probes, executor, record.watcher)
            return self._search(self.engine(tasks, probes), evaluator, record)
        finally:
            executor.close()
            if folder is not None:
                folder.discard()

    def _search(self, engine: Engine, evaluator: Evaluator, record: Record) -> LearnResult:
        """The outer loop: ask the engine, evaluate, tell it, until the last generation."""
        interrupted = False
        with record:
            try:
                for generation in range(self.settings.generations):
                    members = [
                        Candidate(generation, index, proposed.genome, proposed.origin, proposed.parents)
                        for index, proposed in enumerate(engine.ask())
                    ]
                    evaluator.evaluate(members, record.add)
                    engine.tell([member.fitness for member in members])
                    record.watcher.generation(generation, record.best)
            except KeyboardInterrupt:
                if not record.members:
                    raise
                interrupted = True
        return record.result(interrupted)


def _prepared(out: str | PathLike[str] | RunFolder | None, force: bool, settings: LearnSettings) -> RunFolder | None:
    if out is None or isinstance(out, RunFolder):
        return out
    folder = RunFolder(out, force)
    folder.prepare({"settings": settings.model_dump(mode="json")})
    return folder
