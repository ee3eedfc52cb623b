"""What training calls: losses as PyTorch criteria, and their files."""

from evomal.losses.criterion import Criterion, Reduction, TaskType
from evomal.losses.handcrafted import HANDCRAFTED, HandcraftedLoss, get_handcrafted
from evomal.losses.loading import load_loss
from evomal.losses.symbolic import SymbolicLoss

__all__ = [
    "HANDCRAFTED",
    "Criterion",
    "HandcraftedLoss",
    "Reduction",
    "SymbolicLoss",
    "TaskType",
    "get_handcrafted",
    "load_loss",
]
