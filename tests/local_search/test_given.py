"""What users give to `meta_gradient`: batches of any kind are read, anything else is refused in a sentence."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from evomal import SymbolicLoss, TaylorLoss, meta_gradient
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import EvomalError, ModelError, SettingError
from evomal.local_search import tune
from evomal.tasks import Task

X, Y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
BATCH = (X, Y)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def _loss(**others):
    return SymbolicLoss("abs(log(mul(y, f)))", task_type="classification", **others)


@pytest.mark.parametrize("steps", [1, 2])
def test_batches_of_any_kind_give_the_same(model, steps):
    wanted = meta_gradient(_loss(), model, [BATCH] * steps, BATCH)
    arrays = X.numpy().astype(np.float64), Y.numpy()
    loader = DataLoader(TensorDataset(torch.cat([X] * steps), torch.cat([Y] * steps)), batch_size=8)
    for batches, valid in (
        ((batch for batch in [BATCH] * steps), BATCH),
        ([arrays] * steps, arrays),
        ([(X.tolist(), Y.tolist())] * steps, BATCH),
        (loader, list(BATCH)),
    ):
        torch.testing.assert_close(meta_gradient(_loss(), model, batches, valid), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    "wrapped", [nn.DataParallel, torch.compile, lambda model: nn.DataParallel(torch.compile(model))]
)
def test_a_model_that_is_spread_over_devices_or_compiled_is_the_model_inside(model, steps, wrapped):
    wanted = meta_gradient(_loss(), model, [BATCH] * steps, BATCH)
    got = meta_gradient(_loss(), wrapped(model), [BATCH] * steps, BATCH)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"lr": float("nan")}, "lr is nan; give a finite number, 0 or above"),
        ({"lr": float("inf")}, "lr is inf; give a finite number, 0 or above"),
        ({"lr": None}, "lr is None; give a finite number, 0 or above"),
        ({"lr": "0.1"}, "lr is '0.1'; give a finite number, 0 or above"),
        ({"momentum": float("nan")}, "momentum is nan; give a finite number, 0 or above"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; give a finite number, 0 or above"),
        ({"loss": lambda outputs, targets: outputs.sum()}, "the loss '<lambda>' is no torch.nn.Module"),
        ({"loss": nn.CrossEntropyLoss()}, "the loss has no parameter"),
        ({"task_loss": nn.CrossEntropyLoss}, "task_loss is the class CrossEntropyLoss; give a loss that is built"),
        ({"task_loss": 3}, "task_loss is 3; give the name of a loss, or a function of (outputs, targets)"),
        (
            {"task_loss": nn.CrossEntropyLoss(reduction="none")},
            "the task loss gives shape [8]; let it return one number",
        ),
        ({"task_loss": lambda outputs, targets: None}, "the task loss gives a NoneType; let it return a tensor"),
        ({"valid_batch": None}, "valid_batch is a NoneType; give one pair (inputs, targets)"),
        ({"valid_batch": (X, ["a"] * 8)}, "targets of valid_batch cannot be read as numbers"),
        ({"train_batches": 3}, "train_batches holds no pairs"),
        ({"train_batches": iter(())}, "train_batches holds no pairs"),
        (
            {"valid_batch": (X, np.ma.array(Y.numpy(), mask=[0, 0, 1] + [0] * 5))},
            "targets of valid_batch: entries are masked (first in row 2)",
        ),
    ],
)
def test_odd_arguments(model, steps, change, what):
    given = {"loss": _loss(), "train_batches": [BATCH] * steps, "valid_batch": BATCH} | change
    with pytest.raises(SettingError if "masked" not in what else EvomalError) as caught:
        meta_gradient(given.pop("loss"), model, **given)
    assert what in str(caught.value)


class Unreduced(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return self.weight * nn.functional.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    "loss", [_loss(reduction="none"), TaylorLoss([0.1] * 8, task_type="classification", reduction="none")]
)
def test_a_value_for_each_instance_has_no_gradient(model, steps, loss):
    with pytest.raises(SettingError, match=r"^the loss has reduction 'none', but .* set it to 'mean'$"):
        meta_gradient(loss, model, [BATCH] * steps, BATCH)


@pytest.mark.parametrize("steps", [1, 2])
def test_nor_has_a_module_that_reduces_nothing(model, steps):
    with pytest.raises(SettingError, match=r"^the loss gives shape \[8\]; let it return one number"):
        meta_gradient(Unreduced(), model, [BATCH] * steps, BATCH)


def test_nor_can_it_be_tuned():
    task = Task(lambda: nn.Linear(4, 2), (torch.cat([X] * 5), torch.cat([Y] * 5)))
    with pytest.raises(SettingError, match="reduction 'none'"):
        tune([_loss(reduction="none")], task, LocalSearchSettings(meta_steps=1), BaseSettings(), 0)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x), x


@pytest.mark.parametrize("steps", [1, 2])
def test_a_model_that_gives_no_tensor(steps):
    with pytest.raises(ModelError, match=r"^the model gives a tuple; let it return one tensor of raw outputs$"):
        meta_gradient(_loss(), Pair(), [BATCH] * steps, BATCH)
    with pytest.raises(ModelError, match=r"^the model is a function; give a torch.nn.Module$"):
        meta_gradient(_loss(), lambda x: x, [BATCH] * steps, BATCH)
