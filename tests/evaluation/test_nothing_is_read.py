"""Steps of lanes read nothing from their device, so that nobody waits for it and a CUDA graph may hold them.

On PyTorch's `meta` device nothing has a value: whatever asks for one, or for a shape that depends on one, fails.
"""

from contextlib import nullcontext

import pytest
import torch

import evomal
from evomal.config import BaseSettings, FilterSettings, LocalSearchSettings
from evomal.evaluation.batched_filters import Improving
from evomal.evaluation.filters import FilterProbe
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning
from evomal.losses.batched_families import stack
from evomal.tasks import Batches
from evomal.tasks.metrics import get_metric
from evomal.tasks.models import LeNet5
from evomal.training import batched_fit
from evomal.training.batched_fit import LanesTraining

META = torch.device("meta")
TREES = ["mul(y, log(f))", "square(sub(y, f))", "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))", "sign(sub(f, y))"]


def _losses(ignore_index=None):
    losses = [evomal.SymbolicLoss(text, task_type="classification", ignore_index=ignore_index) for text in TREES]
    return [loss.to(META) for loss in losses]


@pytest.fixture(autouse=True)
def _without_autocast(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: nullcontext())  # knows no such device


@pytest.fixture
def task():
    x, y = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
    task = evomal.Task(lambda: LeNet5((1, 28, 28), 10), (x, y), name="meta")
    _ = task.key  # needs values
    task.device, task.train, task.valid = META, task.train.to(META), task.valid.to(META)
    task.task_loss = task.task_loss.to(META)
    for split in (task.train, task.valid):
        split.__dict__["counted"] = None  # as was found out on the CPU
    return task


def test_a_value_that_is_asked_for_would_be_seen():
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.ones(2, device=META).isfinite().all())
    with pytest.raises(NotImplementedError):
        torch.ones(2, device=META)[torch.ones(2, device=META) > 0]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}])
@pytest.mark.parametrize("ignore_index", [None, -100])
def test_a_training_step(task, monkeypatch, options, ignore_index):
    monkeypatch.setattr(batched_fit, "require_faithful", lambda *given: None)  # once, before the first step
    losses, batches = stack([loss.requires_grad_(False) for loss in _losses(ignore_index)]), Batches(36, 8, 0)
    training = LanesTraining(task.make_model(0), losses, task.train, batches, 3, BaseSettings(**options), 0)
    for number in range(3):
        training.step(number)


def test_a_meta_step(task):
    tuning = LanesTuning(stack(_losses()[:3]), [], LocalSearchSettings(meta_steps=3))
    trainer = BatchedMetaTrainer(task, LocalSearchSettings(meta_steps=3), BaseSettings(batch_size=4), 0)
    trainer.trusted = True  # a first step on the CPU would have found out
    assert trainer.reside(3)
    for number in range(3):
        found = trainer.meta_step_at(torch.tensor([number], device=META), stack(_losses()[:3]), tuning.at.phi)
        tuning.at.move([found])
    assert found[1].shape == tuning.at.phi.shape


def test_a_step_of_the_filter():
    predictions, targets = torch.zeros(6, 10, device=META), torch.zeros(6, dtype=torch.int64, device=META)
    losses = stack([loss.requires_grad_(False) for loss in _losses()])

    class Probe(FilterProbe):
        def rate(self, settings):
            return 0.01  # their spread is asked for once

    probe = Probe(predictions, predictions, targets, 0.9, 0.0, get_metric("error_rate"), "classification")
    search = Improving(losses, probe, FilterSettings())
    assert search().shape == (len(TREES),)
