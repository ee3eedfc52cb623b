"""What the inner filters measure (D8, D9), for many losses at once; `evomal.search.filters` says what that is."""

import math

import torch
from torch import Tensor

from evomal.config import FilterSettings
from evomal.losses.stacking import Stacked, finite_lanes
from evomal.search.filters import FilterProbe, norm_texts

LOOK_EVERY = 50  # steps after which it is asked whether any loss is still finite


def improvements(losses: Stacked, probe: FilterProbe, settings: FilterSettings) -> list[float | None]:
    """What `evomal.search.filters.improvement` gives for each loss; None where the loss is not finite.

    Args:
        losses: N candidates.
        probe: Predictions, targets and metric.
        settings: Adam's steps and rate.
    """
    if probe.possible <= 0:
        return [math.inf] * losses.lanes
    predictions = _for_all(probe.predictions, losses)
    phi = losses.coefficients()
    optimizer = torch.optim.Adam([predictions], lr=probe.rate(settings))
    good = torch.ones(losses.lanes, dtype=torch.bool, device=predictions.device)
    for step in range(settings.rejection_steps):
        values, slopes = losses.slopes(predictions, probe.targets, phi)
        good = good & finite_lanes(values, [slopes])
        if step % LOOK_EVERY == 0 and not bool(good.any()):
            break
        predictions.grad = slopes
        optimizer.step()
    return [probe.share(own) if fine else None for own, fine in zip(predictions, good.tolist(), strict=True)]


def signatures(losses: Stacked, probe: FilterProbe) -> list[str | None]:
    """What `evomal.search.filters.gradient_signature` gives for each loss; None where the loss is not finite.

    A norm that lies within rounding of the middle between two texts may get the other one than there.

    Args:
        losses: N candidates, with reduction ``mean``.
        probe: Predictions and targets.
    """
    parts: list[list[str]] = [[] for _ in range(losses.lanes)]
    good = torch.ones(losses.lanes, dtype=torch.bool, device=probe.predictions.device)
    for outputs in (probe.predictions, probe.wider):
        values, slopes = losses.slopes(_for_all(outputs, losses), probe.targets, losses.coefficients())
        good = good & finite_lanes(values, [slopes])
        norms = slopes.flatten(2).norm(dim=2) if slopes.dim() > 2 else slopes.abs()
        for own, row in zip(parts, (norms.shape[1] * norms).tolist(), strict=True):
            own += norm_texts(row)
    return [" ".join(own) if fine else None for own, fine in zip(parts, good.tolist(), strict=True)]


def _for_all(outputs: Tensor, losses: Stacked) -> Tensor:
    return outputs.expand(losses.lanes, *outputs.shape).clone()
