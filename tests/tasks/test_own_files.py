"""A user's own .npz and .csv files: what becomes of them, and one line for what cannot."""

from zipfile import ZipFile

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

import evomal
from evomal.foundation.errors import DataError, EvomalError, SettingError, UnknownNameError
from evomal.tasks import file_task, load_file, probe

COUNT = 60
X, Y = np.zeros((20, 2)), np.arange(20) % 2
NUMBERS = "; give numbers (a column for each category), or leave the column out"
LABELS = {
    "from 0": np.arange(COUNT) % 3,
    "from 5": np.arange(COUNT) % 3 + 5,
    "text": np.array([*"bca"])[np.arange(COUNT) % 3],
}


def _numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(2, 3, shape)


def _save(path, **arrays):
    np.savez(path, **arrays)
    return path


def _csv(path, rows, header="age,income,left", encoding="utf-8"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def _rows(count=COUNT, target=lambda i: "yes" if i % 3 else "no", separator=","):
    return [separator.join((str(20 + i), f"{i / 7:.4f}", target(i))) for i in range(count)]


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_arrays_with_classes_are_numbered_in_sorted_order(tmp_path, labels):
    data = load_file(_save(tmp_path / "mine.npz", x=_numbers(COUNT, 4), y=labels))
    assert (data.name, data.task_type, data.classes, data.input_shape) == ("mine", "classification", 3, (4,))
    assert sum(len(x) for x, _ in (data.train, data.valid, data.test)) == COUNT
    assert data.test[1].bincount().tolist() == [4, 4, 4]  # stratified, though the file may be sorted
    assert data.train[0].mean(0).abs().max() < 1e-5


def test_decimals_are_a_regression_in_units_of_their_own(tmp_path):
    y = _numbers(COUNT)
    data = load_file(_save(tmp_path / "mine.npz", x=_numbers(COUNT, 4).astype(np.float32), y=y.reshape(-1, 1)))
    assert (data.task_type, data.classes) == ("regression", None)
    assert data.target_scale[0] == pytest.approx(y.mean(), abs=1)
    assert data.train[1].std(correction=0).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.float64])
