"""How often classes occur among training labels: counts and shares, checked as a loss is given them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evomal.foundation.errors import SettingError

SHARES_SUM = 1e-4
"""By how much shares may miss a sum of 1: they may have been float32."""


def class_numbers(counts: Sequence[int] | Tensor, owner: str) -> Tensor:
    """How many labels each class has, as a tensor of its own.

    Args:
        counts: A number for each class.
        owner: What an error calls the loss.

    Returns:
        The numbers, int64 [C].

    Raises:
        SettingError: They are no whole numbers, one is below 0, or all are 0.

    Example:
        >>> class_numbers([30, 10], "a loss")
        tensor([30, 10])
    """
    try:
        given = torch.as_tensor(counts).detach()
        whole = given.long()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        given = whole = torch.empty(0)
    if given.dim() != 1 or not torch.equal(whole.to(given.dtype), given) or bool((whole < 0).any()) or not whole.any():
        raise SettingError(
            f"class_counts of {owner} must be whole numbers, none below 0 and not all 0; give the number of training "
            "labels of each class"
        )
    return whole.clone()


def class_shares(counts: Sequence[int] | Tensor, owner: str) -> Tensor:
    """The share of each class among training labels; a class without labels counts as if it had one.

    Args:
        counts: The number of labels of each class.
        owner: What an error calls the loss.

    Returns:
        Shares above 0 that sum to 1, float64 [C].

    Raises:
        SettingError: The numbers are none of labels.

    Example:
        >>> class_shares([30, 10], "a loss").tolist()
        [0.75, 0.25]
    """
    whole = class_numbers(counts, owner).clamp(min=1)
    return whole.double() / whole.sum()


def checked_shares(shares: Sequence[float] | Tensor, owner: str) -> tuple[float, ...]:
    """Shares of classes as plain numbers.

    Raises:
        SettingError: They are not one number above 0 for each class, or do not sum to 1.

    Example:
        >>> checked_shares([0.75, 0.25], "a loss")
        (0.75, 0.25)
    """
    try:
        given = torch.as_tensor(shares, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        given = torch.empty(0)
    if given.dim() != 1 or not bool((given > 0).all()) or abs(float(given.sum()) - 1) > SHARES_SUM:
        raise SettingError(
            f"prior of {owner} must be a number above 0 for each class, together 1; give the classes' shares of the "
            "training labels"
        )
    return tuple(given.tolist())
