"""A learned loss in skorch, and so in scikit-learn: python examples/with_skorch.py [loss.json]; pip install skorch."""

import sys
from pathlib import Path

import torch
from sklearn.model_selection import cross_val_score
from skorch import NeuralNetClassifier

from evomal import load_loss

loss = load_loss(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("learned_loss.json"))


class Net(torch.nn.Linear):  # gives logits, as evomal's losses take them
    def __init__(self):
        super().__init__(4, 3)


torch.manual_seed(0)
x = torch.randn(600, 4)
y = x[:, :3].argmax(1)
options = {"optimizer": torch.optim.Adam, "lr": 0.05, "verbose": 0, "predict_nonlinearity": torch.nn.Softmax(-1)}
net = NeuralNetClassifier(Net, criterion=lambda: loss, **options)
print(f"error {1 - cross_val_score(net, x.numpy(), y.numpy(), cv=3).mean():.3f}")
