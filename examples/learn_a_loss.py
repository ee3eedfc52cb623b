"""Learn a loss for your own model and data, use it, save it: python examples/learn_a_loss.py."""

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn

import evomal


def make_model() -> nn.Module:
    """A fresh network."""
    return nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))


def make_task() -> evomal.Task:
    """13 measurements of 178 wines, three growers; a validation split is taken off by itself."""
    x, y = load_wine(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    mean, std = x.mean(0), x.std(0)
    return evomal.Task(
        make_model,
        train=((x - mean) / std, y),
        test=((x_test - mean) / std, y_test),
        task_loss="cross_entropy",
        metric="error_rate",
        name="wine",
    )


def main() -> None:
    """Learn a loss, train a network with it, save it."""
    task = make_task()
    search = evomal.EvoMAL(
        population_size=10, generations=3, meta_steps=20, partial_steps=50, rejection_steps=200, lr=0.1, seed=0
    )
    result = search.learn(task)
    print(result.message)
    print(result.loss.formula(digits=3))

    criterion = result.loss  # a torch.nn.Module: criterion(outputs, targets) -> scalar
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        criterion(model(task.train.x), task.train.y).backward()
        optimizer.step()
    wrong = (model(task.test.x).argmax(1) != task.test.y).float().mean()
    print(f"test error {wrong:.3f}")

    criterion.save("loss.json")
    print(evomal.load_loss("loss.json"))


if __name__ == "__main__":
    main()
