"""What outputs and targets are brought to one form, and the sentence for those that do not fit."""

import numpy as np
import pytest
import torch

from evomal.foundation.errors import DataError
from evomal.losses.preparing import prepare
from helpers.criteria import LABELS, LOGITS, loss


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_labels_of_every_integer_type(dtype):
    torch.testing.assert_close(loss()(LOGITS, LABELS.to(dtype)), loss()(LOGITS, LABELS))


def test_bytes_above_127_are_labels_not_ignored_ones():
    # 156 is -100 in eight bits.
    labels = torch.tensor([156], dtype=torch.uint8)
    logits = torch.randn(1, 200)
    torch.testing.assert_close(loss()(logits, labels), loss()(logits, torch.tensor([156])))
    ignoring = loss(ignore_index=255, reduction="none")
    values = ignoring(torch.randn(2, 200), torch.tensor([255, 3], dtype=torch.uint8))
    assert values[0] == 0
    assert values[1] != 0


def test_labels_of_one_logit_may_be_booleans():
    z = torch.tensor([0.3, -1.0])
    expected = loss()(z, torch.tensor([1, 0]))
    assert loss()(z, torch.tensor([True, False])) == expected
    assert loss()(z, torch.tensor([1.0, 0.0])) == expected


def test_none_looks_for_no_label():
    assert torch.equal(loss(ignore_index=None)(LOGITS, LABELS), loss()(LOGITS, LABELS))
    with pytest.raises(DataError, match=r"labels from -100 to 2 \(label -100 first in row 2\) but"):
        loss(ignore_index=None)(LOGITS, torch.tensor([0, 2, -100]))


def test_what_was_prepared():
    outputs, targets, kept = prepare(LOGITS.half(), torch.tensor([1, -100, 0]), "classification", -100)
    assert outputs.dtype == targets.dtype == torch.float32
    assert targets[0].tolist() == [0, 1, 0]
    assert kept.tolist() == [True, False, True]
    outputs, targets, kept = prepare(torch.tensor([0.5]), torch.tensor([0.25]), "classification", -100)
    assert (outputs.tolist(), targets.tolist(), kept) == ([[0.0, 0.5]], [[0.75, 0.25]], None)
    outputs, targets, kept = prepare(torch.tensor([0.5]), torch.tensor([2]), "regression", -100)
    assert (outputs.tolist(), targets.tolist(), kept) == ([[0.5]], [[2.0]], None)


def _shape(*sizes):
    return torch.zeros(sizes)


