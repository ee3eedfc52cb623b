"""What the inner filters measure (D8, D9), for many losses at once; `evomal.evaluation.filters` says what that is."""

import math

import torch
from torch import Tensor

from evomal.config import FilterSettings
from evomal.evaluation.filters import FilterProbe, norm_texts, of_stages, signed_norms
from evomal.local_search.batched_tune import lanes_adam
from evomal.losses.batched import BatchedLosses, finite_lanes
from evomal.losses.criterion import STAGES
from evomal.training.graphs import GraphedStep, graphs_on

LOOK_EVERY = 50  # steps after which it is asked, on a CPU, whether any loss is still finite


def improvements(losses: BatchedLosses, probe: FilterProbe, settings: FilterSettings) -> list[float | None]:
    """What `evomal.evaluation.filters.improvement` gives for each loss; None where the loss is not finite.

    Args:
        losses: N candidates.
        probe: Predictions, targets and metric.
        settings: Adam's steps and rate.
    """
    if probe.possible <= 0:
        return [math.inf] * losses.lanes
    search = Improving(losses, probe, settings)
    program = GraphedStep(search, search.state) if graphs_on(losses.device) else search
    for step in range(settings.rejection_steps):
        losses.set_progress(step / settings.rejection_steps)
        program()
        if losses.device.type == "cpu" and step % LOOK_EVERY == 0 and not bool(search.good.any()):
            break
    return [
        probe.share(own) if fine else None for own, fine in zip(search.predictions, search.good.tolist(), strict=True)
    ]


class Improving:
    """One step of Adam on every loss's predictions, in place."""

    def __init__(self, losses: BatchedLosses, probe: FilterProbe, settings: FilterSettings) -> None:
        self._losses, self._targets, self._phi = losses, probe.targets, losses.coefficients()
        self.predictions = _for_all(probe.predictions, losses)
        self._adam = lanes_adam(self.predictions, probe.rate(settings))
        self.good = torch.ones(losses.lanes, dtype=torch.bool, device=self.predictions.device)

    @property
    def state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        held = self._adam.state[self.predictions].values()
        return [self.predictions, self.good, *(value for value in held if isinstance(value, Tensor))]

    def __call__(self) -> Tensor:
        """The losses at the predictions, whose gradients are set."""
        values, slopes = self._losses.slopes(self.predictions, self._targets, self._phi)
        self.good &= finite_lanes(values, [slopes])
        self.predictions.grad = slopes
        self._adam.step()
        return values


def signatures(losses: BatchedLosses, probe: FilterProbe, directed: bool = False) -> list[str | None]:
    """What `evomal.evaluation.filters.gradient_signature` gives for each loss; None where the loss is not finite.

    A norm that lies within rounding of the middle between two texts may get the other one than there.

    Args:
        losses: N candidates, with reduction ``mean``.
        probe: Predictions and targets.
        directed: Tell losses apart that lead in opposite directions.
    """
    found: list[list[str]] = [[] for _ in range(losses.lanes)]
    good = torch.ones(losses.lanes, dtype=torch.bool, device=probe.predictions.device)
    for share in STAGES if losses.sees_progress else (1.0,):
        losses.set_progress(share)
        parts: list[list[str]] = [[] for _ in range(losses.lanes)]
        for outputs in (probe.predictions, probe.wider):
            values, slopes = losses.slopes(_for_all(outputs, losses), probe.targets, losses.coefficients())
            good = good & finite_lanes(values, [slopes])
            norms = signed_norms(slopes, outputs, probe, directed)
            for own, row in zip(parts, (norms.shape[1] * norms).tolist(), strict=True):
                own += norm_texts(row)
        for texts, own in zip(found, parts, strict=True):
            texts.append(" ".join(own))
    return [of_stages(texts) if fine else None for texts, fine in zip(found, good.tolist(), strict=True)]


def _for_all(outputs: Tensor, losses: BatchedLosses) -> Tensor:
    return outputs.expand(losses.lanes, *outputs.shape).clone()
