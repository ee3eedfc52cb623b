"""One training loop, for the partial training of candidates and for full training alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from evomal.config import BaseSettings
from evomal.foundation.contexts import exclusive, recording
from evomal.foundation.seeds import seeded
from evomal.losses.checks import require_scalar
from evomal.losses.criterion import IGNORED, told_progress
from evomal.tasks import AnySplit, Batches
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer
from evomal.training.optimizers import base_optimizer
from evomal.training.pooling import fast_pooling
from evomal.training.schedules import make_schedule

# On an accelerator, looking at the loss waits for it; there a diverged training is noticed a little later.
CHECK_EVERY = 50
NEVER = 2**62
NO_LABEL = "as no label of its batch counts"


@dataclass(frozen=True, slots=True)
class Fit:
    """How a training ended.

    Args:
        steps: Base steps that were taken.
        reason: Why it ended early, or None.
    """

    steps: int
    reason: str | None = None

    @classmethod
    def failed(cls, step: int, cause: str = "") -> Self:
        """Of one whose loss was not finite at a step; the cause, where one is known, is a clause of its own."""
        return cls(step, f"the loss is not finite at step {step}{cause}")

    @classmethod
    def whole(cls, steps: int, finite: bool) -> Self:
        """Of one that took all of its steps, after which its parameters are finite or not."""
        return cls(steps, None if finite else "a parameter is not finite after the last step")


@recording()
def fit(
    model: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    split: AnySplit,
    batches: Batches,
    steps: int,
    base: BaseSettings,
    noise_seed: int,
    own: UserOptimizer = NOTHING_OWN,
) -> Fit:
    r"""Train a model with a loss.

    :math:`\theta \leftarrow \theta - \alpha\nabla_\theta\mathcal{M}(y, f_\theta(x))` (Equation 1), or what another
    optimiser makes of the gradient; a schedule spans the steps of this training, and a loss that looks at its progress
    is told k / steps before step k.

    Args:
        model: Trained in place, in training mode.
        criterion: The loss, ``criterion(outputs, targets) -> scalar``.
        split: Training data, resident on the model's device.
        batches: Which instances each step takes.
        steps: Base steps.
        base: Optimiser, learning rate, schedule, clipping.
        noise_seed: Seed of what layers such as dropout draw; the global generator is left as it was.
        own: What the task brings in place of the optimiser or the schedule of `base`.

    Returns:
        The steps taken, and the reason if a loss or, at the end, a parameter is not finite.

    Raises:
        SettingError: The loss does not give one number.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = base_optimizer(base, own).make(parameters, base.lr)
    scheduler = make_schedule(base, optimizer, steps, own)
    model.train()
    watch = _Watch(next(model.parameters()).device)
    with seeded(noise_seed), fast_pooling(model), told_progress(criterion) as tell:
        for step in range(steps):
            tell(step / steps)
            x, y = split.take(batches.index(step))
            loss = criterion(model(x), y)
            if step == 0:
                require_scalar(loss, "the loss")
            if watch.seen(step, loss):
                break
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if base.clip is not None:
                clip_grad_norm_(parameters, base.clip)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    if (failed_at := watch.failed_at()) is not None:
        cause = without_labels(split.take(batches.index(failed_at))[1])
        return Fit.failed(failed_at, cause)
    return Fit.whole(steps, all(p.isfinite().all().item() for p in model.parameters()))


class _Watch:
    """Notes the first loss that is not finite, without waiting for an accelerator.

    There the training goes on until the news of it have come; what it does meanwhile changes nothing about the result.
    """

    def __init__(self, device: torch.device) -> None:
        self._failed: int | None = None
        self._here = device.type != "cuda"
        if not self._here:
            self._there = torch.full((), NEVER, device=device)
            self._news = torch.full((), NEVER).pin_memory()
            self._arrived: torch.cuda.Event | None = None

    def seen(self, step: int, loss: Tensor) -> bool:
        """Take note of a step's loss; whether it is known that one was not finite."""
        if self._here:
            if not torch.isfinite(loss).item():
                self._failed = step
            return self._failed is not None
        now = torch.where(loss.detach().isfinite(), NEVER, step)
        torch.minimum(self._there, now, out=self._there)
        if step % CHECK_EVERY or (self._arrived is not None and not self._arrived.query()):
            return False
        if self._arrived is not None and int(self._news) < NEVER:
            return True
        self._news.copy_(self._there, non_blocking=True)
        self._arrived = torch.cuda.Event()
        self._arrived.record()
        return False

    def failed_at(self) -> int | None:
        """The first step with a loss that was not finite, or None; an accelerator is waited for."""
        if self._here:
            return self._failed
        first = int(self._there)
        return first if first < NEVER else None


def without_labels(y: Tensor) -> str:
    """The cause of a loss that is 0/0, where that is it: a batch in which no label counts."""
    nothing = not y.is_floating_point() and bool((y == IGNORED).all())
    return f", {NO_LABEL}" if nothing else ""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block on one thread: results then do not depend on the number of cores, to the bit (D3).

    Other threads of the process wait, as the number is that of the process.
    """
    with exclusive():
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
