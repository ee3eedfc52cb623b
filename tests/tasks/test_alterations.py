"""Data sets made harder, against SciPy, NumPy and published counts; the test split stays as it is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evomal.foundation.errors import SettingError
from evomal.tasks import DATASETS, Alterations, altered, load_dataset
from evomal.tasks.datasets.alterations import long_tail, mislabelled, student_t
from evomal.tasks.datasets.data import Data, Raw, prepare

DIGITS, DIABETES = load_dataset("digits"), load_dataset("diabetes")
SMALL = sorted(name for name, source in DATASETS.items() if source.published is None)
CHANGES = [
    (DIGITS, {"train_size": 200}),
    (DIGITS, {"imbalance": 20}),
    (DIGITS, {"label_noise": 0.4}),
    (DIGITS, {"train_size": 500, "imbalance": 5, "label_noise": 0.25}),
    (DIABETES, {"train_size": 50}),
    (DIABETES, {"target_noise": 0.5}),
    (DIABETES, {"train_size": 50, "target_noise": 0.5}),
]


def changed(data, **changes):
    return altered(data, Alterations(**changes))


def rows(pair):
    """Each instance's bytes, to see which are there."""
    return [bytes(row.contiguous().numpy().data) for row in pair[0].flatten(1)]


def held(labels):
    """A data set with these training labels, whose inputs are the row numbers."""
    x, y = torch.arange(float(len(labels)))[:, None], torch.tensor(labels)
    return Data("held", "classification", (x, y), (x, y), (x, y), 6, None)


@pytest.mark.parametrize(("data", "changes"), CHANGES)
def test_test_data_inputs_and_units_stay_as_they_are(data, changes):
    after = changed(data, **changes)
    assert after.test[0] is data.test[0]
    assert after.test[1] is data.test[1]
    assert (after.classes, after.target_scale, after.task_type) == (data.classes, data.target_scale, data.task_type)
    for now, before in ((after.train, data.train), (after.valid, data.valid)):
        assert set(rows(now)) <= set(rows(before))
        assert len(now[0]) == len(now[1])
        assert (now[0].dtype, now[1].dtype) == (before[0].dtype, before[1].dtype)


@pytest.mark.parametrize(("data", "changes"), CHANGES)
def test_the_changes_are_always_the_same_and_leave_data_and_global_generators_alone(data, changes):
    clean = [tensor.clone() for tensor in (*data.train, *data.valid)]
    first = changed(data, **changes)
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state()
    again = changed(data, **changes)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip((*first.train, *first.valid), (*again.train, *again.valid), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(a, b) for a, b in zip(clean, (*data.train, *data.valid), strict=True))


def test_draws_depend_on_the_data_set_the_value_and_the_part():
    noisy = changed(DIGITS, label_noise=0.4)
    other = changed(replace(DIGITS, name="other"), label_noise=0.4)
    assert not torch.equal(noisy.train[1], other.train[1])
    twins = changed(replace(DIGITS, valid=DIGITS.train), label_noise=0.4)
    assert not torch.equal(twins.train[1], twins.valid[1])
    wrong = [changed(DIGITS, label_noise=p).train[1] != DIGITS.train[1] for p in (0.2, 0.4)]
    assert not bool((wrong[0] <= wrong[1]).all())


def test_label_noise_makes_exactly_the_asked_share_wrong():
    for share in (0.01, 0.2, 0.4, 0.9):
        after = changed(DIGITS, label_noise=share)
        for now, before in ((after.train, DIGITS.train), (after.valid, DIGITS.valid)):
            assert int((now[1] != before[1]).sum()) == round(share * len(before[1]))
            assert torch.equal(now[0], before[0])
            assert 0 <= int(now[1].min()) <= int(now[1].max()) < 10


def test_two_classes_with_all_but_one_label_wrong():
    y = load_dataset("breast-cancer").train[1]
    after = changed(load_dataset("breast-cancer"), label_noise=0.9).train[1]
    assert torch.equal(after[after != y], 1 - y[after != y])


def test_wrong_labels_are_uniform_over_the_other_classes_and_over_places():
    labels = torch.arange(50_000) % 5
    after = mislabelled(labels, 0.4, 5, torch.Generator().manual_seed(1))
    transitions = torch.zeros(5, 5).index_put((labels, after), torch.ones(()), accumulate=True)
    off = transitions[~torch.eye(5, dtype=torch.bool)].numpy()
    assert off.sum() == 20_000
    assert stats.chisquare(off).pvalue > 0.01
    places = (after != labels).nonzero().flatten().double().numpy() / len(labels)
    assert stats.kstest(places, "uniform").pvalue > 0.01


