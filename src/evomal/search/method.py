"""A method: an engine that proposes losses, and the outer loop that all methods share (Figure 1)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from inspect import Signature, cleandoc
from logging import getLogger
from os import PathLike
from types import MappingProxyType
from typing import Any, ClassVar, Unpack

from evomal.config import (
    REGISTRY,
    LearnSettings,
    MethodEntry,
    Settings,
    flat_fields,
    learn_settings,
    listed,
    register,
    signature_with,
    used_by,
)
from evomal.config.keywords import LearnKeywords
from evomal.engines.engine import Engine
from evomal.engines.steady_state import SteadyState
from evomal.engines.warm_start import resolved, words_of
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.limits import Limits
from evomal.evaluation.probing import probed
from evomal.evaluation.stages import train_stage
from evomal.evaluation.watching import Watcher, Watchers
from evomal.executors import Executor, make_executor
from evomal.foundation.contexts import ctrl_c_noted, recording
from evomal.foundation.errors import BaselineError, SettingError
from evomal.search.asynchronous import engine_for, search_asynchronously
from evomal.search.budget import budget_of
from evomal.search.finals import Final, require_finals, too_short_for_finals
from evomal.search.generations import search_generations
from evomal.search.result import LearnResult, SearchInterrupted, finished_result
from evomal.search.search_log import SearchLog, shown
from evomal.store import RunFolder
from evomal.store.checkpointing import Checkpointing
from evomal.store.resuming import PreviousRun, describe, opened, require_settings, require_tasks, with_lanes
from evomal.tasks import Task, TaskSet
from evomal.training.chance import hardly_learns
from evomal.training.optimizers import fitted_settings


class Method(ABC):
    """Learns a loss for a task, or for several.

    Args:
        settings: All settings; None means those that are given one by one.
        preset: Named settings to begin with, such as ``"quick"``; None means the paper's.
        **single: Single settings, such as ``population_size=25, generations=50, seed=0``; `inspect.signature` and
            `help` list those that a method has.

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
    fixed: ClassVar[Mapping[str, Any]] = {}
    """Of a method of one's own: settings that make it what it is, by flat name; others are refused."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Of a method of one's own: settings that it takes unless told otherwise."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Of a method of one's own: settings that have no effect on it; giving one is refused."""
    Own: ClassVar[type[Settings] | None] = None
    """Of a method of one's own: the class of settings that it alone has, given and stored beside all others."""

    __signature__: ClassVar[Signature | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """A class with a name is a method from its definition on."""
        super().__init_subclass__(**options)
        if isinstance(cls.__dict__.get("name"), str):
            enter(cls)
        _show_settings(cls)

    def __init__(
        self, settings: LearnSettings | None = None, *, preset: str | None = None, **single: Unpack[LearnKeywords]
    ) -> None:
        flat: dict[str, Any] = {**single} | ({} if preset is None else {"preset": preset})
        if settings is not None and flat:
            raise SettingError(f"give either settings or single values, not both ({', '.join(flat)})")
        own = type(self).__name__
        if settings is not None and not isinstance(settings, LearnSettings):
            raise SettingError(f"settings is {settings!r}; give single values, such as {own}(preset='quick', seed=0)")
        self.settings = settings or learn_settings(**({"method": self.name} | flat))
        if self.settings.method != self.name:
            raise SettingError(f"setting 'method': {own} is '{self.name}', not '{self.settings.method}'; leave it out")
        words_of(self.settings)

    @property
    def own(self) -> Any:
        """The settings that this method alone has, as an instance of its `Own`.

        Raises:
            SettingError: It has none.
        """
        if self.Own is None:
            raise SettingError(f"method '{self.name}' has no settings of its own; give its class an `Own`")
        return self.Own.model_validate(dict(self.settings.own))

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
        return budget_of(self.settings, tasks)

    @recording()
    def learn(
        self,
        task: Task | Sequence[Task],
        out: str | PathLike[str] | RunFolder | None = None,
        force: bool = False,
        watcher: Watcher | None = None,
        resume: bool = False,
        override: bool = False,
        engine: Engine | SteadyState | None = None,
        executor: Executor | None = None,
        progress: bool | None = None,
    ) -> LearnResult:
        """Search for the loss with the best metric after partial training.

        Model and data are probed first. Ctrl-C ends the search and the script with `SearchInterrupted`, a
        `KeyboardInterrupt` that has the best loss so far in its `result`; a watcher that raises `KeyboardInterrupt`
        ends the search alone, which then returns that result.

        Args:
            task: The task, or several of one kind: meta-gradients are summed and the fitness averaged over them.
            out: Run folder for settings, journal and best loss; None writes nothing.
            force: Replace a run that lies in `out`.
            watcher: Told of progress.
            resume: Go on with the run that lies in `out`, or start it if there is none. What comes out is, to the bit,
                what an uninterrupted run gives; a finished run gives its result at once.
            override: Go on though number of generations, workers or limits differ from those of then.
            engine: A fresh engine that proposes in place of the method's own; a run that goes on needs one of the same
                kind, which is brought to where the run stands. Its generations have `population_size` members. Without
                generations (`asynchronous`) it is a `SteadyState`, or a class derived from it that breeds otherwise.
            executor: Where candidates are evaluated, in place of that which the settings name; it stays open.
            progress: Show how the search goes: live on a terminal or in a notebook, else a line for each generation, on
                standard error; None shows it where somebody is watching, that is on a terminal or in a notebook.

        Returns:
            The loss that the finals name, or without finals the best one, and all that was tried.

        Raises:
            EvomalError: The task cannot be learned on, or the folder cannot be used.
            StorageError: Nothing more can be written; what is finished is kept.
            SearchInterrupted: Ctrl-C.
        """
        limits = Limits(self.settings.limits)  # time counts from here on
        tasks = TaskSet.of(task)
        method = copy(self)
        method.settings = fitted_settings(resolved(self.settings, tasks.task_type), (each.own for each in tasks))
        folder = opened(out, force, resume, method.settings)
        try:
            past = PreviousRun(folder)
            method.settings = with_lanes(method.settings, past, tasks)
            require_settings(past, method.settings, override)
            finished = finished_result(past, method.settings)
            if finished is None:
                with shown(tasks.name, method.settings, progress) as display, ctrl_c_noted() as pressed:
                    told = display if watcher is None else Watchers(display, watcher)
                    result = method._learn(tasks, folder, told, past, limits, engine, executor)
                if pressed and result.interrupted:
                    raise SearchInterrupted(result, None if folder is None else folder.loss)
                return result
            assert folder is not None
            require_tasks(folder, tasks)
            return finished
        finally:
            if folder is not None:
                folder.discard()

    def _learn(
        self,
        tasks: TaskSet,
        folder: RunFolder | None,
        watcher: Watcher,
        past: PreviousRun,
        limits: Limits,
        given_engine: Engine | SteadyState | None,
        given_executor: Executor | None,
    ) -> LearnResult:
        """Probe the tasks, and set up what the outer loop needs."""
        settings = self.settings
        if folder is not None:
            folder.require_writable()
        given, tasks = tasks, tasks.for_search(settings.fitness_share)
        where = settings.execution
        gpus = 1.0 if tasks.device.type == "cuda" else 0.0
        executor = given_executor or make_executor(
            settings.workers, where.executor, where.address, where.object_store, gpus
        )
        try:
            probes = probed(tasks, settings)
            require_finals(given, settings)
            engine = engine_for(given_engine or self.engine(tasks, probes), settings, tasks.key)
            if folder is not None:
                describe(folder, given, settings, past)
            first = past.recalled(settings) if isinstance(engine, SteadyState) else past.restore(engine)
            checkpointing = Checkpointing(folder, past.state, limits.begun)
            baseline = past.baseline(lambda: _baseline(tasks, settings))
            _warn(hardly_learns(tasks, baseline, settings.base))
            _warn(None if past.archive.members else too_short_for_finals(given, settings))
            log = SearchLog(given, settings, folder, watcher, baseline, checkpointing, past.archive, limits)
            evaluator = Evaluator(tasks, settings, probes, executor, watcher, checkpointing, log.limits, past.archive)
            with log:
                watcher.baseline(baseline)
                log.recall(first)
                if isinstance(engine, SteadyState):
                    found = search_asynchronously(engine, tasks, settings, probes, executor, log)
                else:
                    found = search_generations(engine, evaluator, settings, log, past, first)
                return Final(given, settings, probes, executor, log).hold(found)
        finally:
            if given_executor is None:
                executor.close()


def _show_settings(method: type[Method]) -> None:
    """Let `inspect.signature` and `help` show the settings that a method has; a constructor of its own shows itself."""
    entry = REGISTRY.get(getattr(method, "name", ""))
    if entry is None or method.__init__ is not Method.__init__:
        method.__signature__ = None
        return
    fields = used_by(entry)
    method.__signature__ = signature_with(Method.__init__, fields, entry.defaults)
    if method.__doc__ is not None and "name" in method.__dict__:
        method.__doc__ = f"{cleandoc(method.__doc__)}\n\nSettings:\n{listed(fields)}"


def _warn(remark: str | None) -> None:
    if remark is not None:
        getLogger("evomal").warning("%s", remark)


def _baseline(tasks: TaskSet, settings: LearnSettings) -> float:
    """The task loss's metric after partial training, taken before any candidate is.

    Raises:
        BaselineError: It fails, and so there is nothing to compare with.
    """
    partial = train_stage(tasks, settings, None)
    if partial.reason is not None:
        raise BaselineError(
            f"the task loss '{tasks.task_loss_name}' itself fails in partial training ({partial.reason}), so that no "
            f"loss could be told from a bad one; check the model and its data, or give a smaller `lr` than "
            f"{settings.base.lr:g}"
        )
    return partial.fitness


_METHODS: dict[str, type[Method]] = {}
METHODS: Mapping[str, type[Method]] = MappingProxyType(_METHODS)
"""Every method by name, those of users too once their class is there."""


def enter(method: type[Method]) -> None:
    """Take a method into the registry; a class that is made anew, as in a notebook, takes the place of its older one.

    Raises:
        SettingError: The name is another method's, or a setting of its own has the name of one that all have.
    """
    name, known = method.name, _METHODS.get(method.name)
    if known is not None and (known.__module__, known.__qualname__) != (method.__module__, method.__qualname__):
        raise SettingError(
            f"the name '{name}' of method {method.__qualname__} is that of {known.__module__}.{known.__qualname__}; "
            "give it another `name`"
        )
    if name not in REGISTRY or known is not None:
        own = method.Own
        twice = sorted({*flat_fields(LearnSettings)} & {*(() if own is None else own.model_fields)})
        names = [getattr(each, "name", None) for each in method.__mro__[1:]]
        above = [REGISTRY[each] for each in names if each in REGISTRY]
        parent = above[0] if above else MethodEntry("")
        if twice:
            raise SettingError(
                f"setting '{twice[0]}' of method '{name}' is one that all methods have; call it otherwise"
            )
        fixed, defaults = {**parent.fixed, **method.fixed}, {**parent.defaults, **method.defaults}
        unused = (*parent.unused, *method.unused)
        register(replace(parent, name=name, fixed=fixed, defaults=defaults, unused=unused, own=own))
    _METHODS[name] = method
