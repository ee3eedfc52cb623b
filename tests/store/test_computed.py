import copy
import dataclasses
import math

import pytest
import torch
import yaml
from torch import nn

from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.plan import make_plan
from evomal.foundation.errors import RunFolderError
from evomal.store.task_identity import computed, unlike
from evomal.tasks import Task

DRAW = torch.Generator().manual_seed(0)
PLAN = make_plan(["focal"], "own_loss", [0, 1], "quick", task_loss="own_loss")
X, Y = torch.randn(80, 4, generator=DRAW), torch.arange(80) % 3


def _network(hidden=6, activation=nn.ReLU, dropout=0.1):
    return lambda: nn.Sequential(
        nn.Linear(4, hidden), nn.BatchNorm1d(hidden), activation(), nn.Dropout(dropout), nn.Linear(hidden, 3)
    )


def _task(model=None, smoothing=0.1, weight=2.0, device="cpu"):
    """A task whose parts have the same names, whatever they compute."""

    def own_loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def own_metric(outputs, targets):
        return weight * (outputs.argmax(1) != targets).double().mean()

    options = {"task_type": "classification", "model_name": "network", "device": device}
    return Task(model or _network(), (X, Y), test=(X, Y), task_loss=own_loss, metric=own_metric, name="own", **options)


def _scaled():
    network = _network()()
    with torch.no_grad():
        network[0].weight.mul_(3)
    return network


def _frozen():
    network = _network()()
    network[0].requires_grad_(False)
    return network


class _Detached(nn.Sequential):
    """Computes the same, with half of the gradient."""

    def forward(self, x):
        outputs = super().forward(x)
        return outputs / 2 + outputs.detach() / 2 + 0 * self[0].weight.sum() + (self[4].bias - self[4].bias.detach())


def _detached():
    return _Detached(*_network()())


def _task_of_wide_metric():
    """A metric that is another one only where outputs are greater than those of a fresh network."""
    task = _task()
    inner = task.metric.function
    task.metric = dataclasses.replace(task.metric, function=lambda f, y: inner(f, y) + (f.abs().max() > 5))
    return task


class _Pairs(torch.utils.data.Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], int(Y[row])


def _lazy(x=X):
    return Task(_network(), _Pairs(X), _Pairs(x), test=(X, Y), resident=False, name="own", model_name="network")


def _task_of_lazy_validation():
    return _lazy(X + 1)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda: _task(_network(hidden=7)), "network"),
        (lambda: _task(_scaled), "initial weights"),
        (lambda: _task(_network(activation=nn.Tanh)), "outputs"),
        (lambda: _task(_network(dropout=0.5)), "task loss in train mode on cpu"),
        (lambda: _task(smoothing=0.2), "task loss on some data"),
        (lambda: _task(weight=2.5), "metric on some data"),
        (_task_of_wide_metric, "metric on drawn outputs"),
        (lambda: _task(_frozen), "trained parameters"),
        (lambda: _task(_detached), "outputs after a step on cpu"),
        (_task_of_lazy_validation, "outputs on validation data"),
    ],
)
def test_another_model_loss_or_metric_under_the_same_name_is_refused(tmp_path, other, what):
    same = _lazy if other is _task_of_lazy_validation else _task
    folder = ComparisonFolder(tmp_path / "c")
    folder.begin(PLAN, same())
    folder.end()
    ComparisonFolder(tmp_path / "c").require_same(PLAN, same())
    old, new = (computed(task)[what] for task in (same(), other()))
    with pytest.raises(RunFolderError) as caught:
        ComparisonFolder(tmp_path / "c").require_same(PLAN, other())
    assert str(caught.value) == (
        f"'{tmp_path / 'c'}' holds a comparison with other settings (task: {what} was {old!r}, now {new!r}); give them "
        "again, another `out`, or `force=True` to start anew"
    )


def test_an_older_folder_that_does_not_know_is_not_compared(tmp_path):
    folder = ComparisonFolder(tmp_path)
    folder.begin(PLAN, _task())
    folder.end()
    known = yaml.safe_load((tmp_path / "comparison.yaml").read_text())
    assert known["task"]["computed"] == computed(_task())
    del known["task"]["computed"]
    (tmp_path / "comparison.yaml").write_text(yaml.safe_dump(known, sort_keys=False))
    ComparisonFolder(tmp_path).require_same(PLAN, _task(smoothing=0.2))


def test_looking_changes_nothing():
    task, before = _task(), torch.get_rng_state()
    data = copy.deepcopy((task.train.x, task.train.y))
    assert computed(task) == computed(task)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(task.train.x, data[0])
    assert torch.equal(task.train.y, data[1])


def test_what_is_not_finite_is_none():
    task = _task()
    task.task_loss = lambda outputs, targets: outputs.sum() * math.nan
    assert computed(task)["task loss on some data"] is None


def test_machines_may_differ_in_the_last_bits_and_kinds_of_device_in_dropout():
    before = computed(_task())
    after = {name: value * (1 + 2e-5) if isinstance(value, float) else value for name, value in before.items()}
    after["task loss in train mode on cuda"] = 9.0
    del after["task loss in train mode on cpu"]
    assert unlike(before, after) == []
    assert unlike(before, after | {"outputs": before["outputs"] * 1.01}) == ["outputs"]
    assert unlike(before, after | {"outputs": None}) == ["outputs"]
