"""Batches: every instance at most once an epoch, and the same batch for the same step, always."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.foundation.errors import SettingError
from evomal.tasks import Batches

lengths, sizes = st.integers(1, 70), st.integers(1, 80)


@settings(deadline=None, derandomize=True)
@given(length=lengths, size=sizes, epoch=st.integers(0, 5))
def test_an_epoch_visits_distinct_instances_in_batches_of_one_size(length, size, epoch):
    batches = Batches(length, size, 0, "task")
    steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    drawn = [batches.index(step) for step in steps]
    assert {len(index) for index in drawn} == {min(size, length)}
    visited = torch.cat(drawn).tolist()
    assert len(set(visited)) == len(visited) > length - min(size, length)
    assert set(visited) <= set(range(length))


@settings(deadline=None, derandomize=True)
@given(length=lengths, size=sizes, steps=st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_a_batch_depends_on_its_step_alone(length, size, steps):
    together = Batches(length, size, 3, "task", "tune")
    for step in steps:
        assert torch.equal(together.index(step), Batches(length, size, 3, "task", "tune").index(step))


def test_epochs_and_keys_differ():
    first = Batches(1000, 1000, 0, "task")
    assert not torch.equal(first.index(0), first.index(1))
    assert not torch.equal(first.index(0), Batches(1000, 1000, 1, "task").index(0))
    assert not torch.equal(first.index(0), Batches(1000, 1000, 0, "other").index(0))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Batches(100, 10, 0).index(55)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_small_split_is_taken_whole():
    assert Batches(3, 128, 0).index(9).sort().values.tolist() == [0, 1, 2]


def test_steps_in_order_draw_one_permutation_an_epoch(monkeypatch):
    draws, randperm = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *a, **k: draws.append(a) or randperm(*a, **k))
    batches = Batches(640, 64, 0)
    for step in range(30):
        batches.index(step)
    assert len(draws) == 3


@pytest.mark.parametrize(("length", "size"), [(0, 4), (4, 0)])
def test_nothing_to_draw_is_refused(length, size):
    with pytest.raises(SettingError, match=f"batches of {size} cannot be drawn from {length} instances; both must"):
        Batches(length, size, 0)
