import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from evomal.foundation.errors import DataError, SettingError, UnknownNameError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, get_handcrafted

COUNTS = [50, 3, 20, 7]
REGRESSION = {"mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.huber_loss}
WEIGHTED = "class_weighted_cross_entropy"
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([3, 0, 1, 2, 0, 3])


def _balanced(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    weights = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    return torch.tensor(weights, dtype=torch.float64)


def _weighted(z, y):
    return -(y * _balanced(COUNTS) * torch.log_softmax(z, 1)).sum(1)


def _adjusted(z, y):
    # Menon et al., Equation 10 with τ = 1: log(1 + Σ_c' (π_c'/π_c)·exp(z_c' - z_c)), label by label.
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    ratios = prior[None, None, :] / prior[None, :, None] * torch.exp(z[:, None, :] - z[:, :, None])
    return (y * ratios.sum(2).log()).sum(1)


def _focal(z, y):
    p = torch.softmax(z, 1)
    return -(y * (1 - p) ** 2 * p.log()).sum(1)


def _generalised(z, y):
    return (y * (1 - torch.softmax(z, 1) ** 0.7) / 0.7).sum(1)


ORACLES = {
    "label_smoothed_cross_entropy": lambda z, y: functional.cross_entropy(z, 0.9 * y + 0.1 / 4, reduction="none"),
    "class_weighted_cross_entropy": _weighted,
    "logit_adjusted_cross_entropy": _adjusted,
    "focal": _focal,
    "generalised_cross_entropy": _generalised,
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _same(ours, theirs, outputs):
    """Equal value and equal gradient with respect to the outputs."""
    values, gradients = [], []
    for function in (ours, theirs):
        leaf = outputs.detach().clone().requires_grad_()
        values.append(function(leaf))
        gradients.append(torch.autograd.grad(values[-1].sum(), leaf)[0])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1], equal_nan=True)
    assert gradients[1].abs().sum() != 0


def test_which_losses_count_classes():
    counted = {name for name, entry in HANDCRAFTED.items() if entry.needs_class_counts}
    usual = {"class_weighted_cross_entropy", "logit_adjusted_cross_entropy", "class_balanced_cross_entropy"}
    assert counted == usual | {"balanced_softmax", "vector_scaling", "ldam"}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 3, 2)])
def test_cross_entropy_on_labels(shape, ignored, reduction):
    logits = torch.randn(6, 4, *shape[1:])
    labels = torch.randint(0, 4, shape)
    labels[0] = ignored
    _same(
        lambda z: get_handcrafted("cross_entropy", reduction, ignored)(z, labels),
        lambda z: functional.cross_entropy(z, labels, ignore_index=ignored, reduction=reduction),
        logits,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_on_soft_labels(reduction):
    soft = torch.softmax(torch.randn(6, 4), dim=1)
    _same(
        lambda z: get_handcrafted("cross_entropy", reduction)(z, soft),
        lambda z: functional.cross_entropy(z, soft, reduction=reduction),
        LOGITS,
    )


@pytest.mark.parametrize("ignored", [-100, None])
def test_the_fused_kernel_and_the_general_way_agree(ignored):
    labels = LABELS.clone()
    if ignored is not None:
        labels[1] = ignored
    loss = get_handcrafted("cross_entropy", ignore_index=ignored)
    # Sample weights of 1 and labels of 32 bits lead past the kernel.
    _same(lambda z: loss(z, labels), lambda z: loss(z, labels, torch.ones(6)), LOGITS)
    _same(lambda z: loss(z, labels), lambda z: loss(z, labels.int()), LOGITS)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_one_output_is_binary_cross_entropy_with_logits(soft, reduction):
    z = 3 * torch.randn(7)
    targets = torch.rand(7) if soft else torch.randint(0, 2, (7,))
    loss = get_handcrafted("cross_entropy", reduction)
    oracle = functional.binary_cross_entropy_with_logits
    _same(lambda z: loss(z, targets), lambda z: oracle(z, targets.float(), reduction=reduction), z)
    _same(
        lambda z: loss(z, targets),
        lambda z: oracle(z.squeeze(1), targets.float(), reduction=reduction),
        z.unsqueeze(1),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (5, 3, 2)])
