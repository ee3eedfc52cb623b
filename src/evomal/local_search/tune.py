"""Local search: tuning the coefficients φ of losses by meta-gradients (Algorithm 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.local_search.base_step import BaseStep
from evomal.local_search.functional import (
    FunctionalModel,
    batch_statistics,
    plain_kernels,
    random_state,
    set_random_state,
)
from evomal.local_search.one_step import (
    Batch,
    Linearisation,
    Phases,
    adjoint,
    linearise,
    one_step,
    reason_of,
)
from evomal.local_search.traced import TracedLinearisation, trace_linearisation
from evomal.local_search.unroll import unrolled
from evomal.losses import LearnedLoss, SymbolicLoss
from evomal.losses.slopes import Predictions
from evomal.seeds import derive
from evomal.tasks import Batches, Task, TaskSet
from evomal.tasks.rng import seeded
from evomal.training import one_thread

TOGETHER = 64 * 2**20  # bytes of parameters that a group of candidates may hold between phases


@dataclass(slots=True)
class Tuned:
    """How the tuning of one loss ended.

    Args:
        steps: Meta steps taken.
        reason: Why the loss cannot be used, or None.
        seconds: Time spent on this loss alone.
        note: What ended the tuning early though the loss can be used, or None.
    """

    steps: int = 0
    reason: str | None = None
    seconds: float = 0.0
    note: str | None = None

    @property
    def active(self) -> bool:
        """Whether tuning goes on."""
        return self.reason is None and self.note is None


@dataclass(slots=True)
class _Candidate:
    loss: LearnedLoss
    outcome: Tuned = field(default_factory=Tuned)


def tune(
    losses: Sequence[LearnedLoss],
    tasks: Task | TaskSet,
    settings: LocalSearchSettings,
    base: BaseSettings,
    seed: int,
    on_step: Callable[[int], None] | None = None,
) -> list[Tuned]:
    r"""Tune φ of each loss in place (Algorithm 1).

    :math:`\phi \leftarrow \phi - \eta\,\nabla_\phi\sum_j\mathcal{L}_{T_j}` (Equation 6), by S_meta steps of Adam.
    All losses walk through the meta steps together: initialisation, batches and the linearisation of the model are
    the same for all (D3) and are made once per step. What comes out for a loss does not depend on its company.
    The base weights start anew at every meta step. A gradient that is not finite ends the tuning of its loss, which
    keeps the last finite φ (D4); a loss that is not finite itself at the predictions is of no use (D1).

    Args:
        losses: The losses, of one family, alike in task type, reduction and ignored label; φ is changed in place.
        tasks: The task, or several, over which meta-gradients are summed.
        settings: Meta steps, base steps, meta learning rate.
        base: The base optimiser.
        seed: Of the initialisations and batches.
        on_step: Told the number of each finished meta step.

    Returns:
        How each tuning ended.

    Source:
        Raymond et al., 2023, Section 3.2.
    """
    candidates = [_Candidate(loss.requires_grad_()) for loss in losses]
    if not candidates:
        return []
    tasks = TaskSet.of(tasks)
    # Adam works number by number, so one optimiser serves all; a loss without a gradient is left out of its step.
    optimizer = torch.optim.Adam([p for loss in losses for p in loss.parameters()], lr=settings.meta_lr)
    optimizer.zero_grad()
    for candidate in candidates:
        if not candidate.loss.tunable:  # D10
            candidate.outcome.note = "its gradient is zero for any φ"
    walks = [_Walk(task, settings, base, seed) for task in tasks]
    with one_thread(), seeded(derive(seed, tasks.key, "tune", "noise")):
        for step in range(settings.meta_steps):
            for walk in walks:
                _walk_on(walk, step, [c for c in candidates if c.outcome.active])
            active = [c for c in candidates if c.outcome.active]
            if not active:
                break
            _move(active, [c for c in candidates if not c.outcome.active], optimizer)
            if on_step:
                on_step(step)
    return [candidate.outcome for candidate in candidates]


def _walk_on(walk: "_Walk", step: int, active: Sequence[_Candidate]) -> None:
    """Add one task's meta-gradient to that of every candidate."""
    if not active:
        return
    try:
        walk.meta_step(step, active)
    except Exception as error:  # the model itself: nobody can be tuned any further
        for candidate in active:
            candidate.outcome.reason = reason_of(error)


