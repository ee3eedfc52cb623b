"""What losses say of their past, as their files do: what they were tuned or chosen for, as against their use here."""

from collections.abc import Iterable, Mapping
from typing import Any

from evomal.comparison.contenders import Contender
from evomal.losses import SavedLoss
from evomal.losses.criterion import LossFunction


def entries_of(loss: LossFunction, name: str) -> dict[str, Any]:
    """A group of entries of a loss's file; empty where there is none. A file written by hand may hold anything.

    Example:
        >>> from evomal.losses import HandcraftedLoss
        >>> focal = HandcraftedLoss("focal")
        >>> focal.info = {"tuned_for": {"lr": 0.4}, "note": "mine"}
        >>> entries_of(focal, "tuned_for"), entries_of(focal, "note"), entries_of(max, "tuned_for")
        ({'lr': 0.4}, {}, {})
    """
    value = loss.info.get(name) if isinstance(loss, SavedLoss) else None
    return value if isinstance(value, dict) else {}


def tuned_lr(loss: LossFunction) -> float | None:
    """The rate that a loss was tuned or chosen for, if its file says one."""
    lr = entries_of(loss, "tuned_for").get("lr")
    return float(lr) if isinstance(lr, int | float) and not isinstance(lr, bool) else None


def other_optimizers(contenders: Iterable[Contender], losses: Mapping[str, LossFunction], now: str) -> list[str]:
    """Which finished losses were tuned or chosen for another optimiser than they meet here, one sentence each.

    Args:
        contenders: All of a comparison.
        losses: One of each, by the contender's name.
        now: The optimiser here.
    """
    remarks = []
    for contender in contenders:
        then = entries_of(losses[contender.name], "tuned_for").get("optimizer")
        # What a method finds here meets what it was searched with.
        if contender.kind != "learned" and isinstance(then, str) and then != now:
            told = f"the loss of {contender.name} was tuned or chosen for optimizer {then}"
            remarks.append(f"{told}, and is used here with {now}")
    return remarks
