"""Data sets: normalisation against scikit-learn, and held-out parts that are truly held out."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler

from evomal.foundation.errors import UnknownNameError
from evomal.tasks import DATASETS, load_dataset
from evomal.tasks.datasets.data import Raw, moments, prepare
from evomal.tasks.sampling import split_off

SMALL = sorted(name for name, source in DATASETS.items() if source.published is None)


def parts(data):
    return {"train": data.train, "valid": data.valid, "test": data.test}


@pytest.mark.parametrize("name", SMALL)
def test_sizes_types_and_training_statistics(name):
    data = load_dataset(name)
    whole = sum(len(x) for x, _ in parts(data).values())
    assert len(data.test[0]) == -(-whole // 5)
    assert len(data.valid[0]) == -(-(whole - len(data.test[0])) // 10)
    assert all(x.dtype == torch.float32 for x, _ in parts(data).values())
    over = (0,) if data.train[0].dim() == 2 else (0, 1, 2, 3)
    assert data.train[0].double().mean(over).abs().max().item() < 1e-6
    assert (data.train[0].double().std(over, correction=0) - 1).abs().max().item() < 1e-5
    # Other parts are scaled by numbers that are not their own.
    assert data.test[0].double().mean(over).abs().max().item() > 1e-4


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_no_instance_is_in_two_parts(name):
    rows = [
        {bytes(row.contiguous().numpy().data) for row in torch.cat([x.flatten(1), y[:, None].float()], 1)}
        for x, y in parts(load_dataset(name)).values()
    ]
    raw = load_digits() if name == "digits" else load_diabetes()
    assert sum(map(len, rows)) == len(raw.target) == len(set.union(*rows))


@pytest.mark.parametrize("classes", [None, 4])
def test_parts_share_no_index_whatever_the_values(classes):
    y = torch.arange(200) % 4
    raw = Raw(torch.arange(200.0).reshape(200, 1), y if classes else y.double())
    data = prepare("indices", raw, classes)
    seen = torch.cat([x.flatten() for x, _ in parts(data).values()])
    assert len(seen.unique()) == 200
    assert [len(x) for x, _ in parts(data).values()] == [144, 16, 40]


def test_classes_keep_their_shares():
    for name in ("digits", "breast-cancer", "wine", "iris"):
        data = load_dataset(name)
        whole = torch.cat([y for _, y in parts(data).values()]).bincount().double()
        for _, y in parts(data).values():
            assert (y.bincount(minlength=len(whole)) - whole / whole.sum() * len(y)).abs().max() < 2


def test_features_are_scaled_as_by_scikit_learn_on_training_rows_alone():
    x, y = load_diabetes(return_X_y=True, scaled=False)
    rest, test = split_off(len(x), 0.2)
    stay, valid = split_off(len(rest), 0.1)
    train, valid = rest[stay].numpy(), rest[valid].numpy()
    scaler, target_scaler = StandardScaler().fit(x[train]), StandardScaler().fit(y[train, None])
    data = load_dataset("diabetes")
    for (part_x, part_y), rows in zip(parts(data).values(), (train, valid, test.numpy()), strict=True):
        torch.testing.assert_close(part_x, torch.from_numpy(scaler.transform(x[rows])).float())
        torch.testing.assert_close(part_y, torch.from_numpy(target_scaler.transform(y[rows, None])[:, 0]).float())
    assert data.target_scale == pytest.approx((target_scaler.mean_[0], target_scaler.scale_[0]))


def test_loading_twice_under_other_global_seeds_gives_the_same():
    torch.manual_seed(0)
    first = load_dataset("wine")
    torch.manual_seed(1)
    second = load_dataset("wine")
    assert all(torch.equal(a, b) for a, b in zip(first.train + first.test, second.train + second.test, strict=True))


def test_pixels_have_the_moments_of_their_floats():
    pixels = torch.randint(0, 256, (50, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, deviation = moments(pixels, per_feature=False)
    assert mean.item() == pytest.approx(pixels.double().mean().item(), rel=1e-12)
    assert deviation.item() == pytest.approx(pixels.double().std(correction=0).item(), rel=1e-10)


def test_a_constant_feature_stays_finite():
    data = prepare("constant", Raw(torch.ones(50, 2, dtype=torch.float64), torch.arange(50) % 2), 2)
    assert (data.train[0] == 0).all()
    images = prepare("black", Raw(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), torch.arange(50) % 2), 2)
    assert (images.train[0] == 0).all()


@pytest.mark.parametrize("count", [7, 200, 10_000])
def test_what_is_constant_but_for_rounding_is_told_as_scikit_learn_does(count):
    rng = np.random.default_rng(0)
    near = 5 + 1e-15 * rng.normal(size=count)
    columns = [np.full(count, value) for value in (0.1, -0.7, 1e6 / 3, 1e-300, 0.0, np.float32(0.1))]
    values = np.c_[*columns, near, 1e-9 * rng.normal(size=count), 3 + 1e-6 * rng.normal(size=count)]
    mean, deviation = moments(torch.from_numpy(values), per_feature=True)
    oracle = StandardScaler().fit(values)
    np.testing.assert_allclose(deviation.numpy(), oracle.scale_, rtol=1e-6)
    np.testing.assert_allclose(mean.numpy(), oracle.mean_, rtol=1e-12, atol=1e-20)
    assert moments(torch.full((count,), 0.1, dtype=torch.float64), per_feature=False)[1] == 1


def test_what_is_black_in_training_is_only_moved():
    black = torch.full((count := 50, 1, 2, 2), 3, dtype=torch.uint8)
    assert moments(black, per_feature=False) == (3.0, 1.0)
    y = torch.arange(count) % 2
    data = prepare("black", Raw(black, y, test=(black + 1, y)), 2)
    assert (data.test[0] == 1).all()


def test_shapes_and_kinds():
    digits, diabetes, cancer = (load_dataset(name) for name in ("digits", "diabetes", "breast-cancer"))
    assert (digits.input_shape, digits.outputs, digits.task_type) == ((1, 8, 8), 10, "classification")
    assert (diabetes.input_shape, diabetes.outputs, diabetes.task_type) == ((10,), 1, "regression")
    assert (cancer.input_shape, cancer.outputs, cancer.classes) == ((30,), 2, 2)


def test_an_unknown_name():
    with pytest.raises(UnknownNameError, match="unknown data set 'digit'; did you mean 'digits'"):
        load_dataset("digit")