class _Walk:
    """What all losses share while they are tuned: batches, initialisations, and the way to the meta-gradient."""

    def __init__(self, task: Task, settings: LocalSearchSettings, base: BaseSettings, seed: int) -> None:
        self.task, self.settings, self.seed = task, settings, seed
        self.step = BaseStep(base.lr, base.momentum, base.nesterov, base.weight_decay)
        self.train = Batches(len(task.train), base.batch_size, seed, task.key, "tune", "train")
        self.valid = Batches(len(task.valid), base.batch_size, seed, task.key, "tune", "valid")
        self.traced: TracedLinearisation | None = None
        self.way = "traced" if settings.base_steps == 1 else "unrolled"

    def meta_step(self, step: int, candidates: Sequence[_Candidate]) -> None:
        """The meta-gradient of every candidate, from one initialisation and one set of batches."""
        count = self.settings.base_steps
        train = [self.task.train.take(self.train.index(step * count + k)) for k in range(count)]
        on_train = self.settings.task_loss_batch == "train"
        valid = train[-1] if on_train else self.task.valid.take(self.valid.index(step))
        model = self.task.make_model(derive(self.seed, self.task.key, "tune", "init", step))
        model.train()
        noise = derive(self.seed, self.task.key, "tune", "noise", step)
        with batch_statistics(model):
            functional = FunctionalModel(model)
            torch.manual_seed(noise)  # inside seeded: the user's generators stay as they were
            shared = self._linearise(functional, train[0][0])
            masks = random_state(train[0][0].device)  # the same for every candidate
            at, first = None, candidates[0].loss
            if shared is not None and isinstance(first, SymbolicLoss):
                at = Predictions.of(first, shared.outputs, train[0][1])
            size = max(1, TOGETHER // max(1, sum(p.nbytes for p in functional.parameters)))
            for start in range(0, len(candidates), size):
                group = candidates[start : start + size]
                _differentiate([(c, self._phases(c.loss, functional, shared, at, masks, train, valid)) for c in group])

    def _linearise(self, model: FunctionalModel, x: Tensor) -> Linearisation | None:
        """The linearisation at θ0, by the cheapest way that works for this model; None: unroll."""
        if self.way == "traced" and self.traced is None:
            other = self.task.make_model(derive(self.seed, self.task.key, "tune", "trace")).train()
            with batch_statistics(other):
                self.traced = trace_linearisation(model, x, FunctionalModel(other))
            if self.traced is None:
                self.way = "forward" if _forward_works(model, x) else "unrolled"
        if self.way == "traced" and self.traced is not None:
            return self.traced(model, x)
        return linearise(model, x, keep=True) if self.way == "forward" else None

    def _phases(
        self,
        loss: LearnedLoss,
        model: FunctionalModel,
        shared: Linearisation | None,
        at: Predictions | None,
        masks: Sequence[Tensor],
        train: Sequence[Batch],
        valid: Batch,
    ) -> Phases:
        """The meta-gradient of one loss, pausing where others may catch up."""
        task_loss = self.task.task_loss
        if shared is not None:
            return (yield from one_step(loss, model, shared, train[0][1], valid, task_loss, self.step, at, masks))
        set_random_state(masks, valid[0].device)
        with plain_kernels():
            return unrolled(loss, model, train, valid, task_loss, self.step)


def _differentiate(pairs: Sequence[tuple[_Candidate, Phases]]) -> None:
    """Take the meta-gradients of some candidates, phase by phase; what one raises does not touch the others."""
    while pairs:
        pairs = [(candidate, phases) for candidate, phases in pairs if _goes_on(candidate, phases)]


def _goes_on(candidate: _Candidate, phases: Phases) -> bool:
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
            outcome.note = "the meta-gradient was not finite"
    except Exception as error:  # whatever a candidate does, the others go on
        outcome.reason = reason_of(error)
    finally:
        outcome.seconds += perf_counter() - start
    return False


def _move(moved: Sequence[_Candidate], stopped: Sequence[_Candidate], optimizer: torch.optim.Adam) -> None:
    """One step of Adam for every candidate that has a gradient; φ that is no longer finite is put back."""
    for candidate in stopped:
        candidate.loss.zero_grad()  # of a task that came before the one that stopped it
    before = [[p.detach().clone() for p in c.loss.parameters()] for c in moved]
    optimizer.step()
    for candidate, last in zip(moved, before, strict=True):
        candidate.outcome.steps += 1
        if not all(torch.isfinite(p).all().item() for p in candidate.loss.parameters()):
            for parameter, value in zip(candidate.loss.parameters(), last, strict=True):
                parameter.data.copy_(value)
            candidate.outcome.note = "φ was no longer finite"
    optimizer.zero_grad()


def _forward_works(model: FunctionalModel, x: Tensor) -> bool:
    """Whether every operation of the model has a forward-mode derivative that agrees with its gradient."""
    state = random_state(x.device)
    try:
        return adjoint(linearise(model, x, keep=True))
    except RuntimeError:
        return False
    finally:
        set_random_state(state, x.device)
