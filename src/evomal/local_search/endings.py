"""How the tuning of a loss ends: what makes it unusable, what ends it early, and what that is called."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evomal.foundation.errors import EvomalError, one_line

LOSS_NOT_FINITE = "the loss or its gradient is not finite"
META_GRADIENT_NOT_FINITE = "the meta-gradient was not finite"
PHI_NOT_FINITE = "φ was no longer finite"


@dataclass(slots=True)
class Tuned:
    """How the tuning of one loss ended.

    Args:
        steps: Meta steps taken.
        reason: Why the loss cannot be used, or None.
        seconds: Time spent on this loss alone.
        note: What ended the tuning early though the loss can be used, or None.
    """

    steps: int = 0
    reason: str | None = None
    seconds: float = 0.0
    note: str | None = None

    @property
    def active(self) -> bool:
        """Whether tuning goes on."""
        return self.reason is None and self.note is None


class NotFiniteError(ArithmeticError):
    """A loss or its gradient with respect to the predictions is infinite or not a number (D1)."""


def reason_of(error: Exception) -> str:
    """Why a candidate failed, in one line.

    Raises:
        OutOfMemoryError: That it was, which is no candidate's fault.
    """
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    return str(error) if isinstance(error, NotFiniteError | EvomalError) else one_line(error)


def require_finite(value: Tensor, slope: Tensor) -> None:
    """Refuse a loss value or a slope ∂M/∂f that is not finite."""
    # One sum tells of both: a sum with an infinity or a NaN in it is not finite, and finite float32 slopes of a
    # mean over the batch are far from overflowing it.
    if not torch.isfinite(value.detach() + slope.detach().sum()).item():
        raise NotFiniteError(LOSS_NOT_FINITE)
