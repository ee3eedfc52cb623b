"""Where a search stands beside its journal: kept as checkpoints, so that an interrupted run goes on from there."""

import math
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

from pydantic import Field, ValidationError

from evomal.config.fields import CountOrZero, NotNegative, Settings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.limits import Ended
from evomal.evaluation.tuning_memory import TunedState, TuningMemory
from evomal.foundation.contexts import uninterrupted
from evomal.foundation.serialization import finite_or_none
from evomal.local_search import Tuned
from evomal.losses import LearnedLoss
from evomal.store import RunFolder


class Stateful(Protocol):
    """An engine, as far as a checkpoint keeps it."""

    def state_dict(self) -> dict[str, Any]:
        """All that it depends on besides its arguments and the journal."""


class State(Settings):
    """A checkpoint.

    Attributes:
        generation: The generation in progress; those before it are complete.
        engine: State of the engine when it was asked for this generation, random numbers included; empty for one that
            has none.
        begun: Whether a generation was begun; else there is no state of an engine yet. None: older files do not say.
        tuned: Members of this generation that are tuned; what is finished of them is in the journal, too.
        baseline: The task loss's metric after partial training; None if that failed.
        seconds: Wall time of the search so far, over all calls.
        ended: How it ended; None while it goes on.
        members: How many candidates were finished when it ended.
    """

    generation: CountOrZero = 0
    engine: dict[str, Any] = Field(default_factory=dict)
    begun: bool | None = None
    tuned: tuple[TunedState, ...] = ()
    baseline: float | None = None
    seconds: NotNegative = 0.0
    ended: Ended | None = None
    members: CountOrZero = 0

    @property
    def holds_engine(self) -> bool:
        """Whether an engine can be brought to where it stood."""
        return bool(self.engine) if self.begun is None else self.begun

    @property
    def measured_baseline(self) -> float:
        """The task loss's metric after partial training, infinite if that failed."""
        return math.inf if self.baseline is None else self.baseline


class Checkpointing(TuningMemory):
    """Keeps the checkpoint of a search up to date.

    Args:
        folder: The run folder; None keeps nothing.
        state: Where an earlier call left the search.
        start: When this call began, by `time.perf_counter`.

    Example:
        >>> checkpointing = Checkpointing(None, State(seconds=60.0), perf_counter())
        >>> checkpointing.seconds >= 60
        True
    """

    def __init__(self, folder: RunFolder | None = None, state: State | None = None, start: float | None = None) -> None:
        self.state = state or State()
        self._folder, self._before = folder, self.state.seconds
        self._start = perf_counter() if start is None else start

    @property
    def seconds(self) -> float:
        """Wall time of the search, over all calls."""
        return self._before + perf_counter() - self._start

    def tuned(self, candidate: Candidate) -> TunedState | None:
        """What an earlier call found out about a candidate by tuning; None if it did not get so far."""
        if candidate.generation != self.state.generation:
            return None
        return next((each for each in self.state.tuned if each.index == candidate.index), None)

    def turn(self, generation: int, engine: Stateful, baseline: float) -> None:
        """A generation begins, or goes on."""
        same = self.state.holds_engine and generation == self.state.generation
        tuned = self.state.tuned if same else ()
        known = {"baseline": finite_or_none(baseline), "engine": engine.state_dict(), "begun": True}
        self._write(generation=generation, tuned=tuned, **known)

    def keep(self, tuned: Sequence[tuple[Candidate, LearnedLoss, Tuned]]) -> None:
        """Members of the generation in progress are tuned."""
        found = tuple(
            TunedState(
                index=candidate.index,
                weights=tuple(loss.coefficients),
                scale=loss.scale,
                steps=outcome.steps,
                seconds=outcome.seconds,
                reason=outcome.reason,
                note=outcome.note,
            )
            for candidate, loss, outcome in tuned
        )
        self._write(tuned=self.state.tuned + found)

    def end(self, ended: Ended, baseline: float | None = None, members: int = 0) -> None:
        """The search ends, with so many candidates finished."""
        known = {} if baseline is None else {"baseline": finite_or_none(baseline)}
        self._write(ended=ended, members=members, **known)

    def _write(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update={"ended": None, **changes, "seconds": self.seconds})
        if self._folder is not None:
            self._folder.require_there()
            with uninterrupted():
                self._folder.checkpoints.write(self.state.model_dump(mode="json"))
            if self.state.tuned:  # that is something to show
                self._folder.keep()


def read_states(folder: RunFolder) -> list[State]:
    """The checkpoints of a run folder that are sound, the latest first."""
    found = []
    for document in folder.checkpoints.read():
        values = {name: value for name, value in document.items() if name not in ("format", "version")}
        try:
            found.append(State.model_validate(values))
        except ValidationError:  # damaged: the one before, or the journal alone, will do
            continue
    return found
