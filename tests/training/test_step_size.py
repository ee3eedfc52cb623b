import torch
from torch import nn

import evomal
from evomal.training.step_size import gradient_norm_ratio


def _task():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 5, generator=draw), torch.randint(0, 3, (60,), generator=draw)
    return evomal.Task(lambda: nn.Sequential(nn.Linear(5, 20), nn.Dropout(0.5), nn.Linear(20, 3)), (x, y))


def test_the_task_loss_is_as_long_as_itself_also_under_dropout():
    task = _task()
    assert gradient_norm_ratio(task.task_loss, task, 16, seed=0) == 1.0


def test_a_scaled_loss_is_as_much_longer():
    task = _task()
    assert abs(gradient_norm_ratio(lambda o, t: 7 * task.task_loss(o, t), task, 16, seed=0) - 7) < 1e-5


def test_the_global_generators_are_left_alone():
    before = torch.get_rng_state()
    gradient_norm_ratio(_task().task_loss, _task(), 16, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_ratio_that_is_not_finite_is_none():
    task = _task()
    assert gradient_norm_ratio(lambda o, t: (o * torch.inf).sum(), task, 16, seed=0) is None