@pytest.mark.parametrize(
    ("task_type", "outputs", "targets", "message"),
    [
        (
            "classification",
            _shape(2, 3),
            torch.tensor([0, 7]),
            "targets hold labels from 0 to 7 (label 7 first in row 1) but the outputs are for 3 classes; "
            "labels must lie in 0…2: mend them, or set the loss's ignore_index to a label that does not count",
        ),
        (
            "classification",
            _shape(2, 3),
            torch.tensor([-1, 2]),
            "targets hold labels from -1 to 2 (label -1 first in row 0) but the outputs are for 3 classes; "
            "labels must lie in 0…2: mend them, or set the loss's ignore_index to a label that does not count",
        ),
        (
            "classification",
            _shape(2, 1),
            torch.tensor([1, 2]),
            "targets hold labels from 1 to 2 (label 2 first in row 1) but the outputs are for 2 classes; "
            "labels must lie in 0…1: mend them, or set the loss's ignore_index to a label that does not count",
        ),
        (
            "classification",
            _shape(2, 3),
            torch.tensor([0, 1, 2]),
            "targets [3] (torch.int64) do not fit outputs [2, 3]: "
            "class labels must have the outputs' shape without dimension 1",
        ),
        (
            "classification",
            _shape(2, 3, 4),
            torch.zeros(2, 3, dtype=torch.int64),
            "targets [2, 3] (torch.int64) do not fit outputs [2, 3, 4]: "
            "class labels must have the outputs' shape without dimension 1",
        ),
        (
            "classification",
            _shape(2, 3),
            torch.tensor([0.0, 1.0]),
            "targets [2] (torch.float32) do not fit outputs [2, 3]: soft labels must have the outputs' shape",
        ),
        (
            "classification",
            _shape(3),
            torch.tensor([0, 1]),
            "targets [2] (torch.int64) do not fit outputs [3]: one output needs one target for each",
        ),
        (
            "classification",
            _shape(1, 3),
            torch.tensor(1),
            "targets [] (torch.int64) do not fit outputs [1, 3]: both need a batch dimension, or neither has one",
        ),
        (
            "regression",
            _shape(4, 2),
            _shape(4),
            "targets [4] (torch.float32) do not fit outputs [4, 2]: "
            "regression needs equal shapes, where [B] means [B, 1]",
        ),
        (
            "regression",
            _shape(4),
            _shape(1, 4),
            "targets [1, 4] (torch.float32) do not fit outputs [4]: "
            "regression needs equal shapes, where [B] means [B, 1]",
        ),
        (
            "regression",
            torch.tensor(0.0),
            torch.tensor([1.0]),
            "targets [1] (torch.float32) do not fit outputs []: both need a batch dimension, or neither has one",
        ),
        (
            "regression",
            _shape(3),
            torch.tensor(1.0),
            "targets [] (torch.float32) do not fit outputs [3]: regression needs equal shapes",
        ),
        (
            "regression",
            torch.tensor([1, 2]),
            torch.tensor([1, 2]),
            "outputs [2] are torch.int64; give real floats, as networks do",
        ),
        (
            "classification",
            _shape(2, 3).bool(),
            torch.tensor([1, 2]),
            "outputs [2, 3] are torch.bool; give real floats, as networks do",
        ),
        (
            "classification",
            _shape(2, 3).to(torch.complex64),
            torch.tensor([1, 2]),
            "outputs [2, 3] are torch.complex64; give real floats, as networks do",
        ),
        (
            "regression",
            _shape(2),
            _shape(2).to(torch.complex64),
            "targets are torch.complex64; give real numbers",
        ),
        (
            "classification",
            _shape(2, 3).to_sparse(),
            torch.tensor([1, 2]),
            "outputs or targets are sparse; make them dense with .to_dense()",
        ),
        (
            "classification",
            (_shape(2, 3), _shape(2, 3)),
            torch.tensor([1, 2]),
            "outputs are a tuple; give the one tensor that the loss is taken of, such as outputs[0] or outputs.logits",
        ),
        (
            "classification",
            _shape(2, 3),
            ["cat", "dog"],
            "targets cannot be read as numbers (ValueError: too many dimensions 'str'); give a tensor",
        ),
        (
            "classification",
            _shape(2, 3),
            np.ma.array([0, 1], mask=[False, True]),
            "targets: entries are masked (first in row 1), and a mask is not looked at; fill them in "
            "(values.filled(-100) for labels that do not count), or leave such rows out",
        ),
        (
            "classification",
            _shape(2, 3),
            None,
            "targets are missing; call a criterion as criterion(outputs, targets)",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(task_type, outputs, targets, message):
    with pytest.raises(DataError) as caught:
        loss(task_type=task_type)(outputs, targets)
    assert str(caught.value) == message


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ignore_index", [-100, None])
@pytest.mark.parametrize("over", [(0, 0), (None, 0), (0, None)])
def test_many_instances_by_vmap_without_a_warning(over, ignore_index):
    criterion = loss(ignore_index=ignore_index)
    logits, labels = torch.randn(4, 1, 3), torch.tensor([[2], [0], [1], [1]])
    arguments = [each if axis == 0 else each[0] for each, axis in zip((logits, labels), over, strict=True)]
    pairs = [(logits[i if over[0] == 0 else 0], labels[i if over[1] == 0 else 0]) for i in range(4)]
    found = torch.func.vmap(criterion, in_dims=over)(*arguments)
    torch.testing.assert_close(found, torch.stack([criterion(*pair) for pair in pairs]), rtol=0, atol=1e-6)


def test_an_odd_label_within_vmap_is_said_in_one_sentence():
    with pytest.raises(DataError, match=r"targets cannot be read \(.*\); labels must lie in 0…2: mend them, or set"):
        torch.func.vmap(loss())(torch.randn(4, 1, 3), torch.tensor([[2], [0], [3], [1]]))
