"""Several labels at once, any of which may be true: a loss for the micro-F1 score. Needs scikit-learn."""

import numpy as np
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from torch import nn

import evomal

x, y = make_multilabel_classification(600, n_features=12, n_classes=5, n_labels=2, random_state=0)
x = StandardScaler().fit_transform(x).astype(np.float32)
task = evomal.Task(
    lambda: nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 5)),  # a logit for each label
    train=(x[:400], y[:400]),
    test=(x[400:], y[400:]),
    task_loss="binary_cross_entropy",
    metric="micro_f1_of_labels",
)
quick = {"preset": "quick", "generations": 2, "population_size": 6, "meta_steps": 10, "partial_steps": 100}
result = evomal.EvoMAL(start_from=("binary_cross_entropy",), **quick).learn(task)
print(result.loss.formula(digits=3))
model = task.make_model(0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for _ in range(500):
    optimizer.zero_grad()
    result.loss(model(task.train.x), task.train.y).backward()
    optimizer.step()
print("micro-F1", round(f1_score(y[400:], model(task.test.x).detach() > 0, average="micro"), 3))