def test_the_long_tail_has_the_published_counts_of_cifar():
    # Long-tailed CIFAR-10 and CIFAR-100 at ratio 100 hold 12,406 and 10,847 training images.
    assert int(long_tail(torch.full((10,), 5000), 100).sum()) == 12_406
    assert int(long_tail(torch.full((100,), 500), 100).sum()) == 10_847


@pytest.mark.parametrize("ratio", [1.5, 10, 50, 100])
def test_the_exponential_profile_is_numpys(ratio):
    counts = DIGITS.train[1].bincount()
    profile = np.geomspace(int(counts.max()), int(counts.max()) / ratio, 10)
    kept = changed(DIGITS, imbalance=ratio).train[1].bincount(minlength=10).numpy()
    assert (kept == np.minimum(np.floor(profile + 1e-9), counts.numpy())).all()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(counts=st.lists(st.integers(0, 300), min_size=2, max_size=12).filter(any), ratio=st.floats(1, 1e6))
def test_a_long_tail_never_empties_a_class_and_invents_nothing(counts, ratio):
    counts = torch.tensor(counts)
    kept = long_tail(counts, ratio)
    assert (kept <= counts).all()
    assert ((kept > 0) == (counts > 0)).all()
    assert bool((kept.diff()[counts[1:] == counts[:-1]] <= 0).all())


@settings(deadline=None, derandomize=True, max_examples=60)
@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=60), data=st.data())
def test_sizes_of_every_change(labels, data):
    size = data.draw(st.integers(1, len(labels)))
    ratio, share = data.draw(st.floats(1, 1000)), data.draw(st.floats(0, 1, exclude_max=True))
    clean = held(labels)
    fewer = changed(clean, train_size=size)
    assert len(fewer.train[0]) == size
    assert torch.equal(fewer.valid[1], clean.valid[1])
    assert torch.equal(fewer.train[1], clean.train[1][fewer.train[0][:, 0].long()])
    rare = changed(clean, imbalance=ratio)
    assert (rare.train[1].unique() == clean.train[1].unique()).all()
    assert torch.equal(rare.train[1], clean.train[1][rare.train[0][:, 0].long()])
    assert (rare.train[0][:, 0].diff() > 0).all()
    noisy = changed(clean, label_noise=share)
    assert int((noisy.train[1] != clean.train[1]).sum()) == round(share * len(labels))
    together = changed(clean, train_size=size, imbalance=ratio, label_noise=share)
    assert 1 <= len(together.train[0]) <= size


def test_a_smaller_training_split_keeps_the_shares_of_classes_and_the_whole_validation_split():
    whole = DIGITS.train[1].bincount().double() / len(DIGITS.train[1])
    for size in (20, 100, 1000, 1292, 1293):
        data = changed(DIGITS, train_size=size)
        assert (data.train[1].bincount(minlength=10) - size * whole).abs().max() < 1
        assert torch.equal(data.valid[1], DIGITS.valid[1])
    assert len(changed(DIABETES, train_size=7).train[0]) == 7


def test_classes_with_a_single_member_stay_in_a_smaller_training_split():
    assert changed(held([0] * 20 + [1] * 20 + [2]), train_size=10).train[1].bincount().tolist() == [5, 4, 1]


def test_noise_comes_last_so_that_its_share_is_that_of_what_is_left():
    rare = changed(DIGITS, train_size=500, imbalance=5)
    noisy = changed(DIGITS, label_noise=0.25, imbalance=5, train_size=500)
    assert torch.equal(noisy.train[0], rare.train[0])
    assert int((noisy.train[1] != rare.train[1]).sum()) == round(0.25 * len(rare.train[1]))


def test_student_t_is_scipys():
    draws = student_t(100_000, torch.Generator().manual_seed(0)).numpy()
    assert stats.kstest(draws, stats.t(df=2).cdf).pvalue > 0.01
    assert stats.kstest(draws, stats.t(df=3).cdf).pvalue < 1e-6
    assert abs(draws).max() > 100


@pytest.mark.parametrize("u", [0.0, 2.0**-53, 0.25, 0.5, 1 - 2.0**-53])
def test_student_t_is_the_quantile_function_and_finite_at_the_ends(u, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: torch.tensor([u], dtype=torch.float64))
    value = student_t(1, torch.Generator()).item()
    assert math.isfinite(value)
    assert value == pytest.approx(stats.t(df=2).ppf(max(u, 2.0**-53)), rel=1e-9, abs=1e-12)


