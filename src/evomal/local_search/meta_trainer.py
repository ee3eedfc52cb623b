"""One task's share of a meta step: batches, initialisation, and the meta-gradient of every loss that is tuned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.seeds import random_state, set_random_state
from evomal.local_search.base_step import BaseStep
from evomal.local_search.endings import META_GRADIENT_NOT_FINITE, Tuned, reason_of
from evomal.local_search.functional import FunctionalModel, batch_statistics, plain_kernels
from evomal.local_search.meta_batches import MetaBatches
from evomal.local_search.one_step import (
    Batch,
    Linearisation,
    Phases,
    adjoint,
    linearise,
    one_step,
)
from evomal.local_search.traced import TracedLinearisation, trace_linearisation
from evomal.local_search.unroll import unrolled
from evomal.losses import LearnedLoss, SymbolicLoss
from evomal.losses.slopes import Predictions
from evomal.tasks import Task
from evomal.training.pooling import fast_pooling

TOGETHER = 64 * 2**20  # bytes of parameters that a group of losses may hold between phases


@dataclass(slots=True)
class TuningState:
    """A loss while it is tuned."""

    loss: LearnedLoss
    outcome: Tuned = field(default_factory=Tuned)


class MetaTrainer:
    """What all losses share while they are tuned: batches, initialisations, and the way to the meta-gradient."""

    def __init__(self, task: Task, settings: LocalSearchSettings, base: BaseSettings, seed: int) -> None:
        self.task, self.batches = task, MetaBatches(task, settings, base, seed)
        self.traced: TracedLinearisation | None = None
        self.followed = False  # the model its parameters, wherever it takes them from
        self.trusted = False  # forward mode, untraced
        # Tracing a deep network takes seconds, which a single meta step does not earn.
        self.way = "unrolled" if self.batches.count > 1 else "traced" if settings.meta_steps > 1 else "forward"

    def meta_step(self, step: int, candidates: Sequence[TuningState]) -> None:
        """The meta-gradient of every candidate, from one initialisation and one set of batches."""
        (train, valid), model = self.batches.batches(step), self.batches.model(step)
        with batch_statistics(model), fast_pooling(model):
            functional = FunctionalModel(model)
            if not self.followed:
                functional.require_followed(train[0][0])
                self.followed = True
            base_step = self.batches.step_at(step, functional, train)
            self.batches.draw(step)
            shared = self._linearise(functional, train[0][0])
            masks = random_state(train[0][0].device)  # the same for every candidate
            at, first = None, candidates[0].loss
            if shared is not None and type(first) is SymbolicLoss:
                at = Predictions.of(first, shared.outputs, train[0][1])
            size = max(1, TOGETHER // max(1, sum(p.nbytes for p in functional.parameters)))
            for start in range(0, len(candidates), size):
                group = candidates[start : start + size]
                _differentiate(
                    [(c, self._phases(c.loss, functional, base_step, shared, at, masks, train, valid)) for c in group]
                )

    def _linearise(self, model: FunctionalModel, x: Tensor) -> Linearisation | None:
        """The linearisation at θ0, by the cheapest way that works for this model; None: unroll."""
        if model.hooked:
            return None
        if self.way == "traced" and self.traced is None:
            other = self.batches.trial()
            with batch_statistics(other), fast_pooling(other):
                self.traced = trace_linearisation(model, x, FunctionalModel(other))
            if self.traced is None:
                self.way = "forward"
        if self.way == "traced" and self.traced is not None:
            return self.traced(model, x)
        if self.way == "forward" and not self.trusted:
            self.trusted = _forward_works(model, x)
            self.way = "forward" if self.trusted else "unrolled"
        return linearise(model, x, keep=True) if self.way == "forward" else None

    def _phases(
        self,
        loss: LearnedLoss,
        model: FunctionalModel,
        base_step: BaseStep,
        shared: Linearisation | None,
        at: Predictions | None,
        masks: Sequence[Tensor],
        train: Sequence[Batch],
        valid: Batch,
    ) -> Phases:
        """The meta-gradient of one loss, pausing where others may catch up."""
        task_loss = self.task.task_loss
        if shared is not None:
            return (yield from one_step(loss, model, shared, train[0][1], valid, task_loss, base_step, at, masks))
        set_random_state(masks, valid[0].device)
        with plain_kernels():
            return unrolled(loss, model, train, valid, task_loss, base_step)


def _differentiate(pairs: Sequence[tuple[TuningState, Phases]]) -> None:
    """Take the meta-gradients of some candidates, phase by phase; what one raises does not touch the others."""
    while pairs:
        pairs = [(candidate, phases) for candidate, phases in pairs if _goes_on(candidate, phases)]


def _goes_on(candidate: TuningState, phases: Phases) -> bool:
    """One phase of one candidate; False when its gradient is there, or the reason why there is none."""
    start = perf_counter()
    outcome = candidate.outcome
    try:
        next(phases)
        return True
    except StopIteration as ended:
        if all(torch.isfinite(slope).all().item() for slope in ended.value):
            for parameter, slope in zip(candidate.loss.parameters(), ended.value, strict=True):
                parameter.grad = slope if parameter.grad is None else parameter.grad + slope
        else:
            outcome.note = META_GRADIENT_NOT_FINITE
    except Exception as error:  # whatever a candidate does, the others go on
        outcome.reason = reason_of(error)
    finally:
        outcome.seconds += perf_counter() - start
    return False


def _forward_works(model: FunctionalModel, x: Tensor) -> bool:
    """Whether every operation of the model has a forward-mode derivative that agrees with its gradient."""
    state = random_state(x.device)
    try:
        return adjoint(linearise(model, x, keep=True))
    except RuntimeError:
        return False
    finally:
        set_random_state(state, x.device)
