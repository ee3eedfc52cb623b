"""A run goes on with the data, model, loss and metric that it was begun with, or not at all."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from evomal.errors import RunFolderError, SettingError

_spec = importlib.util.spec_from_file_location("faults_fast", Path(__file__).with_name("fast.py"))
fast = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fast)


def _changed(kind):
    task = fast.clouds()
    x, y, valid = task.train.x.clone(), task.train.y.clone(), (task.valid.x, task.valid.y)
    same = {"name": "clouds", "model_name": "linear"}
    if kind == "value":
        x[7, 2] += 1e-3
    elif kind == "label":
        y[7] = (y[7] + 1) % 3
    elif kind == "rows":
        x, y = x[:-1], y[:-1]
    factory = (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh())) if kind == "model" else (lambda: nn.Linear(4, 3))
    if kind == "loss":
        return fast.clouds(task_loss="focal")
    if kind == "metric":

        def error_rate(outputs, targets):  # another one under the old name
            return 2 * float((outputs.argmax(1) != targets).float().mean())

        return fast.clouds(metric=error_rate, task_type="classification")
    return type(task)(factory, (x, y), valid, **same)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return fast.whole(tmp_path_factory.mktemp("data") / "a")


@pytest.fixture
def stopped(reference, tmp_path):
    return fast.lay(tmp_path / "a", reference.but(b"".join(reference.lines[:6]), reference.checkpoints[1]))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("value", "data_fingerprint was"),
        ("label", "data_fingerprint was"),
        ("rows", "data_fingerprint was"),
        ("model", "network was"),
        ("loss", "task_loss was 'cross_entropy', now 'focal'"),
        ("metric", "metric on some data was"),
    ],
)
def test_another_task_is_refused_in_one_sentence(stopped, kind, what):
    before = fast.files(stopped)
    with pytest.raises(RunFolderError) as caught:
        fast.learn(stopped, task=_changed(kind), resume=True)
    text = str(caught.value)
    assert text.startswith(f"'{stopped}' was begun on another task (")
    assert what in text
    assert text.endswith("; bring back the data and the model of then, or start another run")
    assert "\n" not in text
    assert fast.files(stopped) == before


def test_the_same_data_made_anew_is_the_same(stopped, reference):
    assert fast.told(fast.learn(stopped, task=_changed("nothing"), resume=True), stopped) == reference.told


def test_another_number_of_tasks(stopped):
    two = [fast.clouds(), fast.clouds(seed=1, name="others")]
    with pytest.raises(RunFolderError, match=r"was begun on another task \(there were 1 tasks, now 2\)"):
        fast.learn(stopped, task=two, resume=True)


def test_other_settings_are_refused_whatever_is_overridden(stopped):
    for override in (False, True):
        with pytest.raises(SettingError, match=r"which may not change \(lr was 0.05, now 0.1\)"):
            fast.learn(stopped, fast.settings(lr=0.1), resume=True, override=override)


def test_data_on_another_place_is_the_same_data(stopped, reference):
    torch.manual_seed(5)  # nor do global generators matter
    assert fast.told(fast.learn(stopped, task=fast.clouds(), resume=True), stopped) == reference.told
