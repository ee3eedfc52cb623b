"""Training of many networks at once, a lane for each: one loss and one learning rate per lane, all else in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import grad

from evomal.config import BaseSettings
from evomal.foundation.contexts import recording
from evomal.foundation.seeds import seeded
from evomal.losses.batched import BatchedLosses, BatchingError
from evomal.losses.batched_families import MixedLosses
from evomal.losses.preparing import full_precision
from evomal.tasks import AnySplit, Batches, Metric, Split
from evomal.tasks.factories import NOTHING_OWN, UserOptimizer
from evomal.training.batched_descent import Descent, make_descent
from evomal.training.batched_model import BatchedModel, Lanes, require_faithful
from evomal.training.evaluate import CHUNK, evaluation_mode
from evomal.training.fit import CHECK_EVERY, NEVER, Fit
from evomal.training.graphs import GraphedStep, graphs_on
from evomal.training.precision import Precision

LEAST_CHUNK = 64


@dataclass(frozen=True, slots=True)
class BatchedFit:
    """How the training of some lanes ended.

    Args:
        model: The network.
        lanes: Its trained parameters and buffers.
        fits: Steps and reason of every lane, as from `fit`.
    """

    model: BatchedModel
    lanes: Lanes
    fits: list[Fit]

    def evaluate(self, split: AnySplit, metric: Metric) -> list[float]:
        """The performance metric L_P of every lane on a whole split, as `evomal.training.evaluate` measures it."""
        on_cpu = self.lanes.parameters[0].device.type == "cpu"
        size = max(LEAST_CHUNK, CHUNK // len(self.fits)) if on_cpu else CHUNK
        with evaluation_mode(self.model.model), torch.no_grad():
            pairs = []
            for index in torch.arange(len(split)).split(size):
                x, y = split.take(index)
                pairs.append((full_precision(self.model(self.lanes, x)), y))
            outputs = torch.cat([many for many, _ in pairs], dim=1)
            targets = torch.cat([y for _, y in pairs])
            finite = outputs.isfinite().flatten(1).all(1).tolist()
            return [
                float(metric(own, targets)) if good else float("nan") for own, good in zip(outputs, finite, strict=True)
            ]


@recording()
def fit_lanes(
    model: nn.Module,
    losses: BatchedLosses | MixedLosses,
    split: AnySplit,
    batches: Batches,
    steps: int,
    base: BaseSettings,
    noise_seed: int,
    rates: Sequence[float] | None = None,
    setting: Precision = "float32",
    own: UserOptimizer = NOTHING_OWN,
) -> BatchedFit:
    r"""Train copies of a network, each with a loss of its own, as `evomal.training.fit` trains one.

    :math:`\theta_n \leftarrow \theta_n - \alpha_n\nabla_\theta\mathcal{M}_n(y, f_{\theta_n}(x))` (Equation 1). All
    lanes start alike and see the same batches and dropout masks (D3). Within the loop nothing is read from an
    accelerator; there, a step is a CUDA graph where that can be had.

    Args:
        model: The network that all start from; its own parameters stay as they are.
        losses: A loss for each lane.
        split: Training data, resident on the model's device.
        batches: Which instances each step takes.
        steps: Base steps.
        base: Optimiser, learning rate, schedule, clipping.
        noise_seed: Seed of what layers such as dropout draw; the global generator is left as it was.
        rates: A learning rate for each lane; None takes that of `base` for all.
        setting: How matrix products are computed; the losses compute in float32.
        own: What the task brings in place of the optimiser or the schedule of `base`; each lane then has an optimiser
            to itself, as nobody knows how it works.

    Returns:
        The trained lanes, with the same reasons as `fit` gives: a lane that fails does not touch the others.

    Raises:
        BatchingError: The model cannot be computed in lanes.
    """
    training = LanesTraining(model, losses, split, batches, steps, base, noise_seed, rates, setting, own)
    with seeded(noise_seed):
        for number in range(steps):
            training.step(number)
            if training.device.type == "cpu" and number % CHECK_EVERY == 0 and training.all_failed:
                break
    return training.result()


class LanesTraining:
    """A training of lanes, step by step; the arguments are those of `fit_lanes`.

    Attributes:
        device: Where it computes.
        program: The step as a CUDA graph, where steps are.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: BatchedLosses | MixedLosses,
        split: AnySplit,
        batches: Batches,
        steps: int,
        base: BaseSettings,
        noise_seed: int,
        rates: Sequence[float] | None = None,
        setting: Precision = "float32",
        own: UserOptimizer = NOTHING_OWN,
    ) -> None:
        model.train()
        self.device, self._steps = next(model.parameters()).device, steps
        self._split, self._batches, self._losses = split, batches, losses
        require_faithful(model, split.take(batches.index(0))[0], noise_seed)
        self._network = BatchedModel(model, setting)
        rates = [base.lr] * losses.lanes if rates is None else rates
        if len(rates) != losses.lanes:
            raise BatchingError(f"{len(rates)} learning rates do not fit {losses.lanes} lanes")
        lanes = self._network.lanes(losses.lanes)
        self._descent = make_descent(lanes, base, rates, steps, own)
        self._step = _LanesStep(self._network, lanes, losses, self._descent)
        # On an accelerator, instances that lie there are gathered within the step, by rows that are sent in one piece.
        call: Callable[..., Tensor] = self._step
        self._rows: Tensor | None = None
        if self.device.type != "cpu" and isinstance(split, Split):
            call, self._rows = _gathering(self._step, split), batches.table(0, steps, self.device)
        self.program = (
            GraphedStep(call, self._step.state) if graphs_on(self.device) and self._descent.on_device else None
        )
        self._call: Callable[..., Tensor] = self.program or call

    def step(self, number: int) -> None:
        """The step of a number; they come in order."""
        self._losses.set_progress(number / self._steps)
        self._descent.begin(number)
        if self._rows is not None:
            self._call(self._rows[number])
        else:
            self._call(*self._split.take(self._batches.index(number)))

    @property
    def all_failed(self) -> bool:
        """Whether no lane's loss is finite any more; an accelerator is waited for."""
        return bool((self._step.failed_at < NEVER).all())

    def result(self) -> BatchedFit:
        """How it ended, after the last step."""
        endings = zip(self._step.failed_at.tolist(), self._step.lanes.finite.tolist(), strict=True)
        return BatchedFit(
            self._network,
            self._step.lanes,
            [Fit.failed(at) if at < NEVER else Fit.whole(self._steps, finite) for at, finite in endings],
        )


def _gathering(step: Callable[[Tensor, Tensor], Tensor], split: Split) -> Callable[[Tensor], Tensor]:
    """A step that is given rows of a split."""
    return lambda rows: step(*split.take(rows))


class _LanesStep:
    """One step of all lanes, in place: losses, gradients, and what the optimiser does with them."""

    def __init__(
        self, network: BatchedModel, lanes: Lanes, losses: BatchedLosses | MixedLosses, descent: Descent
    ) -> None:
        self.network, self.lanes, self.losses, self.descent = network, lanes, losses, descent
        self.phi = losses.coefficients()
        device = lanes.parameters[0].device
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.failed_at = torch.full((losses.lanes,), NEVER, device=device)

    @property
    def state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        return [*self.lanes.parameters, *self.lanes.buffers, *self.descent.state, self.number, self.failed_at]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The lanes' losses [N] at x and y, before the step."""
        outputs = self.network(self.lanes, x)
        values, slopes = self.losses.slopes(outputs, y, self.phi)
        self.descent(grad(outputs, self.lanes.parameters, slopes, allow_unused=True))
        failed_now = torch.where(values.isfinite(), NEVER, self.number)
        torch.minimum(self.failed_at, failed_now, out=self.failed_at)
        self.number += 1
        return values