@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_regression_reduces_as_pytorch_does(name, shape, reduction):
    outputs = 2 * torch.randn(shape)
    targets = torch.randn(shape)
    loss, oracle = get_handcrafted(name, reduction), REGRESSION[name]
    column = shape == (5, 1) and reduction == "none"  # a column means a row, here as everywhere

    def expected(f):
        values = oracle(f, targets, reduction=reduction)
        return values.squeeze(1) if column else values

    _same(lambda f: loss(f, targets), expected, outputs)


@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_weights_of_instances_hold_for_all_their_outputs(name):
    outputs, targets, weight = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([1.0, 0.0, 2.0, 0.5, 3.0])
    values = REGRESSION[name](outputs, targets, reduction="none") * weight[:, None]
    torch.testing.assert_close(get_handcrafted(name, "none")(outputs, targets, weight), values)
    torch.testing.assert_close(get_handcrafted(name, "sum")(outputs, targets, weight), values.sum())
    mean = get_handcrafted(name)(outputs, targets, weight)
    torch.testing.assert_close(mean, values.mean(1).sum() / weight.sum())
    with pytest.raises(DataError, match=r"^sample_weight has shape \[5, 3\]; give \[5\]$"):
        get_handcrafted(name, "sum")(outputs, targets, torch.ones(5, 3))


def _pytorchs(name, counts):
    """PyTorch's own way to a loss of each instance, on labels."""
    counts = torch.tensor(counts).double()
    weight = counts.sum() / len(counts) / counts
    return {
        "cross_entropy": lambda z, y: functional.cross_entropy(z, y, reduction="none"),
        "class_weighted_cross_entropy": lambda z, y: functional.cross_entropy(z, y, weight, reduction="none"),
        "logit_adjusted_cross_entropy": lambda z, y: functional.cross_entropy(z + counts.log(), y, reduction="none"),
        "label_smoothed_cross_entropy": lambda z, y: functional.cross_entropy(
            z, y, reduction="none", label_smoothing=0.1
        ),
        "focal": lambda z, y: (1 - _of_label(z, y)) ** 2 * -_of_label(z, y).log(),
        "generalised_cross_entropy": lambda z, y: (1 - _of_label(z, y) ** 0.7) / 0.7,
    }[name]


def _of_label(z, y):
    return torch.softmax(z, 1).gather(1, y[:, None])[:, 0]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("name", ["cross_entropy", *ORACLES])
def test_a_class_that_is_masked_costs_what_it_does_in_pytorch(name, dtype, weighted, soft):
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    logits[:, 3] = -math.inf
    logits[1, 0] = -math.inf
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5, 3.0]).double() if weighted else torch.ones(6).double()
    targets = functional.one_hot(labels, 4).double() if soft else labels.to(dtype)
    loss = get_handcrafted(name, "sum", class_counts=COUNTS)
    oracle = _pytorchs(name, COUNTS)
    if name == "label_smoothed_cross_entropy":  # smoothing wants something of every class
        assert loss(logits, targets).item() == math.inf == oracle(logits, labels).sum().item()
        return

    def expected(z):
        return (weight * oracle(z, labels)).sum()

    _same(lambda z: loss(z, targets, weight if weighted else None), expected, logits)
    (slope,) = torch.autograd.grad(loss(logits.requires_grad_(), targets), logits)
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", [name for name, entry in HANDCRAFTED.items() if entry.task_type == "classification"])
def test_an_ignored_instance_may_have_any_class_masked(name):
    logits, labels = torch.randn(3, 4), torch.tensor([1, -100, 2])
    logits[1, :2] = -math.inf
    loss = get_handcrafted(name, class_counts=COUNTS)
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels.int())
    torch.testing.assert_close(value, loss(logits[::2], labels[::2]))
    (slope,) = torch.autograd.grad(value, leaf)
    assert slope.isfinite().all() or name == "label_smoothed_cross_entropy"
    assert not slope[1].nan_to_num().any()


