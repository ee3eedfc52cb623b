"""Ask and tell: a search whose losses are trained with elsewhere, by whatever trains."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from inspect import Signature
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Unpack

from evomal.config import LearnSettings, learn_settings, meanings, signature_with, unused, used_elsewhere
from evomal.config.keywords import AskKeywords
from evomal.engines.genome import prior_counts
from evomal.engines.warm_start import resolved
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.limits import FINISHED, LimitReached
from evomal.evaluation.probing import probed
from evomal.evaluation.watching import Watcher
from evomal.executors import Executor, InProcess
from evomal.foundation.contexts import recording
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.losses import TaskType
from evomal.search.asked import (
    CLASSES,
    NUMBERS,
    AskedCandidate,
    AskingEvaluator,
    UnseenTasks,
    Waiting,
    fixed_probe,
    id_of,
    metrics_of,
    read_asked,
    told,
    write_asked,
)
from evomal.search.generations import search_generations
from evomal.search.methods import make_method
from evomal.search.result import best_of
from evomal.search.search_log import SearchLog
from evomal.store import RunFolder
from evomal.store.checkpointing import Checkpointing
from evomal.store.config import CONFIG, settings_entries
from evomal.store.provenance import origin_now
from evomal.store.resuming import PreviousRun, describe, require_settings, require_tasks
from evomal.store.task_identity import identity
from evomal.tasks import Task, TaskSet
from evomal.training.optimizers import fitted_settings

PATIENCE = 600.0  # seconds that a process waits for another one that filters and tunes


class Search:
    """Proposes losses and is told how well they trained; local search and filters are its own, training is not.

    The archive and the gradient filter (D9) are on; rejection (D8) and local search need a task. Whatever is asked and
    told lies in `out`: the same call, here or in another process, goes on there at any moment. What comes out depends
    on the metrics alone, not on the order in which they are told or by whom.

    Args:
        method: A method by name. Those that tune (``evomal``, ``ml3``) need `task`.
        task_type: ``"classification"`` or ``"regression"``; a task tells it itself.
        seed: The proposals are a function of the seed and of what is told.
        out: The folder of the search; None keeps it for as long as this object lives.
        task: What local search and the rejection filter work on; None leaves both out.
        outputs: Without a task, outputs of the network for an instance: classes (10), or numbers (1).
        preset: Named settings.
        override: Go on in `out` though generations or limits differ from those of then.
        executor: Where tuning and filters are done; None is here.
        **flat: Single settings, such as ``population_size=25, generations=50``; those of training and finals have no
            effect here, and those of local search and rejection only with a task.

    Raises:
        SettingError: A setting is odd or has no effect here, the method needs a task, or `out` was begun otherwise.
        RunFolderError: The folder holds something else.

    Example:
        >>> search = Search("gplfl", "classification", population_size=4, generations=2)
        >>> while candidates := search.ask():
        ...     search.tell({candidate.id: candidate.loss.expression.size for candidate in candidates})
        >>> search.best.metric, search.best.loss.expression.size
        (5.0, 5)
    """

    __signature__: ClassVar[Signature]

    def __init__(
        self,
        method: str = "gplfl",
        task_type: TaskType | None = None,
        seed: int = 0,
        out: str | PathLike[str] | None = None,
        *,
        task: Task | Sequence[Task] | None = None,
        outputs: int | None = None,
        preset: str | None = None,
        override: bool = False,
        executor: Executor | None = None,
        **flat: Unpack[AskKeywords],
    ) -> None:
        self._tasks = _tasks(task, task_type, outputs)
        self.settings = _settings(self._tasks, preset, {"method": method, "seed": seed, **flat})
        self._method = make_method(self.settings)
        self._executor = executor or InProcess()
        self._probes: tuple[FilterProbe, ...] | None = None
        self._described = False
        if out is None:
            self._temporary = TemporaryDirectory(prefix="evomal-")  # it goes when this object does
            out = Path(self._temporary.name) / "search"
        self._path = Path(out)
        self._begin(override)

    @recording()
    def ask(self) -> list[AskedCandidate]:
        """The losses to train with now.

        Returns:
            Those that wait to be told; the same ones, less those that were told, until all are. None when the search is
            over.

        Raises:
            EvomalError: The task cannot be learned on, or the folder cannot be used.
        """
        with self._opened() as folder:
            past = PreviousRun(folder)
            waiting = self._waiting(folder, past)
            return [self._asked(candidate) for candidate in waiting or self._advance(folder, past)]

    def tell(self, metrics: Mapping[str, float]) -> None:
        """Say how well networks did that were trained with losses asked for: some or all of them, in any order.

        Args:
            metrics: The metric by id, the lower the better; infinite where a training failed.

        Raises:
            SettingError: An id was never asked for or is told already, or a metric is not a number; nothing is taken
                then.
            StorageError: It cannot be written.
        """
        values = metrics_of(metrics)
        with self._opened() as folder:
            past = PreviousRun(folder)
            asked = read_asked(folder, self.settings)
            for key in values:
                _require_asked(key, asked, past)
            with self._log(folder, past) as log:
                log.recall(0)
                for key, metric in values.items():
                    with suppress(LimitReached):  # asking tells that the search is over
                        log.add(told(asked[key], metric))

    @property
    def best(self) -> AskedCandidate | None:
        """The best loss so far, with its metric; None before anything was told."""
        with self._opened() as folder:
            members = PreviousRun(folder).archive.members.values()
        trained = [member for member in members if member.outcome == "trained"]
        if not trained:
            return None
        best = best_of(trained)
        return AskedCandidate(id_of(best), best.finished_loss(self._tasks, self.settings), best.fitness)

    @property
    def finished(self) -> bool:
        """Whether the last call of `ask`, whoever's it was, found the search to be over."""
        with self._opened() as folder:
            states = PreviousRun(folder).states
        return bool(states) and states[0].ended in FINISHED

    def __repr__(self) -> str:
        """Method, kind of task and seed."""
        return f"Search({self.settings.method!r}, {self._tasks.task_type!r}, seed={self.settings.seed})"

    def _begin(self, override: bool) -> None:
        """Make the folder, or see whether what lies there is this search."""
        settings = self.settings
        kind: dict[str, Any] = {"task_type": self._tasks.task_type}
        if isinstance(self._tasks, UnseenTasks):
            kind |= {"outputs": self._tasks.outputs}
        there = (self._path / CONFIG).exists()
        if not there:
            tasks = [identity(task) for task in self._tasks]
            config = {"asked": kind, **settings_entries(settings), "tasks": tasks}
            self._make({**config, **origin_now(None, {}).as_dict()})
        with self._opened() as folder:
            before = folder.config.get("asked")
            if not isinstance(before, dict):
                raise RunFolderError(f"'{self._path}' holds a run of another kind; give another `out`")
            if before != kind:
                raise SettingError(f"'{self._path}' was begun with {before}, now {kind}; give another `out`")
            require_settings(PreviousRun(folder), settings, override)
            if there:  # whatever is asked for next, told, or looked at
                require_tasks(folder, self._tasks)
            folder.describe(settings_entries(settings))

    def _make(self, config: dict[str, Any]) -> None:
        """A new folder, unless another process is quicker."""
        try:
            folder = RunFolder(self._path)
            try:
                folder.prepare(config)
                folder.begin()
                folder.keep()
            finally:
                folder.discard()
        except RunFolderError:
            if not (self._path / CONFIG).exists():
                raise

    @contextmanager
    def _opened(self) -> Iterator[RunFolder]:
        """The folder, for this process alone."""
        folder = RunFolder(self._path, resume=True, patience=PATIENCE)
        try:
            folder.require_writable()
            yield folder
        finally:
            folder.discard()

    def _waiting(self, folder: RunFolder, past: PreviousRun) -> list[Candidate]:
        """Who was asked for and is not told yet."""
        asked = read_asked(folder, self.settings).values()
        return [candidate for candidate in asked if candidate.place not in past.archive.members]

    def _advance(self, folder: RunFolder, past: PreviousRun) -> list[Candidate]:
        """The outer loop, from where it stands to the next candidates that somebody must train with."""
        probes = self._probed(folder, past)
        engine = copy(self._method).engine(self._tasks, probes)
        first = past.restore(engine)
        log = self._log(folder, past)
        evaluator = AskingEvaluator(
            self._tasks, self.settings, probes, self._executor, log.watcher, log.checkpointing, log.limits, past.archive
        )
        try:
            with log:
                log.recall(first)
                result = search_generations(engine, evaluator, self.settings, log, past, first)
        except Waiting as waiting:
            write_asked(folder, waiting.candidates, self._tasks.task_type, self.settings)
            return waiting.candidates
        if result.interrupted:
            raise KeyboardInterrupt
        return []

    def _log(self, folder: RunFolder, past: PreviousRun) -> SearchLog:
        checkpointing = Checkpointing(folder, past.state)
        return SearchLog(self._tasks, self.settings, folder, Watcher(), math.inf, checkpointing, past.archive)

    def _probed(self, folder: RunFolder, past: PreviousRun) -> tuple[FilterProbe, ...]:
        """What filters look at; a task is probed, and compared with that of then, once."""
        if self._probes is None:
            if isinstance(self._tasks, UnseenTasks):
                self._probes = (fixed_probe(self._tasks, self.settings),)
            else:
                self._probes = probed(self._tasks, self.settings)
        if not self._described:
            describe(folder, self._tasks, self.settings, past)
            self._described = True
        return self._probes

    def _asked(self, candidate: Candidate) -> AskedCandidate:
        return AskedCandidate(id_of(candidate), candidate.finished_loss(self._tasks, self.settings))


