"""Local search in lanes: φ of many losses tuned as one batched program, to what `tune` gives but for rounding."""

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.local_search.lanes_step import LanesWalk
from evomal.local_search.walk import Tuned
from evomal.losses import LearnedLoss
from evomal.losses.stacked import stack
from evomal.losses.stacking import Stacked
from evomal.seeds import derive
from evomal.tasks import Task, TaskSet
from evomal.tasks.rng import seeded
from evomal.training import one_thread

LOOK_EVERY = 50  # meta steps after which an accelerator is asked whether anybody is still tuned

# How the tuning of a lane stands.
ACTIVE, BAD_LOSS, BAD_GRADIENT, BAD_PHI = range(4)
REASONS = {BAD_LOSS: "the loss or its gradient is not finite"}
NOTES = {BAD_GRADIENT: "the meta-gradient was not finite", BAD_PHI: "φ was no longer finite"}


def tune_lanes(
    losses: Sequence[LearnedLoss],
    tasks: Task | TaskSet,
    settings: LocalSearchSettings,
    base: BaseSettings,
    seed: int,
    on_step: Callable[[int], None] | None = None,
) -> list[Tuned]:
    r"""Tune φ of each loss in place, all of them at once, as `evomal.local_search.tune` does (Algorithm 1).

    :math:`\phi \leftarrow \phi - \eta\,\nabla_\phi\sum_j\mathcal{L}_{T_j}` (Equation 6) on φ of all lanes [N, E]. A
    lane that ends, for one of the reasons that `tune` knows, keeps its last finite φ and does not touch the others. On
    an accelerator nothing is read between meta steps but, now and then, whether anybody is left.

    Args:
        losses: The losses; φ is changed in place, and stays as it is if anything is raised.
        tasks: The task, or several, over which meta-gradients are summed.
        settings: Meta steps, base steps, meta learning rate.
        base: The base optimiser.
        seed: Of the initialisations and batches.
        on_step: Told the number of each finished meta step.

    Returns:
        How each tuning ended; the time is shared out evenly.

    Raises:
        LanesError: Losses or model cannot be had in lanes, or may fail for reasons of their own; `tune` them.

    Source:
        Raymond et al., 2023, Section 3.2.
    """
    start = perf_counter()
    outcomes = [Tuned(note=None if loss.tunable else "its gradient is zero for any φ") for loss in losses]  # D10
    tuned = [(loss.requires_grad_(), outcome) for loss, outcome in zip(losses, outcomes, strict=True) if loss.tunable]
    if not tuned:
        return outcomes
    tasks = TaskSet.of(tasks)
    stacked = stack([loss for loss, _ in tuned])
    with one_thread(), seeded(derive(seed, tasks.key, "tune", "noise")):
        walks = [LanesWalk(task, settings, base, seed) for task in tasks]
        phi, state, steps = _walk(stacked, walks, settings, on_step)
    stacked.write(phi)
    each = (perf_counter() - start) / len(tuned)
    for (_, outcome), code, count in zip(tuned, state.tolist(), steps.tolist(), strict=True):
        outcome.reason, outcome.note = REASONS.get(code), NOTES.get(code)
        outcome.steps, outcome.seconds = count, each
    return outcomes


def _walk(
    losses: Stacked, walks: Sequence[LanesWalk], settings: LocalSearchSettings, on_step: Callable[[int], None] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The final φ [N, E], how each lane's tuning stands [N], and how many steps it took [N]."""
    phi = losses.coefficients().requires_grad_()
    # Adam works number by number; as whoever stops never goes on, all that are active have taken equally many steps.
    optimizer = torch.optim.Adam([phi], lr=settings.meta_lr)
    state = torch.full((losses.lanes,), ACTIVE, device=losses.device)
    steps = torch.zeros_like(state)
    for number in range(settings.meta_steps):
        gradient = torch.zeros_like(phi)
        for walk in walks:
            good, found = walk.meta_step(number, losses, phi)
            state = _first(state, ~good, BAD_LOSS)
            state = _first(state, ~found.isfinite().all(1), BAD_GRADIENT)
            gradient += found
        if (losses.device.type == "cpu" or number % LOOK_EVERY == 0) and not bool((state == ACTIVE).any()):
            break
        active = state == ACTIVE
        last = phi.detach().clone()
        phi.grad = gradient
        optimizer.step()
        finite = phi.detach().isfinite().all(1)
        with torch.no_grad():
            phi.copy_(torch.where((active & finite).unsqueeze(1), phi, last))
        steps += active
        state = _first(state, ~finite, BAD_PHI)
        if on_step:
            on_step(number)
    return phi.detach(), state, steps


def _first(state: Tensor, happened: Tensor, code: int) -> Tensor:
    """What happens to a lane counts if it is the first thing."""
    return torch.where(happened & (state == ACTIVE), code, state)
