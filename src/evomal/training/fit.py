"""One training loop, for the partial training of candidates and for full training alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from evomal.config import BaseSettings
from evomal.tasks import AnySplit, Batches
from evomal.tasks.rng import seeded
from evomal.training.pooling import fast_pooling

Schedule = Callable[[SGD], LRScheduler]

# On an accelerator, looking at the loss waits for it; there a diverged training is noticed a little later.
CHECK_EVERY = 50


@dataclass(frozen=True, slots=True)
class Fit:
    """How a training ended.

    Args:
        steps: Base steps that were taken.
        reason: Why it ended early, or None.
    """

    steps: int
    reason: str | None = None


def fit(
    model: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    split: AnySplit,
    batches: Batches,
    steps: int,
    base: BaseSettings,
    noise_seed: int,
    schedule: Schedule | None = None,
) -> Fit:
    r"""Train a model with a loss.

    :math:`\theta \leftarrow \theta - \alpha\nabla_\theta\mathcal{M}(y, f_\theta(x))` (Equation 1).

    Args:
        model: Trained in place, in training mode.
        criterion: The loss, ``criterion(outputs, targets) -> scalar``.
        split: Training data, resident on the model's device.
        batches: Which instances each step takes.
        steps: Base steps.
        base: Learning rate and the other settings of the optimiser.
        noise_seed: Seed of what layers such as dropout draw; the global generator is left as it was.
        schedule: Makes a learning-rate scheduler, stepped after every step; None keeps the rate.

    Returns:
        The steps taken, and the reason if a loss or, at the end, a parameter is not finite.
    """
    optimizer = make_optimizer(model, base)
    scheduler = schedule(optimizer) if schedule else None
    model.train()
    on_cpu = next(model.parameters()).device.type == "cpu"
    with seeded(noise_seed), fast_pooling(model):
        for step in range(steps):
            x, y = split.take(batches.index(step))
            loss = criterion(model(x), y)
            if (on_cpu or step % CHECK_EVERY == 0) and not torch.isfinite(loss).item():
                return Fit(step, f"the loss is not finite at step {step}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    if not all(p.isfinite().all().item() for p in model.parameters()):
        return Fit(steps, "a parameter is not finite after the last step")
    return Fit(steps)


def make_optimizer(model: nn.Module, base: BaseSettings) -> SGD:
    """The base optimiser for a model's trainable parameters."""
    return SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=base.lr,
        momentum=base.momentum,
        nesterov=base.nesterov,
        weight_decay=base.weight_decay,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block on one thread: results then do not depend on the number of cores, to the bit (D3)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
