"""What a loss does, whatever its text and scale: its gradients on fixed outputs, normalised."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from evomal.losses.criterion import LossFunction, told_progress
from evomal.losses.slopes import slope

Item = TypeVar("Item")

ALIKE = 0.02
"""Losses whose normalised gradients lie no further apart are one: that is an angle of a degree."""


def shape_of(
    loss: LossFunction, probes: Sequence[tuple[Tensor, Tensor]], stages: Sequence[float] = (1.0,)
) -> Tensor | None:
    r"""The gradients of a loss with respect to outputs, end to end, at length 1: :math:`g / \lVert g\rVert`.

    Args:
        loss: The loss, with reduction ``mean``.
        probes: Outputs and their targets, [B, C, ...] each; the same for all losses that are to be compared.
        stages: The progress at which gradients are taken, for a loss that looks at it; the same for all losses too.

    Returns:
        A float64 vector on the CPU; None where the gradient is zero or not finite.
    """
    parts = []
    try:
        with told_progress(loss) as tell:
            for share in stages:
                tell(share)
                parts += [slope(loss, *probe)[1].detach().double().cpu().flatten() for probe in probes]
    except Exception:  # a loss that cannot be computed is like no other
        return None
    whole = torch.cat(parts)
    length = float(whole.norm())
    return whole / length if 0 < length < float("inf") else None


def unlike(pairs: Iterable[tuple[Item, Tensor | None]], known: Sequence[Tensor] = ()) -> Iterator[Item]:
    """Those whose shape is new: further than `ALIKE` from every shape before, and from those known.

    Args:
        pairs: Anything with its shape, the preferred first; without a shape it is left out.
        known: Shapes that are there already.

    Example:
        >>> here, near, far = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.01]), torch.tensor([0.0, 1.0])
        >>> list(unlike([("a", here), ("b", near), ("c", far), ("d", None)]))
        ['a', 'c']
    """
    seen = list(known)
    for item, shape in pairs:
        if shape is None or any(float((shape - other).norm()) <= ALIKE for other in seen):
            continue
        seen.append(shape)
        yield item
