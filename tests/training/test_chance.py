import pytest
import torch
from torch import nn

from evomal.config import BaseSettings
from evomal.tasks import Task
from evomal.training.chance import bounds, hardly_learns


def _task(y, outputs=1, **options):
    x = torch.arange(float(len(y))).reshape(-1, 1)
    return Task(lambda: nn.Linear(1, outputs), (x, y), (x, y), **options)


def test_chance_is_the_best_constant():
    labels = torch.tensor([0, 0, 0, 1, 2] * 4)
    assert bounds(*_with_valid(_task(labels, 3))) == pytest.approx((0.4, 0.0))
    assert bounds(*_with_valid(_task(labels, 3, metric="balanced_error_rate"))) == pytest.approx((2 / 3, 0.0))
    assert bounds(*_with_valid(_task((labels == 0).long(), 1))) == pytest.approx((0.4, 0.0))
    targets = torch.tensor([1.0, 2.0, 3.0, 6.0])
    variance = float(targets.var(unbiased=False))
    assert bounds(*_with_valid(_task(targets, task_loss="mse"))) == pytest.approx((variance, 0.0))
    skewed = torch.tensor([1.0] * 7 + [3.0, 30.0, 50.0])
    task = _task(skewed, task_loss="mse", metric="mae")
    absolute = float((task.valid.y - task.valid.y.median()).abs().mean())
    assert bounds(*_with_valid(task)) == pytest.approx((absolute, 0.0))
    ignored = torch.where(torch.arange(20) % 5 == 0, -100, labels)
    assert bounds(*_with_valid(_task(ignored, 3))) == pytest.approx((0.5, 0.0))


def _with_valid(task):
    return task, task.valid


def test_a_baseline_near_chance_is_said():
    tasks = [_task(torch.tensor([0, 1] * 10), 2)]
    said = hardly_learns(tasks, 0.485, BaseSettings(lr=0.1))
    assert said == (
        "cross_entropy itself hardly learns with sgd at 0.1: choose another optimiser or rate "
        "(error_rate 0.485, 0.5 by chance)"
    )
    assert hardly_learns(tasks, 0.7, BaseSettings(lr=0.1)) is not None
    assert hardly_learns(tasks, 0.44, BaseSettings(lr=0.1)) is None
    assert hardly_learns(tasks, float("inf"), BaseSettings(optimizer="adam", lr=3)) == (
        "cross_entropy itself diverges with adam at 3: choose another optimiser or rate"
    )


def test_where_chance_is_not_known_nothing_is_said():
    def odd(outputs, targets):
        raise ValueError

    tasks = [_task(torch.tensor([0, 1] * 10), 2, metric=odd)]
    assert hardly_learns(tasks, 0.5, BaseSettings()) is None
    constant = [_task(torch.tensor([0, 1] * 10), 2, metric=lambda outputs, targets: torch.tensor(1.0))]
    assert hardly_learns(constant, 1.0, BaseSettings()) is None