def test_columns_of_a_table_are_scaled_one_by_one_whatever_they_are_written_in(tmp_path, dtype):
    x = np.stack([np.arange(COUNT) + 20, np.arange(COUNT) % 2, np.arange(COUNT) * 4], 1).astype(dtype)
    data = load_file(_save(tmp_path / "mine.npz", x=x, y=np.arange(COUNT) % 3))
    assert data.train[0].mean(0).abs().max() < 1e-5
    assert data.train[0].std(0, correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.parametrize(("shape", "expected"), [
    ((28, 28), (1, 28, 28)), ((8, 9, 3), (3, 8, 9)), ((3, 8, 9), (3, 8, 9)), ((1, 8, 8), (1, 8, 8)),
])  # fmt: skip
def test_images_of_bytes_get_their_channels_first(tmp_path, shape, expected):
    x = np.random.default_rng(0).integers(0, 256, (COUNT, *shape), dtype=np.uint8)
    path = _save(tmp_path / "mine.npz", x=x, y=np.arange(COUNT) % 2)
    task = file_task(path, "mlp", augmentation="crop" if len(expected) == 3 else None)
    assert task.train.take(torch.arange(2))[0].shape == (2, *expected)
    assert task.train.take(torch.arange(2))[0].dtype == torch.float32
    probe(task)


def test_a_test_set_of_its_own_stays(tmp_path):
    x, y = _numbers(COUNT, 2), np.array(["no", "yes"])[np.arange(COUNT) % 2]
    data = load_file(_save(tmp_path / "mine.npz", x=x, y=y, x_test=x[:7], y_test=y[:7]))
    assert [len(part) for _, part in (data.train, data.valid, data.test)] == [54, 6, 7]
    assert data.test[1].tolist() == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table(tmp_path, separator, encoding):
    path = _csv(tmp_path / "churn.csv", _rows(separator=separator), separator.join(("age", "income", "left")), encoding)
    data = load_file(path, target="left")
    assert (data.name, data.classes, data.input_shape) == ("churn", 2, (2,))
    assert data.test[1].bincount().tolist() == [4, 8]
    numeric = _csv(path, _rows(target=str, separator=separator), separator.join(("age", "income", "left")), encoding)
    assert load_file(numeric, target="income").task_type == "regression"


def test_a_table_and_the_same_arrays_are_the_same_data(tmp_path):
    table = _csv(tmp_path / "mine.csv", _rows())
    x = np.array([[20 + i, float(f"{i / 7:.4f}")] for i in range(COUNT)])
    arrays = _save(tmp_path / "mine.npz", x=x, y=np.array(["yes" if i % 3 else "no" for i in range(COUNT)]))
    one, other = file_task(table, "linear", target="left"), file_task(arrays, "linear")
    assert one.fingerprint == other.fingerprint


def test_whole_numbers_are_a_regression_where_the_loss_or_the_metric_says_so(tmp_path):
    path = _csv(tmp_path / "mine.csv", _rows(target=lambda i: str(1000 + 13 * i)))
    for options in ({"task_loss": "mse"}, {"metric": "mse", "task_loss": "huber"}, {"metric": "mae"}):
        assert file_task(path, "linear", target="left", **options).task_type == "regression"
    with pytest.raises(DataError) as caught:
        file_task(path, "linear", target="left")
    assert str(caught.value) == (
        f"{path} has 60 different targets among 60 instances, too many for classes; for a regression set the task loss "
        "to 'mse'"
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [({"task_loss": "focal"}, "task_loss 'focal'"), ({"metric": "error_rate"}, "metric 'error_rate'")],
)
def test_decimals_are_no_classes_to_a_loss_or_a_metric_for_them(tmp_path, options, named):
    path = _save(tmp_path / "mine.npz", x=_numbers(COUNT, 2), y=np.arange(COUNT) % 2.0)
    with pytest.raises(DataError) as caught:
        file_task(path, "linear", **options)
    assert str(caught.value) == (
        f"{path} has decimals as targets, which are those of a regression, but {named} is for classification; write "
        "classes as whole numbers or as text"
    )


def test_the_name_tells_what_is_unusual(tmp_path):
    path = _csv(tmp_path / "mine.csv", _rows())
    task = file_task(path, "mlp", target="left", width=0.5, label_noise=0.2)
    assert task.name == "mine/mlp (label noise 0.2, width 0.5)"
    assert task.make_model(0).layers[0].out_features == 64


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,2,yes", "1,old,no"], ", line 3: column 'income' holds 'old', which is no finite number" + NUMBERS),
        (["1,,yes"], ", line 2: column 'income' holds nothing" + NUMBERS),
        (["1,2_0,yes"], ", line 2: column 'income' holds '2_0', which is no finite number" + NUMBERS),
        (["1,nan,yes"], ", line 2: column 'income' holds 'nan', which is no finite number" + NUMBERS),
        (["1,2,yes", "", "1,2"], ", line 4 has 2 columns, but the first line names 3; mend it"),
        (["1,2, "], ", line 2: column 'left' is empty; remove such rows"),
        ([], " has no rows below its line of names; give at least 10 instances"),
        (["1,2,yes"] * 20, " has 1 class among its targets; give at least 2, or decimals for a regression"),
        (["1,2,yes", "2,1,no"] * 2, " has 4 instances; give at least 10, so that parts can be held out"),
    ],
)  # fmt: skip
def test_odd_tables_are_one_line(tmp_path, rows, message):
    path = _csv(tmp_path / "mine.csv", rows)
    with pytest.raises(DataError) as caught:
        load_file(path, target="left")
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize("whole", [False, True], ids=["decimals", "whole numbers"])
def test_a_regression_of_several_outputs(tmp_path, whole):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 3))
    y = np.stack([x[:, 0] * 1000 + 5e6, x[:, 1] + x[:, 2]], axis=1)
    y = np.round(y).astype(int) if whole else y
    data = load_file(_save(tmp_path / "mine.npz", x=x, y=y), regression=whole)
    assert (data.task_type, data.classes, data.outputs) == ("regression", None, 2)
    parts = [torch.cat([data.train[1], data.valid[1], data.test[1]]), torch.cat([data.train[0], data.valid[0]])]
    assert [list(part.shape) for part in parts] == [[60, 2], [48, 3]]
    torch.testing.assert_close(data.train[1].mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(data.train[1].std(0, correction=0), torch.ones(2))
    centre, spread = data.target_scale
    split = [(part * spread + centre).round(decimals=0 if whole else 2) for part in (data.train[1], data.test[1])]
    rows = {tuple(row) for row in np.round(y, 0 if whole else 2).tolist()}
    assert {tuple(row) for part in split for row in part.tolist()} <= rows
    trained = StandardScaler().fit((data.train[1] * spread + centre).numpy())
    torch.testing.assert_close(centre, torch.from_numpy(trained.mean_))
    torch.testing.assert_close(spread, torch.from_numpy(trained.scale_))


def test_losses_are_trained_with_and_searched_on_several_outputs(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    file = _save(tmp_path / "mine.npz", x=x, y=x[:, :2] * [1.0, 100.0])
    task = file_task(file, "linear", metric="mse")
    assert task.make_model(0)(task.test.x).shape == task.test.y.shape == (12, 2)
    (trained,) = evomal.train(task, "mse", steps=300, lrs=(0.1,))
    assert trained.test.mean < 1e-3  # y is a linear function of x
    short = {"generations": 1, "population_size": 4, "meta_steps": 2, "partial_steps": 20, "rejection": False}
    result = evomal.EvoMAL(preset="quick", **short).learn(task)
    assert result.outcomes["trained"] > 0


def _same_data(one, other):
    assert (one.task_type, one.classes, one.outputs) == (other.task_type, other.classes, other.outputs)
    assert all(torch.equal(a, b) for part in ("train", "valid", "test") for a, b in _pairs(one, other, part))


def _pairs(one, other, part):
    return zip(getattr(one, part)[:2], getattr(other, part)[:2], strict=True)


@pytest.mark.parametrize("kind", ["decimals", "whole numbers", "labels"])
def test_several_columns_of_a_table_are_the_columns_of_y(tmp_path, kind):
    draw = np.random.default_rng(0)
    x, y = np.round(draw.normal(size=(COUNT, 2)), 3), np.round(1e3 * draw.normal(size=(COUNT, 2)), 2)
    y = y if kind == "decimals" else y.astype(int) if kind == "whole numbers" else (y > 0).astype(int)
    lines = [f"{a},{p},{b},{q}" for (a, b), (p, q) in zip(x.tolist(), y.tolist(), strict=True)]
    table = _csv(tmp_path / "mine.csv", lines, "age,high,debt,wide")
    more = {"regression": kind == "whole numbers", "several": kind == "labels"}
    data = load_file(table, ["wide", "high"], **more)
    _same_data(data, load_file(_save(tmp_path / "mine.npz", x=x, y=y[:, ::-1]), **more))
    assert data.outputs == 2
    assert data.task_type == ("multilabel" if kind == "labels" else "regression")


def test_what_several_columns_cannot_be(tmp_path):
    path = _csv(tmp_path / "mine.csv", _rows())
    for target, message in (
        (["age", "lef"], "unknown target column 'lef'; did you mean 'left'? (known: age, income, left)"),
        (["age", "age"], "the target column 'age' is named twice; name each once"),
        (["age", "income", "left"],
         f"{path} has no column beside its targets 'age', 'income', 'left'; give at least one feature"),
        (["income", "left"], f"{path}: column 'left' holds text, such as 'no', and several targets must be "
         "numbers; name it alone, or give numbers"),
    ):  # fmt: skip
        with pytest.raises(EvomalError) as caught:
            load_file(path, target)
        assert str(caught.value) == message
    whole = _csv(tmp_path / "whole.csv", [f"{i},{i},{i / 7}" for i in range(COUNT)], "a,b,c")
    with pytest.raises(DataError, match=r"for a regression with several outputs decimals, or the task loss 'mse'$"):
        load_file(whole, ("a", "b"))
    assert file_task(whole, "linear", target=("a", "b"), task_loss="mse").test.y.shape[1] == 2


def test_columns(tmp_path):
    path = _csv(tmp_path / "mine.csv", _rows())
    with pytest.raises(UnknownNameError, match="unknown target column 'lef'; did you mean 'left'"):
        load_file(path, target="lef")
    twice = _csv(tmp_path / "twice.csv", _rows(), "age,left,left")
    with pytest.raises(DataError, match=r"twice\.csv has 2 columns named 'left'; give each a name of its own"):
        load_file(twice, target="left")
    alone = _csv(tmp_path / "alone.csv", ["1", "0"] * 20, "left")
    with pytest.raises(DataError, match="has no column beside its target 'left'; give at least one feature"):
        load_file(alone, target="left")


def test_options_that_do_not_go_with_the_file(tmp_path):
    table, odd = _csv(tmp_path / "a.csv", _rows()), tmp_path / "a.txt"
    arrays = _save(tmp_path / "a.npz", x=_numbers(COUNT, 1), y=np.arange(COUNT))
    for path, target, message in (
        (table, None, f"data '{table}' is a table; name the column of its target (age, income, left)"),
        (arrays, "y", f"data '{arrays}' has its targets as array y, not in column 'y'; leave the target out"),
        (odd, None, f"data '{odd}' is neither an .npz nor a .csv file; save arrays x and y by numpy.savez"),
    ):  # fmt: skip
        with pytest.raises(SettingError) as caught:
            load_file(path, target)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(3), "y": np.ones(3)}, " holds a, y but no x; name its arrays x and y"),
        ({"x": X, "y": Y, "x_test": X}, " holds x, y, x_test but no y_test; name its arrays x and y"),
        (
            {"x": X, "y": Y[:19]},
            " has x of shape [20, 2] and y of [19]; give x [N, ...] and y [N], or y [N, C] for several labels "
            "or values",
        ),
        ({"x": X * np.nan, "y": Y}, "x of {} holds nan (first in row 0); remove or fill in such rows"),
        ({"x": X.astype(str), "y": Y}, "x of {} holds <U32 values; give numbers (class names as integers from 0)"),
        (
            {"x": np.array([{}, []], dtype=object), "y": Y},
            " holds objects, which may hold code; save arrays of numbers by numpy.savez",
        ),
        ({"x": X, "y": Y, "x_test": np.ones((2, 3)), "y_test": np.arange(2)},
         " has x of shape [20, 2] but x_test of [2, 3]; give both one form"),
        ({"x": X, "y": Y, "x_test": np.ones((2, 2)), "y_test": np.array([0, 7])},
         " has the class 7 in y_test, which y lacks; give every class to training"),
        (
            {"x": X, "y": np.array(1)},
            " has x of shape [20, 2] and y of []; give x [N, ...] and y [N], or y [N, C] for several labels or values",
        ),
        (
            {"x": X, "y": Y, "x_test": np.array(1), "y_test": Y},
            " has x_test of shape [] and y_test of [20]; give x [N, ...] and y [N], or y [N, C] for several labels "
            "or values",
        ),
        ({"x": np.zeros((20, 0)), "y": Y}, " has x of shape [20, 0]; give at least one feature"),
        (
            {"x": X, "y": np.arange(40).reshape(20, 2)},
            " has y of shape [20, 2]; give y [N], for several labels at once y [N, C] of 0 and 1, or for a "
            "regression with several outputs decimals, or the task loss 'mse'",
        ),
        (
            {"x": np.where(np.arange(20)[:, None] == 3, -1e300, X), "y": Y},
            "x of {} holds -1e+300 (first in row 3), more than a float32 holds; divide such numbers",
        ),
    ],
)  # fmt: skip
def test_odd_arrays_are_one_line(tmp_path, arrays, message):
    path = _save(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_file(path)
    assert str(caught.value) == (message.format(path) if "{}" in message else f"{path}{message}")


@pytest.mark.parametrize("name", ["mine.npz", "mine.csv"])
def test_files_that_are_not_there_or_damaged(tmp_path, name):
    target = "left" if name.endswith("csv") else None
    with pytest.raises(
        DataError, match=r"mine\.... cannot be read \(FileNotFoundError: .*\); check the path and the file$"
    ):
        load_file(tmp_path / name, target)
    (tmp_path / name).write_bytes(b"PK\x03\x04\xff\xfe\x00")
    advice = "check the path and the file" if target is None else "save it as UTF-8"
    with pytest.raises(DataError, match=rf"mine\.... cannot be read \(\w+: .*\); {advice}$"):
        load_file(tmp_path / name, target)


def test_members_of_an_archive_that_are_no_arrays(tmp_path):
    with ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", "garbage")
        archive.writestr("y.npy", "garbage")
    with pytest.raises(DataError) as caught:
        load_file(tmp_path / "mine.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'mine.npz'} holds what is no array; save arrays of numbers by numpy.savez"
    )


@pytest.mark.parametrize("write", [lambda file: np.save(file, np.ones(3)), lambda file: file.write(b"x,y\n1,2\n")])
def test_what_is_called_npz_but_is_none(tmp_path, write):
    with (tmp_path / "mine.npz").open("wb") as file:
        write(file)
    with pytest.raises(
        DataError, match=r"mine\.npz is no \.npz file, which is a zip of arrays; save arrays x and y by"
    ):
        load_file(tmp_path / "mine.npz")


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_columns_that_lie_far_from_zero_keep_their_differences(tmp_path, kind):
    """Times in seconds since 1970 differ in digits that float32 does not have; the oracle is NumPy's float64."""
    draw = np.random.default_rng(0)
    near = draw.normal(size=(200, 2))
    x, y = near * [10, 1] + [1.7e9, 0], draw.normal(size=200) + 3e8
    path = tmp_path / f"mine.{kind}"
    if kind == "csv":
        path = _csv(path, [f"{a!r},{b!r},{t!r}" for (a, b), t in zip(x.tolist(), y.tolist(), strict=True)], "a,b,t")
        data = load_file(path, "t")
    else:
        data = load_file(_save(path, x=x, y=y))
    parts = [getattr(data, part) for part in ("train", "valid", "test")]
    whole = torch.cat([inputs for inputs, _ in parts]).double().numpy()
    train = data.train[0].double()
    assert train.mean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert train.std(0, correction=0).tolist() == pytest.approx([1, 1], rel=1e-6)
    order, theirs = np.argsort(whole[:, 1]), np.argsort(near[:, 1])
    assert np.corrcoef(whole[order, 0], near[theirs, 0])[0, 1] == pytest.approx(1, abs=1e-9)
    targets = torch.cat([targets for _, targets in parts]).double().numpy()
    assert np.corrcoef(targets[order], (y - 3e8)[theirs])[0, 1] == pytest.approx(1, abs=1e-9)
    assert data.train[0].dtype == data.train[1].dtype == torch.float32


def test_a_column_without_a_name_is_not_taken_for_a_feature(tmp_path):
    path = _csv(tmp_path / "mine.csv", [f"{i},{i % 7},{i % 2}" for i in range(40)], ",age,left")
    with pytest.raises(DataError) as caught:
        load_file(path, "left")
    assert str(caught.value) == (
        f"{path}: column 1 has no name, as one of row numbers has; leave it out (pandas: index=False), or name it"
    )


def test_an_empty_table_and_decimal_commas(tmp_path):
    (tmp_path / "mine.csv").write_text("")
    with pytest.raises(
        DataError, match=r"mine\.csv is empty; give a line with the names of the columns, then numbers$"
    ):
        load_file(tmp_path / "mine.csv", "left")
    path = _csv(tmp_path / "mine.csv", ["1,5;0", "2,5;1"] * 10, "age;left")
    with pytest.raises(
        DataError, match="line 2: column 'age' holds '1,5', which is no finite number; give a point for"
    ):
        load_file(path, "left")


@pytest.mark.parametrize("mark", ["NA", "nan", "?", "null", "inf"])
@pytest.mark.parametrize("others", ["1", "0.5"])
def test_a_target_that_is_not_known_among_numbers_is_no_class(tmp_path, mark, others):
    path = _csv(tmp_path / "mine.csv", [f"{i},{mark if i == 4 else i % 2 or others}" for i in range(20)], "age,left")
    with pytest.raises(DataError) as caught:
        load_file(path, "left")
    assert str(caught.value) == (
        f"{path}, line 6: column 'left' holds '{mark}', which is no finite number, as others are; remove such rows"
    )


def test_targets_with_decimal_commas_are_no_classes(tmp_path):
    path = _csv(tmp_path / "mine.csv", [f"{i};{i % 3},5" if i else "0;1" for i in range(20)], "age;left")
    with pytest.raises(DataError, match="line 3: column 'left' holds '1,5', which is no finite number; give a point"):
        load_file(path, "left")


def test_labels_that_only_python_takes_for_numbers_stay_apart(tmp_path):
    labels = ["1_2", "12", "NA"]  # beside text, NA may be a name
    data = load_file(_csv(tmp_path / "mine.csv", [f"{i},{labels[i % 3]}" for i in range(30)], "age,left"), "left")
    assert (data.task_type, data.classes) == ("classification", 3)
    with pytest.raises(DataError, match=r"has text as targets, such as '1_2'; for a regression give numbers$"):
        load_file(tmp_path / "mine.csv", "left", regression=True)


def test_names_in_quotes_may_hold_separators(tmp_path):
    path = _csv(tmp_path / "mine.csv", ["1;2;0", "2;1;1"] * 10, '"age, in years";"income, net";left')
    assert load_file(path, "left").input_shape == (2,)
    with pytest.raises(SettingError, match=r"name the column of its target \(age, in years, income, net, left\)$"):
        load_file(path)


def test_a_missing_target_is_asked_for_by_the_columns_whatever_separates_them(tmp_path):
    path = _csv(tmp_path / "mine.csv", ["1;0"] * 20, "age;left")
    with pytest.raises(SettingError, match=r"name the column of its target \(age, left\)$"):
        load_file(path)
