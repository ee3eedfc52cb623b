"""The task loss L_T as a task is given it: a name or a function, its name in tables, and the label that it ignores."""

import copy
from typing import Any

import torch
from torch import nn

from evomal.foundation.errors import unknown_name
from evomal.losses import HANDCRAFTED, HandcraftedEntry
from evomal.losses.checks import checked_label
from evomal.losses.criterion import IGNORED, LossFunction


def entry_of(name: str) -> HandcraftedEntry:
    """The row of a handcrafted loss.

    Raises:
        UnknownNameError: There is no such loss.
    """
    if name not in HANDCRAFTED:
        raise unknown_name("loss", name, HANDCRAFTED)
    return HANDCRAFTED[name]


def on_device(loss: LossFunction, device: torch.device, ignored: int = IGNORED) -> LossFunction:
    """A user's loss on a device; one that ignores the user's own label ignores `IGNORED` in its place."""
    # A module may hold class weights; a copy leaves the user's own where it is.
    if not isinstance(loss, nn.Module):
        return loss
    moved = copy.deepcopy(loss).to(device)
    if ignored != IGNORED and getattr(moved, "ignore_index", None) == ignored:
        setattr(moved, "ignore_index", IGNORED)  # noqa: B010  # as the labels that it will see
    return moved


def ignored_label(given: int | None, loss: Any) -> int:
    """The label that does not count: as given, else as the task loss has it."""
    own = getattr(loss, "ignore_index", None) if given is None else given
    label = checked_label(own)
    return IGNORED if label is None else label
