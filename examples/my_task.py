"""Your own task from the command line: evomal learn --task examples/my_task.py:make_task --preset quick."""

import torch
from torch import nn

import evomal


class TwoSpirals(torch.utils.data.Dataset):
    """Any map-style data set will do; it is read once and kept as tensors."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        turn = 7 * torch.rand(count, generator=draw).sqrt()
        self.label = torch.arange(count) % 2
        angle = turn + torch.pi * self.label
        self.point = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 3
        self.point += 0.1 * torch.randn(count, 2, generator=draw)

    def __len__(self) -> int:
        """Number of points."""
        return len(self.label)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A point and its spiral."""
        return self.point[index], self.label[index]


def make_task() -> evomal.Task:
    """What `--task` names."""
    return evomal.Task(
        lambda: nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)),
        train=TwoSpirals(1000, seed=0),
        test=TwoSpirals(500, seed=1),
        name="two-spirals",
    )