def test_a_masked_class_of_soft_labels_keeps_the_slope_of_the_labels():
    soft = torch.softmax(torch.randn(6, 4), 1).requires_grad_()
    slopes = [
        torch.autograd.grad(function(LOGITS, soft), soft)[0]
        for function in (get_handcrafted("cross_entropy"), functional.cross_entropy)
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("name", ["per_instance", "reduce"])
def test_what_a_user_puts_in_place_of_a_part_counts(name):
    class Own(HandcraftedLoss):
        pass

    def zeros(self, outputs, targets, *_):
        return outputs.sum() * 0

    setattr(Own, name, zeros)
    patched = get_handcrafted("cross_entropy")
    setattr(patched, name, zeros.__get__(patched))
    for loss in (Own("cross_entropy"), patched, Own("mse", "sum")):
        targets = LABELS if loss.task_type == "classification" else LOGITS
        assert loss(LOGITS, targets) == 0


@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("soft", [False, True])
def test_classification_losses_are_their_papers_formulas(name, soft):
    logits = 3 * LOGITS.double()
    y = torch.softmax(torch.randn(6, 4, dtype=torch.float64), 1) if soft else torch.eye(4, dtype=torch.float64)[LABELS]
    loss = get_handcrafted(name, "none", class_counts=COUNTS)
    _same(lambda z: loss(z, y if soft else LABELS), lambda z: ORACLES[name](z, y), logits)
    single = loss(logits.float(), y.float() if soft else LABELS)
    torch.testing.assert_close(single, ORACLES[name](logits, y).float())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_label_smoothing_is_pytorchs(reduction):
    loss = get_handcrafted("label_smoothed_cross_entropy", reduction)
    oracle = functional.cross_entropy
    _same(lambda z: loss(z, LABELS), lambda z: oracle(z, LABELS, reduction=reduction, label_smoothing=0.1), LOGITS)


def test_on_the_training_data_class_weights_keep_the_scale():
    # There, the mean over the batch is PyTorch's mean, which divides by the batch's own weights.
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    logits = torch.randn(len(labels), 4)
    weight = _balanced(COUNTS).float()
    loss = get_handcrafted("class_weighted_cross_entropy", class_counts=torch.tensor(COUNTS))
    _same(lambda z: loss(z, labels), lambda z: functional.cross_entropy(z, labels, weight), logits)
    values = get_handcrafted("class_weighted_cross_entropy", "none", class_counts=COUNTS)(torch.zeros(80, 4), labels)
    assert values.mean().item() == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize("name", [name for name, entry in HANDCRAFTED.items() if entry.needs_class_counts])
def test_a_class_without_labels_counts_as_one_with_a_single_label(name):
    one, none = (get_handcrafted(name, "none", class_counts=[30, count, 10]) for count in (1, 0))
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    for loss in (one, none):
        leaf = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, labels).sum(), leaf)
        assert slope.isfinite().all()
    # Weights of classes that there are: scikit-learn's, which leaves the others out.
    ratio = none(logits, labels) / one(logits, labels)
    torch.testing.assert_close(ratio, torch.full((6,), 1.0 if name != WEIGHTED else (40 / 2) / (41 / 3)))


@pytest.mark.parametrize("name", ["focal", "generalised_cross_entropy"])
def test_hopeless_and_perfect_predictions_have_finite_slopes(name):
    logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [0.0, 0.0]], requires_grad=True)
    loss = get_handcrafted(name, "none")
    values = loss(logits, torch.tensor([0, 0, 0]))
    (slope,) = torch.autograd.grad(values.sum(), logits)
    assert values.isfinite().all()
    assert slope.isfinite().all()
    assert values[0] == 0
    assert values[1].item() == pytest.approx(600.0 if name == "focal" else 1 / 0.7)


