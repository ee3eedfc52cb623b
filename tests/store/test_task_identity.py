import json

import pytest
import torch
from torch import nn

from evomal.store.task_identity import changes, computed, differences, identity
from helpers import tasks


def test_a_task_says_what_it_is_in_plain_values():
    task = tasks.blobs()
    told = identity(task)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told == {
        "task": "blobs",
        "dataset": task.dataset,
        "model": task.model_name,
        "metric": task.metric.name,
        "data_fingerprint": task.fingerprint,
        "task_loss": "cross_entropy",
        "computed": computed(task),
    }
    assert changes(told, identity(tasks.blobs())) == []


def test_another_name_is_another_task():
    before, now = identity(tasks.blobs()), identity(tasks.blobs(name="others"))
    assert changes(before, now)[1:] == ["dataset was 'blobs', now 'others'", "task was 'blobs', now 'others'"]


def _deeper():
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"seed": 1}, ["data_fingerprint"]),
        ({"count": 200}, ["data_fingerprint"]),
        ({"task_loss": "focal"}, ["task_loss"]),
        ({"metric": "macro_f1"}, ["metric"]),
    ],
)
def test_what_differs_by_name_or_data_is_told_and_what_follows_from_it_is_not(other, names):
    before, now = identity(tasks.blobs()), identity(tasks.blobs(**other))
    assert before["computed"] != now["computed"]
    assert changes(before, now) == [f"{name} was {before[name]!r}, now {now[name]!r}" for name in names]


def test_another_model_under_the_same_name_is_told_by_what_it_computes_first():
    named = [identity(tasks.blobs(factory=factory, model_name="own")) for factory in (None, _deeper)]
    old, new = (one["computed"]["network"] for one in named)
    assert old != new
    assert changes(*named) == [f"network was {old!r}, now {new!r}"]


def test_machines_may_differ_in_the_last_bits():
    before = identity(tasks.blobs())
    near = {n: v * (1 + 1e-5) if isinstance(v, float) else v for n, v in before["computed"].items()}
    assert changes(before, before | {"computed": near}) == []
    far = near | {"metric on some data": 0.25, "outputs": 9.0}
    assert changes(before, before | {"computed": far}) == [f"outputs was {before['computed']['outputs']}, now 9.0"]


@pytest.mark.parametrize("older", [{}, {"computed": None}, {"computed": {}}, {"computed": "odd"}])
def test_what_an_older_folder_did_not_write_down_is_not_compared(older):
    now = identity(tasks.blobs())
    before = {name: value for name, value in now.items() if name != "computed"} | older
    assert changes(before, now) == []
    assert changes(before | {"task": "b"}, now) == ["task was 'b', now 'blobs'"]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {}, []),
        ({"a": 1}, {"b": 2}, []),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["b was 2, now 3"]),
        ({"b": 1, "a": None}, {"b": 2, "a": "x"}, ["a was None, now 'x'", "b was 1, now 2"]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}, "d": 3}}, ["a: b: c was 1, now 2"]),
        ({"a": {"b": 1}}, {"a": 1}, []),
        ({"a": [1, 2]}, {"a": [1]}, ["a was [1, 2], now [1]"]),
        ({"a": 1}, {"a": 1.0}, []),
    ],
)
def test_what_both_name_and_differs_is_told_in_order(before, now, told):
    assert differences(before, now) == told


def test_looking_draws_no_random_numbers():
    before = torch.get_rng_state()
    identity(tasks.blobs())
    assert torch.equal(torch.get_rng_state(), before)
