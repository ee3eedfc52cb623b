"""One base step of the training loop against a plain PyTorch loop on resident tensors."""

import torch
from torch.nn.functional import cross_entropy

from benchmarks.measuring import alternate, show
from benchmarks.subjects import formula, lenet5
from evomal.config import BaseSettings
from evomal.training import fit


def base_step(steps: int = 60) -> None:
    """Both sides train a fresh LeNet-5; ours with cross-entropy and with a formula."""
    subject, base = lenet5(), BaseSettings()
    x, y = subject.task.train.x, subject.task.train.y

    def plain(number: int) -> None:
        model = subject.model()
        optimizer = torch.optim.SGD(model.parameters(), lr=base.lr)
        for step in range(steps):
            index = subject.train.index(step)
            optimizer.zero_grad()
            cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()

    def ours(criterion):
        return lambda number: fit(
            subject.model(), criterion, subject.task.train, subject.train, steps, base, noise_seed=0
        )

    sides = {
        "plain PyTorch loop, cross-entropy": plain,
        "evomal.training.fit, cross-entropy": ours(subject.task.task_loss),
        "evomal.training.fit, a formula": ours(formula().requires_grad_(False)),
    }
    times = alternate(sides, rounds=15, warm=1)
    first = next(iter(times.values()))
    rows = [[name, f"{1e3 * t / steps:.2f}", f"{t / first:.3f}"] for name, t in times.items()]
    show("One base step (target: cross-entropy within 1.05)", ["LeNet-5, batch 128", "ms", "÷ plain"], rows)
