"""The metric of a model on a split."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from evomal.losses.preparing import full_precision
from evomal.tasks import AnySplit, Metric
from evomal.training.pooling import fast_pooling

CHUNK = 1000


def evaluate(model: nn.Module, split: AnySplit, metric: Metric) -> float:
    """The performance metric L_P of a model on a whole split, in evaluation mode.

    Args:
        model: The model; its mode, and that of every module in it, is put back.
        split: The data, on the model's device.
        metric: The metric; lower is better.

    Returns:
        The metric's value; NaN where the model's outputs are not finite.
    """
    with evaluation_mode(model), torch.no_grad(), fast_pooling(model):
        pairs = []
        for index in torch.arange(len(split)).split(CHUNK):
            x, y = split.take(index)
            pairs.append((full_precision(model(x)), y))  # a metric may know no other numbers
        outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        return float(metric(outputs, targets)) if torch.isfinite(outputs).all().item() else float("nan")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a block, and afterwards every module in it back into its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training  # not train(): a part that was frozen stays so
