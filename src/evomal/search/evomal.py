"""EvoMAL: genetic programming over formulas, gradients for their coefficients (Figure 1)."""

from os import PathLike
from typing import Any

from evomal.config import LearnSettings, learn_settings
from evomal.errors import SettingError
from evomal.runs import Executor, RunFolder, make_executor
from evomal.search.candidate import Candidate
from evomal.search.evaluation import Evaluator
from evomal.search.filters import FilterProbe
from evomal.search.genetic import GeneticEngine
from evomal.search.probing import probed
from evomal.search.record import Record
from evomal.search.result import LearnResult
from evomal.search.stages import train_stage
from evomal.search.watching import Watcher
from evomal.seeds import python_random
from evomal.tasks import Task


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
            record = Record(task, self.settings, folder, watcher or Watcher(), baseline)
            return self._search(task, filter_probe, executor, engine, record)
        finally:
            executor.close()
            if folder is not None:
                folder.discard()

    def _search(
        self, task: Task, filter_probe: FilterProbe, executor: Executor, engine: GeneticEngine, record: Record
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


def _prepared(out: str | PathLike[str] | RunFolder | None, force: bool, settings: LearnSettings) -> RunFolder | None:
    if out is None or isinstance(out, RunFolder):
        return out
    folder = RunFolder(out, force)
    folder.prepare({"settings": settings.model_dump(mode="json")})
    return folder
