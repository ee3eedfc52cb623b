"""Local search: tuning the coefficients φ of losses by meta-gradients (Algorithm 1)."""

from collections.abc import Callable, Sequence

import torch

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.contexts import recording
from evomal.foundation.seeds import derive, seeded
from evomal.local_search.endings import PHI_NOT_FINITE, Tuned, reason_of
from evomal.local_search.given import require_reduced
from evomal.local_search.meta_batches import progress_at
from evomal.local_search.meta_trainer import MetaTrainer, TuningState
from evomal.losses import LearnedLoss
from evomal.losses.criterion import told_progress
from evomal.tasks import Task, TaskSet
from evomal.training import one_thread


@recording()
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
    keeps the last finite φ (D4); a loss that is not finite itself at the predictions is of no use (D1). A loss that
    looks at the progress of a training sees another one at every meta step (`progress_at`).

    Args:
        losses: The losses, of one family, alike in task type, reduction and ignored label; φ is changed in place.
        tasks: The task, or several, over which meta-gradients are summed.
        settings: Meta steps, base steps, meta learning rate.
        base: The base optimiser.
        seed: Of the initialisations and batches.
        on_step: Told the number of each finished meta step.

    Returns:
        How each tuning ended.

    Raises:
        SettingError: A loss gives a value for each instance.

    Source:
        Raymond et al., 2023, Section 3.2.
    """
    for loss in losses:
        require_reduced(loss)
    candidates = [TuningState(loss.requires_grad_()) for loss in losses]
    if not candidates:
        return []
    tasks = TaskSet.of(tasks)
    # Adam works number by number, so one optimiser serves all; a loss without a gradient is left out of its step.
    optimizer = torch.optim.Adam([p for loss in losses for p in loss.parameters()], lr=settings.meta_lr)
    optimizer.zero_grad()
    for candidate in candidates:
        if not candidate.loss.tunable:  # D10
            candidate.outcome.note = "its gradient is zero for any φ"
    trainers = [MetaTrainer(task, settings, base, seed) for task in tasks]
    with one_thread(), seeded(derive(seed, tasks.key, "tune", "noise")), told_progress(*losses) as tell:
        for step in range(settings.meta_steps):
            tell(progress_at(step))
            for trainer in trainers:
                _advance(trainer, step, [c for c in candidates if c.outcome.active])
            active = [c for c in candidates if c.outcome.active]
            if not active:
                break
            _move(active, [c for c in candidates if not c.outcome.active], optimizer)
            if on_step:
                on_step(step)
    return [candidate.outcome for candidate in candidates]


def _advance(trainer: MetaTrainer, step: int, active: Sequence[TuningState]) -> None:
    """Add one task's meta-gradient to that of every candidate."""
    if not active:
        return
    try:
        trainer.meta_step(step, active)
    except Exception as error:  # the model itself: nobody can be tuned any further
        for candidate in active:
            candidate.outcome.reason = reason_of(error)


def _move(moved: Sequence[TuningState], stopped: Sequence[TuningState], optimizer: torch.optim.Adam) -> None:
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
            candidate.outcome.note = PHI_NOT_FINITE
    optimizer.zero_grad()
