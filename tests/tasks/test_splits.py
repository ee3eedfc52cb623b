"""Splits against scikit-learn's, and their traps."""

import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from torch.utils.data import Dataset, Subset, TensorDataset

from evomal.foundation.errors import DataError
from evomal.tasks import LazySplit, Split
from evomal.tasks.sampling import SPLIT_SEED, split_off, strata


@settings(deadline=None, derandomize=True, max_examples=60)
@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=80), fraction=st.floats(0.01, 0.99))
def test_two_parts_that_make_the_whole_and_leave_single_members_in_training(labels, fraction):
    y = torch.tensor(labels)
    stay, off = split_off(len(y), fraction, y)
    assert torch.cat([stay, off]).sort().values.tolist() == list(range(len(y)))
    assert len(stay) > 0 < len(off)
    counts, taken = y.bincount(minlength=6), y[off].bincount(minlength=6)
    shared = counts[counts > 1]
    if len(shared) <= min(len(off), int(shared.sum()) - len(off)):  # there is room for every class
        assert (taken[counts == 1] == 0).all()
        assert ((taken - len(off) * counts / shared.sum())[counts > 1].abs() < 1 + 1e-9).all()


def test_the_split_is_scikit_learns():
    y = torch.arange(200) % 7
    _, expected = train_test_split(np.arange(200), test_size=0.2, random_state=SPLIT_SEED, stratify=y)
    assert split_off(200, 0.2, y)[1].tolist() == sorted(expected)


def test_the_split_depends_on_no_global_generator():
    torch.manual_seed(1)
    np.random.seed(1)
    first = split_off(50, 0.2)[1]
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, split_off(50, 0.2)[1])


def test_one_instance_cannot_be_divided():
    with pytest.raises(DataError, match=r"a part cannot be split off 1 instance\(s\); give at least 2"):
        split_off(1, 0.5)


def test_strata_of_every_kind_of_label():
    assert strata(torch.tensor([2, 0])).tolist() == [2, 0]
    assert strata(torch.tensor([[1.0], [0.0]])).tolist() == [1, 0]
    assert strata(torch.tensor([[0.9, 0.1], [0.4, 0.6]])).tolist() == [0, 1]
    assert strata(torch.zeros(4, 5, 5, dtype=torch.int64)) is None
    assert strata(None) is None


def test_a_resident_split():
    split = Split(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    x, y = split.take(torch.tensor([4, 1]))
    assert x.tolist() == [[8, 9], [2, 3]]
    assert y.tolist() == [4, 1]
    assert len(split.subset(torch.tensor([0, 2, 5]))) == 3
    assert split.to("cpu").x.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_resident_split_is_pickled(dtype):
    split = Split(torch.randn(6, 2, dtype=dtype), torch.arange(6))
    again = pickle.loads(pickle.dumps(split))
    assert torch.equal(again.x, split.x)
    assert again.x.dtype == dtype
    assert torch.equal(again.y, split.y)


class Noisy(Dataset):
    """Adds noise from each of the three global generators."""

    def __len__(self):
        return 30

    def __getitem__(self, i):
        return torch.full((2,), float(i)) + torch.rand(()) + np.random.rand() + random.random(), i % 3


def test_a_lazy_batch_is_the_same_whoever_fetches_it_and_leaves_generators_alone():
    split = LazySplit(Noisy(), torch.arange(30))
    index = torch.tensor([3, 8])
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    x, y = split.take(index)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    assert torch.equal(pickle.loads(pickle.dumps(split)).take(index)[0], x)
    assert y.tolist() == [0, 2]
    assert x.dtype == torch.float32


def test_a_lazy_instance_looks_different_in_another_batch():
    split = LazySplit(Noisy(), torch.arange(30))
    assert not torch.equal(split.take(torch.tensor([3, 8]))[0][0], split.take(torch.tensor([3, 9]))[0][0])


def test_a_lazy_split_fetches_many_at_once_where_it_can():
    calls = []

    class Counting(TensorDataset):
        def __getitems__(self, rows):
            calls.append(rows)
            return [self[row] for row in rows]

    split = LazySplit(Counting(torch.arange(10.0).reshape(10, 1), torch.arange(10)), torch.tensor([9, 7, 5, 3]))
    assert split.take(torch.tensor([0, 2]))[1].tolist() == [9, 5]
    assert calls == [[9, 5]]
    assert split.subset(torch.tensor([1, 2])).take(torch.tensor([0]))[1].tolist() == [7]


def test_a_lazy_split_of_a_subset():
    whole = TensorDataset(torch.arange(10.0).reshape(10, 1), torch.arange(10))
    split = LazySplit(Subset(whole, [2, 4, 6]), torch.arange(3))
    assert split.take(torch.tensor([2, 0]))[1].tolist() == [6, 2]


def test_a_lazy_split_names_the_item_that_is_not_finite():
    x = torch.zeros(10, 2)
    x[6, 1] = torch.nan
    split = LazySplit(TensorDataset(x, torch.zeros(10)), torch.tensor([8, 6, 4]), where="the training split")
    with pytest.raises(DataError, match=r"x of the training split holds nan \(first in row 6\); remove or fill in"):
        split.take(torch.arange(3))
