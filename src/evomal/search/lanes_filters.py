"""What the inner filters measure (D8, D9), for many losses at once; `evomal.search.filters` says what that is."""

import math

import torch
from torch import Tensor

from evomal.config import FilterSettings
from evomal.losses.stacking import Stacked
from evomal.search.filters import FilterProbe

LOOK_EVERY = 50  # steps after which it is asked whether any loss is still finite


def improvements(losses: Stacked, probe: FilterProbe, settings: FilterSettings) -> list[float | None]:
    """What `evomal.search.filters.improvement` gives for each loss; None where the loss is not finite.

    Args:
        losses: N candidates.
        probe: Predictions, targets and metric.
        settings: Adam's steps and rate.
    """
    possible = probe.before - probe.perfect
    if possible <= 0:
        return [math.inf] * losses.lanes
    predictions = _for_all(probe.predictions, losses)
    phi = losses.coefficients()
    spread = float(probe.predictions.std()) if probe.predictions.numel() > 1 else 0.0
    optimizer = torch.optim.Adam([predictions], lr=settings.rejection_lr * max(1.0, spread))
    good = torch.ones(losses.lanes, dtype=torch.bool, device=predictions.device)
    for step in range(settings.rejection_steps):
        values, slopes = losses.slopes(predictions, probe.targets, phi)
        good = good & _finite(values, slopes)
        if step % LOOK_EVERY == 0 and not bool(good.any()):
            break
        predictions.grad = slopes
        optimizer.step()
    return [
        (probe.before - float(probe.metric(own, probe.targets))) / possible if fine else None
        for own, fine in zip(predictions, good.tolist(), strict=True)
    ]


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
        good = good & _finite(values, slopes)
        norms = slopes.flatten(2).norm(dim=2) if slopes.dim() > 2 else slopes.abs()
        for own, row in zip(parts, (norms.shape[1] * norms).tolist(), strict=True):
            own += [f"{norm:.1e}" for norm in row]
    return [" ".join(own) if fine else None for own, fine in zip(parts, good.tolist(), strict=True)]


def _for_all(outputs: Tensor, losses: Stacked) -> Tensor:
    return outputs.expand(losses.lanes, *outputs.shape).clone()


def _finite(values: Tensor, slopes: Tensor) -> Tensor:
    """Which lanes' values and slopes are finite, bool [N]."""
    return (values + slopes.flatten(1).sum(1)).isfinite()