Search.__signature__ = signature_with(Search.__init__, used_elsewhere())


def _tasks(task: Task | Sequence[Task] | None, task_type: TaskType | None, outputs: int | None) -> TaskSet:
    if task is None:
        if task_type is None:
            raise SettingError(
                "a search without a task needs its kind; give `task_type='classification'` or 'regression'"
            )
        usual = NUMBERS if task_type == "regression" else CLASSES
        return UnseenTasks(kind=task_type, outputs=usual if outputs is None else outputs)
    tasks = TaskSet.of(task)
    if task_type not in (None, tasks.task_type):
        raise SettingError(f"task_type is '{task_type}', but task '{tasks.name}' is {tasks.task_type}; leave it out")
    if outputs is not None:
        raise SettingError(f"setting 'outputs': task '{tasks.name}' tells it itself, not {outputs!r}; leave it out")
    return tasks


def _settings(tasks: TaskSet, preset: str | None, flat: dict[str, Any]) -> LearnSettings:
    """The settings, without any that has no effect where somebody else trains."""
    lacking = ("training",) if tasks else ("training", "task")
    without = {name: meaning for name, meaning in meanings(LearnSettings).items() if meaning.needs in lacking}
    for name, value in flat.items():
        if value is not None and name in without:
            raise SettingError(
                f"setting '{name}': it has no effect where {'another one trains' if tasks else 'no task is given'}; "
                "leave it out"
            )
    off = {name: meaning.off for name, meaning in without.items() if meaning.off is not None}
    known = {name: value for name, value in off.items() if name not in unused(flat["method"], off)}
    chosen = learn_settings(preset, **flat | known)
    if not tasks and chosen.tuning.meta_steps > 0:
        raise SettingError(
            f"method {chosen.method} tunes its losses on a task; give `task`, or method 'gplfl', 'glo' or 'taylorglo'"
        )
    if not tasks and "prior" in chosen.genetic.terminals:
        prior_counts(tasks)  # refuses
    own = [task.own for task in tasks]
    settings = resolved(chosen, tasks.task_type)
    return fitted_settings(settings, own) if own else settings


def _require_asked(key: str, asked: Mapping[str, Candidate], past: PreviousRun) -> None:
    known = {id_of(member): member for member in past.archive.members.values()}
    if key in asked and key not in known:
        return
    if key in asked or (key in known and known[key].outcome in ("trained", "failed") and known[key].trainings):
        raise SettingError(f"candidate '{key}' is told already ({known[key].fitness:g}); tell each once")
    waiting = [name for name in asked if name not in known]
    listed = ", ".join(waiting[:5]) + (", …" if len(waiting) > 5 else "")
    hint = f"those that wait are {listed}" if waiting else "none waits; ask first"
    raise SettingError(f"candidate '{key}' was never asked for; {hint}")
