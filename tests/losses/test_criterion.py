"""What the contract table cannot hold for every loss: exact values, exact sentences, odd types."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import evomal
from evomal.foundation.errors import DataError, SettingError
from evomal.losses import Criterion, SymbolicLoss, get_handcrafted
from helpers.criteria import LABELS, LOGITS, loss


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_classes_are_summed_and_the_batch_is_averaged():
    f = torch.softmax(LOGITS, dim=1)
    y = torch.eye(3)[LABELS]
    by_hand = ((y - f) ** 2 - y * (f + 1e-7).log()).sum(1)
    torch.testing.assert_close(loss(reduction="none")(LOGITS, LABELS), by_hand)
    torch.testing.assert_close(loss()(LOGITS, LABELS), by_hand.mean())
    torch.testing.assert_close(loss(reduction="sum")(LOGITS, LABELS), by_hand.sum())


def test_outputs_are_summed_and_the_rest_is_averaged():
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    f, y = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    torch.testing.assert_close(loss(f, y), ((y - f) ** 2).sum(1).mean())


def test_regression_on_a_column_and_a_row_never_makes_a_square():
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression", reduction="none")
    f, y = torch.randn(4), torch.randn(4)
    for outputs in (f, f[:, None]):
        for targets in (y, y[:, None]):
            values = loss(outputs, targets)
            assert values.shape == (4,)
            torch.testing.assert_close(values, (y - f) ** 2)


def test_the_weighted_mean_is_divided_by_the_sum_of_the_weights():
    values = loss(reduction="none")(LOGITS, LABELS)
    weight = torch.tensor([0.5, 0.0, 2.0])
    torch.testing.assert_close(loss()(LOGITS, LABELS, weight), (weight * values).sum() / 2.5)
    torch.testing.assert_close(loss(reduction="sum")(LOGITS, LABELS, weight), (weight * values).sum())
    torch.testing.assert_close(loss(reduction="none")(LOGITS, LABELS, weight), weight * values)


def test_weights_of_instances_hold_for_all_their_pixels():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    weight = torch.tensor([1.0, 3.0])
    per_pixel = weight[:, None, None].expand(2, 4, 5)
    torch.testing.assert_close(loss()(logits, labels, weight), loss()(logits, labels, per_pixel))


@pytest.mark.parametrize("outputs", [LOGITS, LOGITS[:, :1], LOGITS[:, 0]], ids=["three", "column", "row"])
def test_a_batch_of_which_nothing_counts(outputs):
    labels = torch.full((3,), -100)
    assert loss()(outputs, labels).isnan()  # as PyTorch's
    assert loss(reduction="sum")(outputs, labels) == 0
    assert loss(reduction="none")(outputs, labels).tolist() == [0, 0, 0]


def test_an_ignored_instance_that_is_not_finite_does_not_count_either():
    outputs = torch.cat([LOGITS, torch.full((1, 3), float("nan"))])
    labels = torch.cat([LABELS, torch.tensor([-100])])
    torch.testing.assert_close(loss()(outputs, labels), loss()(LOGITS, LABELS))


def test_a_loss_with_matrices_computes_in_float32_under_autocast():
    class Mixing(Criterion):
        def per_instance(self, outputs, targets):
            mixed = outputs @ torch.full((3, 1), 1 / 3)
            assert mixed.dtype == torch.float32
            return (mixed - targets).sum(1)

    loss = Mixing("classification")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(LOGITS.bfloat16(), LABELS), loss(LOGITS.bfloat16().float(), LABELS))
        assert (LOGITS @ torch.eye(3)).dtype == torch.bfloat16


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_instance_without_a_batch_dimension(reduction):
    label, logit, value = torch.tensor(2), torch.tensor(0.3), torch.tensor(-1.5)
    cross_entropy, mse = (get_handcrafted(name, reduction) for name in ("cross_entropy", "mse"))
    wanted = functional.cross_entropy(LOGITS[0], label, reduction=reduction)
    torch.testing.assert_close(cross_entropy(LOGITS[0], label), wanted)
    for target in (torch.tensor(1), torch.tensor(1.0), torch.tensor(0.25)):
        wanted = functional.binary_cross_entropy_with_logits(logit, target.float(), reduction=reduction)
        torch.testing.assert_close(cross_entropy(logit, target), wanted)
    torch.testing.assert_close(mse(logit, value), functional.mse_loss(logit, value, reduction=reduction))
    symbolic = loss(reduction=reduction)
    alone = symbolic(LOGITS[0], label, torch.tensor(1.0))
    assert alone.shape == ()
    assert torch.equal(alone, symbolic(LOGITS[:1], label[None]).squeeze())
    assert cross_entropy(LOGITS[0], torch.tensor(-100)).nan_to_num() == 0


def test_the_names_of_pytorchs_criteria_and_whatever_holds_numbers():
    weight = [1.0, 0.0, 2.0]
    for criterion in (loss(), get_handcrafted("cross_entropy")):
        wanted = criterion(LOGITS, LABELS)
        assert torch.equal(criterion(input=LOGITS, target=LABELS), wanted)
        assert torch.equal(criterion(LOGITS, target=LABELS), wanted)
        assert torch.equal(criterion(outputs=LOGITS, targets=LABELS.numpy()), wanted)
        assert torch.equal(criterion(LOGITS, LABELS.tolist()), wanted)
        assert torch.equal(criterion(LOGITS, np.ma.array(LABELS.numpy(), mask=False)), wanted)
        weighted = criterion(LOGITS, LABELS, torch.tensor(weight))
        assert torch.equal(criterion(LOGITS, LABELS, weight), weighted)
        assert torch.equal(criterion(LOGITS, LABELS, np.array(weight)), weighted)
        with pytest.raises(DataError, match=r"^outputs and input are the same argument; give one of them$"):
            criterion(LOGITS, LABELS, input=LOGITS)


@pytest.mark.parametrize("label", [255, -1, 0, np.int64(1), torch.tensor(2)])
def test_any_whole_number_may_be_ignored(label):
    labels = torch.tensor([0, int(label), 1])
    for make in (lambda **s: get_handcrafted("cross_entropy", **s), loss):
        values = make(ignore_index=label, reduction="none")(LOGITS, labels)
        assert [bool(value) for value in values] == [kept != int(label) for kept in labels.tolist()]


@pytest.mark.parametrize("label", ["x", 1.5, True, float("nan"), 2**70, [1], torch.tensor([1, 2])])
def test_nothing_else_may(label):
    for make in (lambda **s: get_handcrafted("cross_entropy", **s), loss):
        with pytest.raises(SettingError) as caught:
            make(ignore_index=label)
        assert str(caught.value) == (
            f"ignore_index is {label!r}; give the label that does not count as a whole number, such as -100, or None"
        )


def test_sample_weights_that_do_not_fit():
    with pytest.raises(DataError) as caught:
        loss()(LOGITS, LABELS, torch.ones(2))
    assert str(caught.value) == "sample_weight has shape [2]; give [3]"
    with pytest.raises(DataError) as caught:
        loss()(torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.int64), torch.ones(4))
    assert str(caught.value) == "sample_weight has shape [4]; give [2] or [2, 4]"


def test_the_reduction_may_be_set_but_only_to_one_that_there_is():
    criterion = evomal.SymbolicLoss("square(sub(y, f))", task_type="regression")
    criterion.reduction = "sum"
    assert criterion(torch.ones(3), torch.zeros(3)) == 3
    with pytest.raises(SettingError, match=r"^reduction is 'bogus'; use 'mean', 'sum' or 'none'$"):
        criterion.reduction = "bogus"
    assert criterion.reduction == "sum"
