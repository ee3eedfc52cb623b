"""Handcrafted losses in lanes give what each gives alone, by autograd."""

import pytest
import torch
from torch import nn
from torch.autograd import grad

from evomal.foundation.errors import DataError
from evomal.losses import HandcraftedLoss, SymbolicLoss, get_handcrafted
from evomal.losses.batched import BatchingError
from evomal.losses.batched_families import MixedLosses
from evomal.losses.batched_handcrafted import StackedHandcrafted, stackable
from evomal.losses.handcrafted_table import HANDCRAFTED

CLASSES = 4


def known(task_type):
    """All handcrafted losses of a task type, each in one lane, the first in three, two of them at other parameters."""
    names = [name for name, entry in HANDCRAFTED.items() if entry.task_type == task_type]
    more = {"classification": "focal(gamma=3)", "regression": "cauchy(c=1)", "multilabel": "binary_focal(gamma=1)"}
    named = [names[0], *names, more[task_type], names[0]]
    counts = {name: [9, 4, 3, 1] for name in named if HANDCRAFTED[name].needs_class_counts}
    return [get_handcrafted(name, class_counts=counts.get(name)) for name in named]


def drawn(task_type, kind, lanes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = {"flat": (6,), "one": (6, 1), "deep": (6, CLASSES, 3)}.get(kind, (6, CLASSES))
    outputs = torch.randn(lanes, *shape, generator=rng, dtype=torch.float64)
    if task_type == "regression":
        return outputs, torch.randn(shape, generator=rng, dtype=torch.float64)
    if task_type == "multilabel":
        return outputs, torch.randint(0, 2, shape, generator=rng).double()
    if kind == "soft":
        return outputs, torch.rand(shape, generator=rng, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, CLASSES, (6, 3) if kind == "deep" else (6,), generator=rng)
    labels[1] = -100 if kind == "ignored" else labels[1]
    return outputs, labels


def assert_as_alone(losses, outputs, targets, found):
    for loss, own, value, slope in zip(losses, outputs, *found, strict=True):
        leaf = own.clone().requires_grad_()
        alone = loss(leaf, targets)
        torch.testing.assert_close(value, alone.detach(), msg=lambda text, loss=loss: f"{loss.name}: {text}")
        torch.testing.assert_close(slope, grad(alone, leaf)[0], msg=lambda text, loss=loss: f"{loss.name}: {text}")
    assert not any(each.requires_grad for each in found)


@pytest.mark.parametrize(
    ("task_type", "kind"),
    [("classification", kind) for kind in ("labels", "soft", "deep", "ignored")]
    + [("regression", kind) for kind in ("flat", "one", "several", "deep")]
    + [("multilabel", kind) for kind in ("several", "deep")],
)
def test_every_handcrafted_loss_in_lanes_is_what_it_is_alone(task_type, kind):
    losses = known(task_type)
    outputs, targets = drawn(task_type, kind, len(losses))
    assert_as_alone(losses, outputs, targets, StackedHandcrafted(losses).slopes(outputs, targets))


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_logit_for_two_classes(shape):
    losses = [get_handcrafted(name) for name in ("cross_entropy", "focal", "cross_entropy")]
    outputs = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(3, *shape)
    targets = torch.tensor([0, 1, 1, 0, 1])
    assert_as_alone(losses, outputs, targets, StackedHandcrafted(losses).slopes(outputs, targets))


def test_losses_of_one_name_but_other_class_counts_stay_apart():
    losses = [HandcraftedLoss("logit_adjusted_cross_entropy", class_counts=n) for n in ([9, 1], [1, 9], [9, 1])]
    outputs, targets = torch.zeros(3, 1, 2, dtype=torch.float64), torch.tensor([0])
    values, _ = StackedHandcrafted(losses).slopes(outputs, targets)
    oracle = [-torch.tensor([0.9, 0.1, 0.9], dtype=torch.float64).log()]
    torch.testing.assert_close(values, *oracle)
    assert_as_alone(losses, outputs, targets, StackedHandcrafted(losses).slopes(outputs, targets))


def test_half_precision_is_computed_in_single():
    losses = known("classification")
    outputs, targets = drawn("classification", "labels", len(losses))
    values, slopes = StackedHandcrafted(losses).slopes(outputs.bfloat16(), targets)
    assert (values.dtype, slopes.dtype) == (torch.float32, torch.bfloat16)
    assert_as_alone(losses, outputs.bfloat16(), targets, (values, slopes))


def test_a_label_without_a_class_is_named_as_by_one_loss():
    both, outputs = StackedHandcrafted([HandcraftedLoss("cross_entropy")] * 2), torch.zeros(2, 3, CLASSES)
    with pytest.raises(DataError, match=r"targets hold labels from 0 to 4 .* but the outputs are for 4 classes"):
        both.slopes(outputs, torch.tensor([0, 1, 4]))


def test_losses_of_different_contracts_are_not_stacked():
    with pytest.raises(BatchingError, match="alike in task type, reduction and ignored label"):
        StackedHandcrafted([HandcraftedLoss("cross_entropy"), HandcraftedLoss("focal", ignore_index=None)])


class Doubled(HandcraftedLoss):
    def per_instance(self, outputs, targets):
        return 2 * super().per_instance(outputs, targets)


def hooked():
    loss = HandcraftedLoss("cross_entropy")
    loss.register_forward_hook(lambda module, args, value: 3 * value)
    return loss


def test_what_somebody_changed_is_computed_alone():
    changed = [Doubled("focal"), hooked(), HandcraftedLoss("focal", reduction="sum"), nn.functional.cross_entropy]
    assert not any(map(stackable, changed))
    losses = [HandcraftedLoss("focal"), *changed]
    formula = SymbolicLoss("mul(y, log(f))", task_type="classification")
    outputs, targets = drawn("classification", "labels", len(losses) + 1)
    mixed = MixedLosses([*losses, formula])
    found = mixed.slopes(outputs, targets, mixed.coefficients())
    values = found[0].tolist()
    for place, name, times in (
        (0, "focal", 1),
        (1, "focal", 2),
        (2, "cross_entropy", 3),
        (3, "focal", 6),
        (4, "cross_entropy", 1),
    ):
        alone = times * HandcraftedLoss(name)(outputs[place], targets)
        assert values[place] == pytest.approx(alone.item())
    leaf = outputs[-1].clone().requires_grad_()
    torch.testing.assert_close(found[1][-1], grad(formula(leaf, targets), leaf)[0], rtol=1e-5, atol=1e-7)
