"""Small tasks on which a search takes seconds.

Their data have the same bits on every processor, and so the same fingerprint, which all random draws of a run hang on:
numbers are NumPy's, as PyTorch's normal ones differ in their last bits, and nothing is summed up.
"""

import numpy as np
import torch
from torch import nn

import evomal
from evomal.config import fitting, learn_settings


def normal(seed, *shapes):
    """Normal numbers of float32, the same on every processor, in the default type."""
    draw, kind = np.random.default_rng(seed), torch.get_default_dtype()
    return [torch.from_numpy(draw.standard_normal(shape, dtype=np.float32)).to(kind) for shape in shapes]


def blobs(classes=3, count=240, seed=0, factory=None, name="blobs", **options):
    """Gaussian blobs, one per class, nearly separable by a linear model."""
    y = torch.arange(count) % classes
    centres, noise = normal(seed, (classes, 5), (count, 5))
    x = 4 * centres[y] + noise
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
    x, noise = normal(seed, (count, 4), (count,))
    y = x[:, 0] - 2 * x[:, 1] + 0.5 * x[:, 2] + 0.1 * noise
    return evomal.Task(lambda: nn.Linear(4, 1), (x, y), task_loss="mse", name="line")


def quick(**flat):
    """Settings of a search of a few seconds."""
    values = {
        "population_size": 8, "generations": 3, "meta_steps": 4, "partial_steps": 30,
        "rejection_steps": 15, "rejection_lr": 0.1, "rejection_threshold": 0.5, "lr": 0.1, "batch_size": 32,
        "finals": False,
    }  # fmt: skip
    return learn_settings(**fitting(flat.get("method", "evomal"), values) | flat)