@pytest.mark.parametrize("name", ["class_weighted_cross_entropy", "logit_adjusted_cross_entropy", "balanced_softmax"])
def test_one_output_takes_two_class_counts(name):
    z, targets = torch.randn(6), torch.tensor([0, 1, 1, 0, 1, 0])
    loss = get_handcrafted(name, class_counts=[90, 10])
    if name == "class_weighted_cross_entropy":
        weight = torch.where(targets == 1, 100 / 20, 100 / 180)
        expected = functional.binary_cross_entropy_with_logits(z, targets.float(), weight)
    else:
        expected = functional.binary_cross_entropy_with_logits(z + math.log(10 / 90), targets.float())
    torch.testing.assert_close(loss(z, targets), expected)


@pytest.mark.parametrize("name", [name for name, entry in HANDCRAFTED.items() if entry.needs_class_counts])
def test_class_counts_that_are_missing_or_odd(name):
    with pytest.raises(SettingError) as caught:
        get_handcrafted(name)
    assert str(caught.value) == (
        f"loss '{name}' depends on how often each class occurs; give class_counts, the number of training labels of "
        "each class"
    )
    for counts in ([3, -1], [0, 0], [1.5, 2], [math.nan, 1], [math.inf, 1], [[1, 2]], 3, ["a"], "ab", []):
        with pytest.raises(SettingError) as caught:
            get_handcrafted(name, class_counts=counts)
        assert str(caught.value) == (
            f"class_counts of loss '{name}' must be whole numbers, none below 0 and not all 0; give the number of "
            "training labels of each class"
        )
    with pytest.raises(DataError) as caught:
        get_handcrafted(name, class_counts=[3, 4])(LOGITS, LABELS)
    assert str(caught.value) == (
        f"class_counts of loss '{name}' are for 2 classes but the outputs are for 4; give one number for each class"
    )


def test_class_counts_are_a_buffer_of_those_that_need_them():
    counts = torch.tensor([3, 4])
    loss = get_handcrafted("logit_adjusted_cross_entropy", class_counts=counts)
    counts.zero_()
    assert loss.class_counts.tolist() == [3, 4]
    assert loss.to("meta").class_counts.device.type == "meta"
    assert get_handcrafted("logit_adjusted_cross_entropy", class_counts=[3.0, 4.0]).class_counts.dtype == torch.int64
    assert get_handcrafted("focal", class_counts=[3, 4]).class_counts is None
    assert list(loss.parameters()) == []


@pytest.mark.parametrize("ignored", [-100, None])
def test_a_label_without_a_class_is_named_on_the_short_way_too(ignored):
    with pytest.raises(DataError) as caught:
        get_handcrafted("cross_entropy", ignore_index=ignored)(LOGITS, LABELS + 4)
    assert str(caught.value).startswith("targets hold labels from ")
    assert str(caught.value).endswith(
        "but the outputs are for 4 classes; labels must lie in 0…3: mend them, or set the loss's ignore_index to a "
        "label that does not count"
    )


def test_none_ignores_nothing():
    labels = LABELS.clone()
    labels[0] = -100
    with pytest.raises(DataError, match="labels from -100 to"):
        get_handcrafted("cross_entropy", ignore_index=None)(LOGITS, labels)


def test_an_unknown_name():
    with pytest.raises(UnknownNameError) as caught:
        HandcraftedLoss("cross_entropi")
    known = ", ".join(sorted(HANDCRAFTED))
    assert str(caught.value) == f"unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (known: {known})"


def test_it_is_a_module_without_parameters_that_can_be_sent():
    loss = pickle.loads(pickle.dumps(get_handcrafted("huber", "sum")))
    assert (loss.name, loss.reduction, loss.task_type) == ("huber", "sum", "regression")
    assert list(loss.parameters()) == []
    assert repr(loss) == "HandcraftedLoss('huber')"
