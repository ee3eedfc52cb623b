import pickle

import pytest
import torch
from torch.nn import functional

from evomal.errors import DataError, UnknownNameError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, get_handcrafted

REGRESSION = {"mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.huber_loss}
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([3, 0, 1, 2, 0, 3])


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


def test_every_handcrafted_loss_has_its_oracle_here():
    assert set(HANDCRAFTED) == {"cross_entropy", *REGRESSION}


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


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (5, 3, 2)])
@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_regression_averages_as_pytorch_does(name, shape):
    outputs = 2 * torch.randn(shape)
    targets = torch.randn(shape)
    _same(lambda f: get_handcrafted(name)(f, targets), lambda f: REGRESSION[name](f, targets), outputs)


@pytest.mark.parametrize("ignored", [-100, None])
def test_a_label_without_a_class_is_named_on_the_short_way_too(ignored):
    with pytest.raises(DataError) as caught:
        get_handcrafted("cross_entropy", ignore_index=ignored)(LOGITS, LABELS + 4)
    assert str(caught.value).startswith("targets hold labels from ")
    assert str(caught.value).endswith("but the outputs are for 4 classes; labels must lie in 0…3")


def test_none_ignores_nothing():
    labels = LABELS.clone()
    labels[0] = -100
    with pytest.raises(DataError, match="labels from -100 to"):
        get_handcrafted("cross_entropy", ignore_index=None)(LOGITS, labels)


def test_an_unknown_name():
    with pytest.raises(UnknownNameError) as caught:
        HandcraftedLoss("cross_entropi")
    assert str(caught.value) == (
        "unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (known: cross_entropy, huber, mae, mse)"
    )


def test_it_is_a_module_without_parameters_that_can_be_sent():
    loss = pickle.loads(pickle.dumps(get_handcrafted("huber", "sum")))
    assert (loss.name, loss.reduction, loss.task_type) == ("huber", "sum", "regression")
    assert list(loss.parameters()) == []
    assert repr(loss) == "HandcraftedLoss('huber')"
