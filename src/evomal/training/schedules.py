"""Learning-rate schedules over the steps of a full training, by PyTorch's own schedulers."""

from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from evomal.config import TrainSettings
from evomal.training.fit import Schedule


def make_schedule(settings: TrainSettings) -> Schedule | None:
    """The schedule that the settings name, or None for a constant rate."""
    if settings.schedule == "cosine":
        return lambda optimizer: CosineAnnealingLR(optimizer, T_max=settings.steps)
    if settings.schedule == "step":
        milestones = [round(share * settings.steps) for share in settings.milestones]
        return lambda optimizer: MultiStepLR(optimizer, milestones, gamma=settings.gamma)
    return None
