"""What training calls: losses as PyTorch criteria, and their files."""

from evomal.losses.criterion import Criterion, Reduction
from evomal.losses.handcrafted import HandcraftedLoss, get_handcrafted
from evomal.losses.handcrafted_entries import HandcraftedEntry
from evomal.losses.handcrafted_table import HANDCRAFTED, USUAL
from evomal.losses.learned import LearnedLoss
from evomal.losses.loading import SavedLoss, load_loss, loss_from_entries
from evomal.losses.neural import NeuralLoss
from evomal.losses.preparing import TaskType
from evomal.losses.symbolic import SymbolicLoss
from evomal.losses.taylor import TaylorLoss

__all__ = [
    "HANDCRAFTED",
    "USUAL",
    "Criterion",
    "HandcraftedEntry",
    "HandcraftedLoss",
    "LearnedLoss",
    "NeuralLoss",
    "Reduction",
    "SavedLoss",
    "SymbolicLoss",
    "TaskType",
    "TaylorLoss",
    "get_handcrafted",
    "load_loss",
    "loss_from_entries",
]
