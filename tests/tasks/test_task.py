"""Tasks from every kind of data that users have, and what is said about data that cannot be learned on."""

import functools
import pickle
import random

import joblib
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from evomal.foundation.errors import DataError, ModelError, SettingError, UnknownNameError
from evomal.tasks import LazySplit, Task, get_metric

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(60, 3, generator=G), torch.arange(60) % 3


def small():
    return nn.Linear(3, 3)


class Items(Dataset):
    """A map-style data set of NumPy rows and Python integers."""

    def __init__(self, x=X, y=Y):
        self.x, self.y = x.double().numpy(), y.tolist()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Augmented(Items):
    """Adds noise to each instance, each time."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + torch.randn(3).numpy(), y


GIVEN = {
    "tensors": (X, Y),
    "double tensors and short labels": (X.double(), Y.short()),
    "arrays": (X.numpy(), Y.numpy().astype(np.int32)),
    "double arrays": (X.double().numpy(), Y.numpy().astype(np.uint8)),
    "big-endian arrays": (X.numpy().astype(">f8"), Y.numpy().astype(">i4")),
    "flipped arrays": (X.flip(0).numpy()[::-1], Y.flip(0).numpy()[::-1]),
    "lists": (X.tolist(), Y.tolist()),
    "a list of two": [X, Y],
    "a data set": Items(),
    "a tensor data set": TensorDataset(X, Y),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_every_kind_of_data_gives_the_same_splits(given):
    task, reference = Task(small, given), Task(small, (X, Y))
    assert task.train.x.dtype == torch.float32
    assert task.train.y.dtype == torch.int64
    torch.testing.assert_close(task.train.x, reference.train.x)
    assert torch.equal(task.train.y, reference.train.y)
    assert torch.equal(task.valid.y, reference.valid.y)
    assert task.valid.y.bincount().tolist() == [2, 2, 2]
    assert task.test is None
    assert task.classes == 3


def test_a_lazy_data_set_gives_the_same_instances_as_a_resident_one():
    lazy, resident = Task(small, Items(), resident=False), Task(small, (X, Y))
    assert isinstance(lazy.train, LazySplit)
    assert (len(lazy.train), len(lazy.valid)) == (54, 6)
    index = torch.tensor([5, 0, 33])
    torch.testing.assert_close(lazy.train.take(index), resident.train.take(index))
    torch.testing.assert_close(lazy.valid.take(torch.arange(6)), resident.valid.take(torch.arange(6)))
    assert lazy.classes == 3


def test_a_lazy_data_set_is_asked_for_its_targets_only_if_they_are_true():
    class Listed(Items):
        read = 0

        def __getitem__(self, i):
            Listed.read += 1
            return super().__getitem__(i)

    honest = Listed()
    honest.targets = Y.tolist()
    Task(small, honest, resident=False)
    assert Listed.read < 20
    transformed = Listed()
    transformed.targets = (Y + 1).tolist()
    assert Task(small, transformed, resident=False).classes == 3
    assert Listed.read > 60


def test_random_augmentation_differs_between_batches_and_not_between_runs():
    task, again = (Task(small, Augmented(), (X, Y), resident=False) for _ in range(2))
    index = torch.tensor([1, 2])
    assert torch.equal(task.train.take(index)[0], again.train.take(index)[0])
    assert not torch.equal(task.train.take(index)[0][0], task.train.take(torch.tensor([1, 3]))[0][0])
    assert task.fingerprint == again.fingerprint


def test_reading_a_random_data_set_once_is_repeatable_and_leaves_generators_alone():
    before = torch.get_rng_state()
    first = Task(small, Augmented())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert Task(small, Augmented()).fingerprint == first.fingerprint


def test_images_of_labels_can_be_lazy():
    masks = TensorDataset(torch.randn(20, 1, 4, 4, generator=G), torch.randint(0, 2, (20, 4, 4), generator=G))
    task = Task(lambda: nn.Conv2d(1, 2, 1), masks, resident=False)
    assert task.train.y is None
    assert task.classes is None
    assert task.train.take(torch.arange(3))[1].shape == (3, 4, 4)


def test_given_splits_are_kept():
    task = Task(small, (X, Y), (X[:7], Y[:7]), (X[:5], Y[:5]))
    assert (len(task.train), len(task.valid), len(task.test)) == (60, 7, 5)
    again = Task(small, task.train, task.valid, task.test)
    assert torch.equal(again.train.x, task.train.x)


def test_regression_is_inferred_from_targets_loss_or_metric():
    def l1(outputs, targets):
        return (outputs - targets).abs().mean()

    counts = torch.arange(60)
    assert Task(small, (X, counts.float()), task_loss=l1).task_type == "regression"
    assert Task(small, (X, counts), task_loss="mse").task_type == "regression"
    assert Task(small, (X, counts), task_loss=l1, metric="mae").task_type == "regression"
    assert Task(small, (X, counts), task_loss=l1).task_type == "classification"
    explicit = Task(small, (X, counts.double()), task_loss=l1, task_type="regression")
    assert (explicit.metric.name, explicit.task_loss_name, explicit.train.y.dtype) == ("mse", "l1", torch.float32)


def test_a_float_target_stays_classification_with_cross_entropy():
    assert Task(small, (X, (Y % 2).double())).task_type == "classification"
    soft = nn.functional.one_hot(Y, 3).double()
    task = Task(small, (X, soft))
    assert task.train.y.dtype == torch.float32
    assert task.valid.y.sum(0).tolist() == [2, 2, 2]


def test_another_ignore_index_becomes_pytorchs():
    y = Y.clone()
    y[:3] = 255
    task = Task(small, (X, y), (X, Y), ignore_index=255)
    assert task.train.y[:4].tolist() == [-100, -100, -100, 0]
    assert (task.classes, task.ignore_index) == (3, -100)
    assert Task(small, (X, Y)).ignore_index is None


def test_a_metric_of_the_users_own_sees_the_users_label():
    y = torch.where(torch.arange(60) % 4 == 0, 255, Y)

    def wrong(outputs, targets):
        counts = targets != 255
        return (outputs.argmax(1)[counts] != targets[counts]).double().mean()

    own, usual = (Task(small, (X, y), metric=metric, ignore_index=255) for metric in (wrong, "error_rate"))
    outputs = torch.randn(len(own.train), 3, generator=torch.Generator().manual_seed(0))
    assert own.metric(outputs, own.train.y) == usual.metric(outputs, usual.train.y)
    assert own.metric.name == "wrong"


def test_validation_does_not_depend_on_seeds():
    torch.manual_seed(1)
    np.random.seed(1)
    first = Task(small, (X, Y))
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first.valid.x, Task(small, (X, Y)).valid.x)
    assert len(Task(small, (X, Y), valid_fraction=0.5).valid) == 30


def bad(row, column, value):
    x = X.clone()
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"train": (bad(7, 1, torch.nan), Y)},
            r"x of the training split of data set 'mine' holds nan \(first in row 7\); remove or fill in such rows",
        ),
        (
            {"train": (X, Y), "valid": (X, Y), "test": (bad(2, 0, -torch.inf), Y)},
            r"x of the test split of data set 'mine' holds -inf \(first in row 2\)",
        ),
        (
            {"train": (X, bad(4, 0, torch.nan)[:, 0]), "task_loss": "mse"},
            r"y of the training split of data set 'mine' holds nan \(first in row 4\)",
        ),
        (
            {"train": (X, Y[:50])},
            "the training split of data set 'mine' has 60 rows in x but 50 in y; give one target for each instance",
        ),
        ({"train": (X[:0], Y[:0])}, "the training split of data set 'mine' is empty; give at least one instance"),
        ({"train": TensorDataset(X[:0], Y[:0])}, "the training split of data set 'mine' is empty"),
        ({"train": (X, Y), "valid": (X[:0], Y[:0])}, "the validation split of data set 'mine' is empty"),
        ({"train": (X, torch.tensor(1))}, r"needs a row per instance, but x has shape \[60, 3\] and y \[\]"),
        (
            {"train": (X, Y - 1)},
            r"y of the training split of data set 'mine' holds the label -1 \(first in row 0\); numb",
        ),
        ({"train": (X, Y * 0 - 100)}, "y of the training split of data set 'mine' has only ignored labels; give"),
        (
            {"train": (X, torch.linspace(0, 150, 60))},
            r"holds 2\.54237 \(first in row 1\) as a float; give class labels as integers, or for regression set "
            "task_loss='mse'",
        ),
        (
            {"train": (X, Y), "valid": (X[:, :2], Y)},
            r"x of the validation split of data set 'mine' has instances of shape \[2\] \(torch\.float32\), but "
            r"training has \[3\] \(torch\.float32\); give all splits one form",
        ),
        ({"train": (X, Y), "test": (X, Y.float() / 2)}, r"y of the test split .* \(torch\.float32\), but training"),
        ({"train": (X, Y, Y)}, r"the training split of data set 'mine' must be a pair \(x, y\), but it has 3 parts"),
        ({"train": (X, ["a"] * 60)}, r"y of the training split .* holds <U1 values; give numbers \(class names as int"),
        (
            {"train": ([[1.0], [1.0, 2.0]], [0, 1])},
            "x of the training split .* cannot be read as an array .*; give rows",
        ),
        ({"train": (X + 1j, Y)}, "x of the training split of data set 'mine' holds complex numbers; give real ones"),
        ({"train": None}, r"the training split of data set 'mine' is a NoneType; give a pair \(x, y\) or a map-style"),
        ({"train": X}, r"the training split of data set 'mine' is a Tensor; give a pair"),
        (
            {"train": DataLoader(TensorDataset(X, Y))},
            "the training split of data set 'mine' is a DataLoader; give its `.dataset`",
        ),
        ({"train": (X[:1], Y[:1])}, "has 1 instance, which leaves none for validation; give valid="),
        (
            {"train": Subset([{"x": row, "label": 1} for row in X], range(60))},
            r"is a dict with x, label; wrap the data set in one whose ",
        ),
        (
            {"train": TensorDataset(X)},
            r"items must be pairs \(x, y\), but among those from index 0 on is a tuple of 1; wrap",
        ),
    ],
)
def test_data_that_cannot_be_learned_on(arguments, message):
    with pytest.raises(DataError, match=message):
        Task(small, name="task", dataset="mine", **arguments)


@pytest.mark.parametrize("resident", [True, False])
def test_data_sets_that_fail(resident):
    class Failing(Items):
        def __getitem__(self, i):
            raise OSError("disk gone")

    class Ragged(Items):
        def __getitem__(self, i):
            return np.zeros(1 + i % 2), 0

    class Endless(IterableDataset):
        def __iter__(self):
            yield X[0], 0

    with pytest.raises(DataError, match=r"items from index 0 on cannot be read \(OSError: disk gone\)"):
        Task(small, Failing(), resident=resident)
    with pytest.raises(DataError, match=r"cannot be stacked \(RuntimeError: .*\); give tensors, arrays or numbers"):
        Task(small, Ragged(), resident=resident)
    with pytest.raises(DataError, match="is a Endless; give a pair"):
        Task(small, Endless(), resident=resident)


def test_lazy_labels_are_checked_too():
    with pytest.raises(DataError, match=r"holds the label -1 \(first in row 0\)"):
        Task(small, Items(y=Y - 1), resident=False)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"task_loss": "cross_entrpy"}, UnknownNameError, "unknown loss 'cross_entrpy'; did you mean 'cross_entropy'"),
        ({"metric": "errors"}, UnknownNameError, "unknown metric 'errors'"),
        (
            {"metric": "mse"},
            SettingError,
            "metric 'mse' is for regression, but task 'mine' is classification; use 'err",
        ),
        (
            {"task_type": "ranking"},
            SettingError,
            "task_type is 'ranking'; use 'classification', 'regression' or 'multilabel'",
        ),
        (
            {"task_loss": "mse", "task_type": "classification"},
            SettingError,
            "task_loss 'mse' is for regression, but task_type is 'classification'; change one",
        ),
        ({"valid_fraction": 1.5}, SettingError, "valid_fraction is 1.5; choose a share above 0 and below 1"),
        ({"device": "warp"}, SettingError, r"device 'warp' cannot be used here \(.*\); try device='cpu'"),
    ],
)
def test_settings_that_cannot_be(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Task(small, (X, Y), name="mine", **arguments)


def test_a_model_must_be_a_factory():
    with pytest.raises(ModelError, match=r"model is a built Linear; give a function that builds a fresh one, such as"):
        Task(small(), (X, Y))
    with pytest.raises(ModelError, match="model is a str; give a function that builds and returns a network"):
        Task("lenet5", (X, Y))


def test_models_are_functions_of_their_seed_and_leave_generators_alone():
    task = Task(lambda: nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 3)), (X, Y))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    one, other, third = task.make_model(1), task.make_model(1), task.make_model(2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    pairs = list(zip(one.parameters(), other.parameters(), third.parameters(), strict=True))
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)
    assert one.training


def test_a_factory_that_draws_from_numpy_is_seeded_too():
    def drawn():
        model = nn.Linear(3, 3)
        model.weight.data.fill_(np.random.rand() + random.random())
        return model

    task = Task(drawn, (X, Y))
    assert torch.equal(task.make_model(4).weight, task.make_model(4).weight)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: nn.Linear(3), "model 'custom' cannot be built by its factory, called without arguments: TypeError: "),
        (
            functools.partial(nn.Linear, 3, bias=list(range(99))),
            r"model 'partial' cannot be built by its factory, called with \(3, bias=\[0, 1, .* 5, \.\.\.\]\): Type",
        ),
        (lambda: 3, "model 'custom' is a int; its factory must return a torch.nn.Module"),
        (lambda: nn.LazyLinear(3), "model 'custom' has lazy layers without weights; state sizes, or call it once in"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_factories_that_fail(factory, message):
    with pytest.raises(ModelError, match=message):
        Task(factory, (X, Y)).make_model(0)


def test_names_have_defaults():
    task = Task(small, (X, Y), name="mine", task_loss=nn.CrossEntropyLoss())
    assert (task.dataset, task.model_name, task.task_loss_name) == ("mine", "small", "CrossEntropyLoss")
    assert Task(lambda: small(), (X, Y)).model_name == "custom"


def test_a_loss_with_weights_is_copied():
    weights = nn.CrossEntropyLoss(weight=torch.ones(3))
    task = Task(small, (X, Y), task_loss=weights)
    assert task.task_loss is not weights
    assert task.task_loss(torch.zeros(2, 3), torch.tensor([0, 1])).item() == pytest.approx(np.log(3))


def test_the_fingerprint_tells_data_and_names():
    reference = Task(small, (X, Y)).fingerprint
    assert len(reference) == 16
    assert reference == Task(small, (X.clone(), Y.clone())).fingerprint == Task(small, (X, Y)).key
    changed = [
        Task(small, (bad(30, 2, 0.0), Y)),
        Task(small, (X, (Y + 1) % 3)),
        Task(small, (X, Y), (X, Y)),
        Task(small, (X, Y), name="other"),
        Task(small, (X, Y), dataset="other"),
        Task(small, (X, Y), model_name="other"),
        Task(small, (X.reshape(60, 1, 3), Y)),
        Task(small, Items(), resident=False),
    ]
    assert len({reference, *(task.fingerprint for task in changed)}) == 1 + len(changed)
    lazy = Task(small, Items(y=(Y + 1) % 3), resident=False)
    assert lazy.fingerprint != changed[-1].fingerprint


def test_the_fingerprint_looks_at_neither_device_nor_test_data():
    task = Task(small, (X, Y), test=(X, Y))
    assert task.fingerprint == Task(small, (X, Y)).fingerprint == task.to("cpu").fingerprint


def test_moving_a_task_leaves_the_first_where_it_was():
    task = Task(small, (X, Y), test=(X, Y))
    moved = task.to("meta")
    assert moved.train.x.device.type == moved.test.y.device.type == moved.device.type == "meta"
    assert task.train.x.device.type == task.device.type == "cpu"


def test_a_task_with_lambdas_is_pickled_plainly():
    task = Task(lambda: nn.Linear(3, 3), (X, Y), task_loss=lambda o, t: nn.functional.cross_entropy(o, t))
    again = pickle.loads(pickle.dumps(task))
    assert again._fingerprint == task.fingerprint
    assert torch.equal(again.make_model(3).weight, task.make_model(3).weight)
    assert torch.equal(again.train.x, task.train.x)
    lazy = Task(small, Augmented(), (X, Y), resident=False)
    sent = pickle.loads(pickle.dumps(lazy))
    assert torch.equal(sent.train.take(torch.arange(4))[0], lazy.train.take(torch.arange(4))[0])


def test_data_of_a_dumped_task_are_mapped_into_memory(tmp_path, monkeypatch):
    task = Task(small, (X, Y), metric=lambda outputs, targets: 0.0)
    joblib.dump(task, tmp_path / "task")
    arrays, real = [], torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: arrays.append(array) or real(array))
    again = joblib.load(tmp_path / "task", mmap_mode="c")
    assert [type(array) for array in arrays] == [np.memmap] * 4  # x and y of both splits
    assert torch.equal(again.train.x, task.train.x)


def test_float64_is_kept_where_it_is_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        task = Task(small, (X.double(), Y.double()), task_loss="mse")
        assert task.train.x.dtype == task.train.y.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_metric_object_is_taken_as_it_is():
    assert Task(small, (X, Y), metric=get_metric("macro_f1")).metric.name == "macro_f1"


def test_class_counts_are_those_of_training_labels_that_count():
    y = torch.tensor([0, 0, 2, -100, 2, 2, -100])
    x = torch.zeros(7, 3)
    task = Task(small, (x, y), (x[:2], torch.tensor([3, 1])))
    assert task.class_counts.tolist() == [2, 0, 3, 0]
    assert task.class_counts.dtype == torch.int64
    assert Task(small, (X, Y)).class_counts.tolist() == np.bincount(Task(small, (X, Y)).train.y.numpy()).tolist()
    masks = torch.tensor([[[0, 1], [1, -100]]])
    pixels = Task(lambda: nn.Conv2d(1, 2, 1), (torch.zeros(1, 1, 2, 2), masks), (torch.zeros(1, 1, 2, 2), masks))
    assert pixels.class_counts.tolist() == [1, 2]
    lazy = Task(small, Items(), (X, Y), resident=False)
    assert lazy.class_counts.tolist() == [20, 20, 20]


def test_there_are_no_class_counts_without_labels_that_are_known():
    assert Task(small, (X, torch.randn(60, 3, generator=G)), task_loss="mse").class_counts is None
    soft = torch.softmax(torch.randn(60, 3, generator=G), 1)
    assert Task(small, (X, soft), task_loss="cross_entropy").class_counts is None
    masks = TensorDataset(torch.randn(20, 1, 4, 4, generator=G), torch.randint(0, 2, (20, 4, 4), generator=G))
    assert Task(lambda: nn.Conv2d(1, 2, 1), masks, resident=False).class_counts is None


@pytest.mark.parametrize(
    "metric",
    [
        lambda outputs, targets: float((outputs.argmax(1) != targets).double().mean()),
        nn.CrossEntropyLoss(),
        functools.partial(nn.functional.cross_entropy, label_smoothing=0.1),
        lambda outputs, targets: 1 - f1_score(targets.numpy(), outputs.argmax(1).numpy(), average="macro"),
    ],
    ids=["a lambda", "a module", "a partial", "scikit-learn"],
)
def test_any_callable_is_a_metric(metric):
    outputs = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    value = Task(small, (X, Y), metric=metric).metric(outputs, Y[:30])
    assert value.shape == ()
    assert float(value) == pytest.approx(float(metric(outputs, Y[:30])))