def test_target_noise_is_added_to_the_standardised_targets_of_training_and_validation():
    half, whole = changed(DIABETES, target_noise=0.5), changed(DIABETES, target_noise=2)
    for after, scale in ((half, 0.5), (whole, 2)):
        for now, before in ((after.train, DIABETES.train), (after.valid, DIABETES.valid)):
            noise = (now[1].double() - before[1].double()) / scale
            assert stats.kstest(noise.numpy(), stats.t(df=2).cdf).pvalue > 0.01
            assert torch.equal(now[0], before[0])


def test_names_tell_what_was_done_in_the_order_in_which_it_is_done():
    assert changed(DIGITS, label_noise=0.4).name == "digits (label noise 0.4)"
    whole = changed(DIGITS, label_noise=0.1, imbalance=100, train_size=1000)
    assert whole.name == "digits (train size 1000, imbalance 100, label noise 0.1)"
    assert changed(DIABETES, target_noise=0.5).name == "diabetes (target noise 0.5)"
    assert changed(DIGITS, imbalance=1e6).name == "digits (imbalance 1000000)"
    once, twice = changed(DIGITS, imbalance=10), changed(DIGITS, imbalance=10.0)
    assert once.name == twice.name
    assert torch.equal(once.train[0], twice.train[0])


@pytest.mark.parametrize("name", SMALL)
def test_without_changes_the_data_set_is_the_same_object(name):
    data = load_dataset(name)
    assert changed(data) is data
    assert changed(data, imbalance=1, label_noise=0, target_noise=0) is data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_noise": 1.0}, "label_noise is 1.0; choose a share from 0 to below 1, such as 0.4"),
        ({"label_noise": -0.1}, "label_noise is -0.1; choose a share from 0 to below 1, such as 0.4"),
        ({"label_noise": math.nan}, "label_noise is nan; choose a share from 0 to below 1, such as 0.4"),
        ({"label_noise": "much"}, "label_noise is much; choose a share from 0 to below 1, such as 0.4"),
        ({"imbalance": 0.5}, "imbalance is 0.5; choose a ratio from 1 to below 1e9, such as 100"),
        ({"imbalance": math.inf}, "imbalance is inf; choose a ratio from 1 to below 1e9, such as 100"),
        ({"imbalance": math.nan}, "imbalance is nan; choose a ratio from 1 to below 1e9, such as 100"),
        ({"train_size": 0}, "train_size is 0; choose a whole number of instances, at least 1"),
        ({"train_size": 0.5}, "train_size is 0.5; choose a whole number of instances, at least 1"),
        ({"train_size": 1.5}, "train_size is 1.5; choose a whole number of instances, at least 1"),
        ({"train_size": True}, "train_size is True; choose a whole number of instances, at least 1"),
        ({"imbalance": 10**400}, f"imbalance is {10**400}; choose a ratio from 1 to below 1e9, such as 100"),
        ({"target_noise": 1e308}, "target_noise is 1e+308; choose a scale from 0 to below 1e9, such as 0.5"),
        ({"target_noise": -1}, "target_noise is -1; choose a scale from 0 to below 1e9, such as 0.5"),
        ({"target_noise": math.inf}, "target_noise is inf; choose a scale from 0 to below 1e9, such as 0.5"),
        ({"target_noise": math.nan}, "target_noise is nan; choose a scale from 0 to below 1e9, such as 0.5"),
    ],
)
def test_values_out_of_range(changes, message):
    with pytest.raises(SettingError) as error:
        Alterations(**changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (
            DIGITS,
            {"train_size": 1294},
            "train_size is 1294, but data set 'digits' has 1293 training instances; choose at most 1293",
        ),
        (
            DIGITS,
            {"target_noise": 0.5},
            "target_noise is for regression, but data set 'digits' is for classification; leave it out",
        ),
        (
            DIABETES,
            {"label_noise": 0.5},
            "label_noise is for classification, but data set 'diabetes' is for regression; leave it out",
        ),
        (
            DIABETES,
            {"imbalance": 2},
            "imbalance is for classification, but data set 'diabetes' is for regression; leave it out",
        ),
    ],
)
def test_changes_that_do_not_fit_the_data_set(data, changes, message):
    with pytest.raises(SettingError) as error:
        changed(data, **changes)
    assert str(error.value) == message


def test_images_of_any_size_are_altered():
    y = torch.arange(300) % 3
    data = prepare("squares", Raw(torch.rand(300, 1, 4, 4, generator=torch.Generator().manual_seed(0)), y), 3)
    after = changed(data, imbalance=4, label_noise=0.1)
    assert after.train[0].shape == (72 + 36 + 18, 1, 4, 4)
