"""Data, labels and settings as users have them: taken where PyTorch takes them, else refused in a sentence."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.nn import functional

from evomal.foundation.errors import DataError, SettingError
from evomal.tasks import Batches, Split, Task

G = torch.Generator().manual_seed(0)
X = torch.randn(60, 4, generator=G)
Y = (X[:, 0] > 0).long()


def _task(x=X, y=Y, outputs=2, **others):
    return Task(lambda: nn.Linear(4, outputs), (x, y), dataset="d", **others)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (X.to_sparse(), "is a sparse tensor; give an ordinary one"),
        (torch.nested.nested_tensor([X, X], layout=torch.jagged), "is a nested tensor; give an ordinary one"),
        (scipy.sparse.csr_matrix(X.numpy()), "is sparse (csr_matrix); give a dense array (.toarray())"),
        (X.to("meta"), "is a tensor on the device 'meta', without values; give one that has them"),
        (X.to(torch.float8_e4m3fn), "holds torch.float8_e4m3fn values; give float32 ones"),
        (X.numpy().astype(np.clongdouble), "holds complex numbers; give real ones"),
        (np.ma.array(X.numpy(), mask=X.numpy() > 2), "entries are masked (first in row "),
        ([np.ma.array([1.0], mask=[True])] * 60, "entries are masked (first in row 0)"),
        ([torch.zeros(2), torch.zeros(3)], "cannot be stacked"),
    ],
)
def test_data_of_another_kind(x, what):
    with pytest.raises(DataError) as caught:
        _task(x)
    assert str(caught.value).startswith("x of the training split of data set 'd'")
    assert what in str(caught.value)


def test_masked_labels_and_masked_items():
    masked = np.ma.array(Y.numpy(), mask=np.arange(60) == 7)
    with pytest.raises(DataError, match=r"^y of .*: entries are masked \(first in row 7\).*values\.filled\(-100\)"):
        _task(y=masked)
    assert int((_task(y=masked.filled(-100), valid=(X, Y)).train.y == -100).sum()) == 1
    with pytest.raises(DataError, match=r"^an item of .*: entries are masked"):
        Task(lambda: nn.Linear(1, 2), [(np.ma.array([1.0], mask=[row == 5]), row % 2) for row in range(60)])


def test_a_list_of_pairs_is_a_data_set():
    listed = _task_of(list(zip(X, Y, strict=True)))
    assert torch.equal(listed.train.x, _task().train.x)
    assert torch.equal(listed.train.y, _task().train.y)


def _task_of(data):
    return Task(lambda: nn.Linear(4, 2), data)


def test_long_doubles_and_lists_of_tensors_are_read():
    assert torch.equal(_task(X.numpy().astype(np.longdouble)).train.x, _task().train.x)
    assert torch.equal(_task(list(X.clone().requires_grad_())).train.x, _task().train.x)
    assert _task(list(X.bfloat16())).train.x.dtype == torch.bfloat16
    targets = X[:, 0].numpy().astype(np.longdouble)
    assert _task(y=targets, outputs=1, task_loss="mse").train.y.dtype == torch.float32


@pytest.mark.parametrize("label", ["x", 1.5, True, float("nan"), 2**70, [1]])
def test_labels_that_cannot_be_ignored(label):
    with pytest.raises(SettingError, match=r"^ignore_index is .*; give the label that does not count as a"):
        _task(ignore_index=label)


@pytest.mark.parametrize("given", [255, None])
def test_the_task_loss_may_have_a_label_of_its_own_that_does_not_count(given):
    loss = nn.CrossEntropyLoss(ignore_index=255)
    y = torch.where(X[:, 1] > 1, 255, Y)
    task = _task(y=y, task_loss=loss, ignore_index=given)
    assert task.classes == 2
    outputs, labels = torch.randn(60, 2), torch.where(y == 255, -100, y)
    assert torch.equal(task.task_loss(outputs, labels), loss(outputs, y))
    assert loss.ignore_index == 255  # the user's own stays as it was


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"task_loss": nn.CrossEntropyLoss}, "task_loss is the class CrossEntropyLoss; give a loss that is built"),
        ({"task_loss": 3}, "task_loss is 3; give the name of a loss, or a function of (outputs, targets)"),
        ({"valid_fraction": "a"}, "valid_fraction is 'a'; choose a share above 0 and below 1, such as 0.1"),
        ({"device": 3.5}, "device '3.5' cannot be used here"),
        ({"device": None}, "device 'None' cannot be used here"),
    ],
)
def test_odd_settings(change, what):
    with pytest.raises(SettingError) as caught:
        _task(**change)
    assert what in str(caught.value)


BITS = Y.float()[:, None]


@pytest.mark.parametrize(
    "loss",
    [
        nn.BCEWithLogitsLoss(),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
        functional.binary_cross_entropy_with_logits,
        partial(functional.binary_cross_entropy_with_logits, pos_weight=torch.tensor([2.0])),
    ],
)
def test_binary_cross_entropy_is_for_two_classes(loss):
    task = _task(y=BITS, outputs=1, task_loss=loss)
    assert (task.task_type, task.metric.name) == ("classification", "error_rate")
    with pytest.raises(SettingError, match="metric 'mse' is for regression, but task 'task' is classification"):
        _task(y=BITS, outputs=1, task_loss=loss, metric="mse")


def test_several_yes_or_no_answers_are_several_labels():
    y = (X[:, :3] > 0).float()
    assert _task(y=y, outputs=3, task_loss=nn.BCEWithLogitsLoss()).task_type == "multilabel"
    masks = Task(
        lambda: nn.Conv2d(1, 1, 1),
        (X.reshape(60, 1, 2, 2), (X.reshape(60, 1, 2, 2) > 0).float()),
        task_loss=nn.BCEWithLogitsLoss(),
    )
    assert masks.task_type == "classification"


def test_bits_with_a_function_that_tells_nothing_are_asked_about():
    def of_a_user(outputs, targets):
        return functional.binary_cross_entropy_with_logits(outputs, targets)

    with pytest.raises(SettingError, match=r"^targets are 0 and 1 as floats, and task_loss 'of_a_user' does not tell"):
        _task(y=BITS, outputs=1, task_loss=of_a_user)
    for kind in ("classification", "regression"):
        assert _task(y=BITS, outputs=1, task_loss=of_a_user, task_type=kind).task_type == kind
    assert _task(y=BITS / 2, outputs=1, task_loss=of_a_user).task_type == "regression"
    assert _task(y=BITS, outputs=1, task_loss=nn.MSELoss()).task_type == "regression"
    assert _task(y=BITS, outputs=1, task_loss=of_a_user, metric="mae").task_type == "regression"


def test_soft_labels_with_pytorchs_cross_entropy_are_classes():
    assert _task(y=torch.eye(2)[Y], task_loss=nn.CrossEntropyLoss()).task_type == "classification"
    assert _task(y=torch.eye(2)[Y], task_loss=functional.cross_entropy).task_type == "classification"


@pytest.mark.parametrize("y", [Y * 0, torch.where(X[:, 1] > 0, Y * 0 + 1, -100), Y[:, None] * 0.0])
def test_one_class_alone_is_refused(y):
    with pytest.raises(DataError, match=r"holds the label [01] alone; a loss for classification is learned on"):
        _task(y=y, outputs=1 if y.is_floating_point() else 2)


def _partly(labelled):
    y = torch.full((200,), -100)
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(labelled))[:labelled]
    y[rows] = torch.arange(labelled) % 2
    return torch.randn(200, 4), y


@pytest.mark.parametrize("labelled", [4, 6, 20, 150])
def test_validation_takes_labels_of_what_has_them(labelled):
    x, y = _partly(labelled)
    task = _task(x, y)
    taken = -(-labelled // 10)
    assert len(task.valid) == taken
    assert int((task.valid.y != -100).sum()) == taken
    assert int((task.train.y != -100).sum()) == labelled - taken
    assert len(task.train) == 200 - taken
    if taken > 1:  # stratified
        assert abs(task.valid.y.float().mean() - 0.5) <= 0.51 / taken


def test_one_label_leaves_none_for_validation():
    with pytest.raises(DataError, match="has 1 instance with a label that counts, which leaves none for validation"):
        _task(*_partly(1))
    with pytest.raises(DataError, match="y of the validation split of data set 'd' has only ignored labels"):
        _task(valid=(X, torch.full((60,), -100)))


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("labelled", [1, 5, 60])
def test_every_batch_has_a_label_that_counts(size, labelled):
    x, y = _partly(labelled)
    batches = Batches.of(Split(x, y), size, 0, "key")
    plain = Batches(200, size, 0, "key")
    for step in range(2 * batches.per_epoch):
        index = batches.index(step)
        assert bool((y[index] != -100).any())
        assert len(set(index.tolist())) == size
        if bool((y[plain.index(step)] != -100).any()):
            assert torch.equal(index, plain.index(step))


def test_batches_of_what_has_all_labels_are_as_ever():
    batches, plain = Batches.of(Split(X, Y), 7, 0), Batches(60, 7, 0)
    assert all(torch.equal(batches.index(step), plain.index(step)) for step in range(30))
    with pytest.raises(SettingError, match="none of 60 instances has a label that counts"):
        Batches.of(Split(X, torch.full((60,), -100)), 7, 0)
