"""Local search in lanes: φ of many losses tuned as one batched program, to what `tune` gives but for rounding."""

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.contexts import recording
from evomal.foundation.seeds import derive, seeded
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.endings import LOSS_NOT_FINITE, META_GRADIENT_NOT_FINITE, PHI_NOT_FINITE, Tuned
from evomal.local_search.meta_batches import progress_at
from evomal.losses import LearnedLoss
from evomal.losses.batched import BatchedLosses
from evomal.losses.batched_families import stack
from evomal.tasks import Task, TaskSet
from evomal.training import one_thread
from evomal.training.graphs import GraphedStep, graphs_on

# How the tuning of a lane stands.
ACTIVE, BAD_LOSS, BAD_GRADIENT, BAD_PHI = range(4)
REASONS = {BAD_LOSS: LOSS_NOT_FINITE}
NOTES = {BAD_GRADIENT: META_GRADIENT_NOT_FINITE, BAD_PHI: PHI_NOT_FINITE}


@recording()
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
    an accelerator nothing is read between meta steps, and a meta step is a CUDA graph where that can be had.

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
        BatchingError: Losses or model cannot be had in lanes, or may fail for reasons of their own; `tune` them.

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
        tuning = LanesTuning(stacked, [BatchedMetaTrainer(task, settings, base, seed) for task in tasks], settings)
        for number in range(settings.meta_steps):
            if stacked.device.type == "cpu" and tuning.ended:
                break
            tuning.step(number)
            if on_step:
                on_step(number)
    stacked.write(tuning.at.phi)
    states, steps = tuning.at.state.tolist(), tuning.at.steps.tolist()
    each = (perf_counter() - start) / len(tuned)
    for (_, outcome), code, count in zip(tuned, states, steps, strict=True):
        outcome.reason, outcome.note = REASONS.get(code), NOTES.get(code)
        outcome.steps, outcome.seconds = count, each
    return outcomes


class LanesTuning:
    """A tuning of lanes, meta step by meta step.

    Args:
        losses: The losses.
        trainers: What all lanes share, for each task.
        settings: Meta steps and meta learning rate.

    Attributes:
        at: The coefficients and how each lane's tuning stands.
        program: The meta step as a CUDA graph, where there may be one.
    """

    def __init__(
        self, losses: BatchedLosses, trainers: Sequence[BatchedMetaTrainer], settings: LocalSearchSettings
    ) -> None:
        self._losses, self._trainers, self._count = losses, trainers, settings.meta_steps
        self.at = _MetaStep(losses, trainers, settings.meta_lr)
        self.program: GraphedStep | None = None
        self._numbers: Tensor | None = None

    def step(self, number: int) -> None:
        """The meta step of a number; they come in order."""
        self._losses.set_progress(progress_at(number))
        if number == 1 and self._losses.device.type == "cuda":  # the first one has told what the model is like
            self.reside()
        if self._numbers is None:
            self.at.move([each.meta_step(number, self._losses, self.at.phi) for each in self._trainers])
        else:
            (self.program or self.at)(self._numbers[number : number + 1])

    @property
    def ended(self) -> bool:
        """Whether no lane is tuned any further; an accelerator is waited for."""
        return not bool((self.at.state == ACTIVE).any())

    def reside(self) -> None:
        """After a first step: put all that the others need onto the device, where that can be."""
        if not all(each.reside(self._count) for each in self._trainers):
            return
        self._numbers = torch.arange(self._count, device=self._losses.device)
        if graphs_on(self._losses.device):
            self.program = GraphedStep(self.at, self.at.changed)


class _MetaStep:
    """One meta step of all lanes, in place.

    Attributes:
        phi: The coefficients [N, E].
        state: How each lane's tuning stands [N].
        steps: How many steps each lane took [N].
    """

    def __init__(self, losses: BatchedLosses, trainers: Sequence[BatchedMetaTrainer], lr: float) -> None:
        self._losses, self._trainers = losses, trainers
        self.phi = losses.coefficients().requires_grad_()
        # Adam works number by number; as whoever stops never goes on, all that are active took equally many steps.
        self._adam = lanes_adam(self.phi, lr)
        self.state = torch.full((losses.lanes,), ACTIVE, device=losses.device)
        self.steps = torch.zeros_like(self.state)

    @property
    def changed(self) -> list[Tensor]:
        """All tensors that a step changes."""
        held = self._adam.state[self.phi].values()
        return [self.phi, self.state, self.steps, *(value for value in held if isinstance(value, Tensor))]

    def __call__(self, number: Tensor) -> Tensor:
        """The meta step of a number, int64 [1] on the device; gives how many steps each lane took."""
        self.move([each.meta_step_at(number, self._losses, self.phi) for each in self._trainers])
        return self.steps

    def move(self, found: Sequence[tuple[Tensor, Tensor]]) -> None:
        """One step of Adam along the meta-gradients of all tasks."""
        gradient = torch.zeros_like(self.phi)
        for good, of_task in found:
            self._note(~good, BAD_LOSS)
            self._note(~of_task.isfinite().all(1), BAD_GRADIENT)
            gradient += of_task
        active = self.state == ACTIVE
        last = self.phi.detach().clone()
        self.phi.grad = gradient
        self._adam.step()
        finite = self.phi.detach().isfinite().all(1)
        with torch.no_grad():
            self.phi.copy_(torch.where((active & finite).unsqueeze(1), self.phi, last))
        self.steps += active
        self._note(~finite, BAD_PHI)

    def _note(self, happened: Tensor, code: int) -> None:
        """What happens to a lane counts if it is the first thing."""
        self.state.copy_(torch.where(happened & (self.state == ACTIVE), code, self.state))


def lanes_adam(tensor: Tensor, lr: float) -> torch.optim.Adam:
    """Adam on one tensor, which on a GPU may be part of a CUDA graph; its state is there from the start."""
    optimizer = torch.optim.Adam([tensor], lr=lr, capturable=tensor.device.type == "cuda")
    if tensor.device.type == "cuda":
        tensor.grad = torch.zeros_like(tensor)
        optimizer.step()  # by nothing
        for value in optimizer.state[tensor].values():
            value.zero_()
    return optimizer
