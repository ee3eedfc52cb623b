"""Small tasks on which a search takes seconds."""

import torch
from torch import nn

import evomal
from evomal.config import fitting, learn_settings


def blobs(classes=3, count=240, seed=0, factory=None, name="blobs", **options):
    """Gaussian blobs, one per class, nearly separable by a linear model."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    centres = 4 * torch.randn(classes, 5, generator=draw)
    x = centres[y] + torch.randn(count, 5, generator=draw)
    half = count // 2
    outputs = options.pop("outputs", classes)
    return evomal.Task(
        factory or (lambda: nn.Linear(5, outputs)),
        (x[:half], y[:half]),
        (x[half:], y[half:]),
        (x[half:], y[half:]),
        name=name,
        **options,
    )


def line(count=120, seed=0):
    """A noisy linear relation."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=draw)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.1 * torch.randn(count, generator=draw)
    return evomal.Task(lambda: nn.Linear(4, 1), (x, y), task_loss="mse", name="line")


def quick(**flat):
    """Settings of a search of a few seconds."""
    values = {
        "population_size": 8, "generations": 3, "meta_steps": 4, "partial_steps": 30,
        "rejection_steps": 15, "rejection_lr": 0.1, "rejection_threshold": 0.5, "lr": 0.1, "batch_size": 32,
        "finals": False,
    }  # fmt: skip
    return learn_settings(**fitting(flat.get("method", "evomal"), values) | flat)
