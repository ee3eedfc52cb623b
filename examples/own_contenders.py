"""Losses of your own beside handcrafted ones, over seeds: python examples/own_contenders.py; the same call goes on."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import evomal
from evomal.tasks import named_task


def smoothed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(outputs, targets, label_smoothing=0.1)


class Margin(nn.Module):
    """The multi-class hinge loss, a little wider."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.multi_margin_loss(outputs, targets, margin=2.0)


iris = named_task("iris", "mlp")
squared = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
tuned = evomal.tune(iris, squared, meta_steps=20, preset="quick")
print(tuned)
losses = ["focal", smoothed, Margin(), tuned.loss]
comparison = evomal.compare(iris, losses, seeds=range(3), out="own", steps=100, lr_grid=(0.1, 0.3))
print(comparison.verdict)
print(evomal.train(iris, losses, steps=100, lrs=(0.3,), seeds=(0, 1, 2)))
