"""Audits of losses whose properties are known: cross-entropy, focal, absolute and squared error, and some odd ones."""

import json

import pytest

from evomal.analysis import audit
from evomal.foundation.errors import DataError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.losses.published import published_loss

FREE = [name for name, entry in HANDCRAFTED.items() if not entry.needs_class_counts]


def _formula(text, task_type="classification", weights=None):
    return SymbolicLoss(text, weights, task_type=task_type)


def test_cross_entropy():
    found = audit(HandcraftedLoss("cross_entropy"), classes=2)
    assert found.weights == pytest.approx({"easy": 0.1, "hard": 0.8, "wrong": 1.9})  # 2·(1 - p)
    assert (found.minimum, found.falls, found.bounded) == (0.999, True, False)
    assert found.properness == 0
    assert found.lipschitz == pytest.approx(2**0.5, rel=0.01)
    assert found.asymmetry > 0.5


def test_focal_is_not_proper_and_looks_at_what_is_wrong():
    found = audit(HandcraftedLoss("focal"), classes=2)
    # Charoenphakdee et al. 2021: focal loss is calibrated for classification but not proper.
    assert found.properness > 0.05
    assert found.weights["easy"] < 0.05
    assert found.weights["wrong"] > 2.5


def test_the_absolute_error_of_probabilities_is_symmetric_and_bounded():
    found = audit(_formula("abs(sub(y, f))"), classes=10)
    assert found.asymmetry < 1e-6
    assert found.bounded
    assert found.greatest == pytest.approx(2, abs=1e-3)
    assert found.weights["wrong"] == pytest.approx(0.19, abs=0.01)  # p·(1 - p) over 1/4
    assert any("robust to symmetric label noise" in sentence for sentence in found.words())


def test_the_squared_error_of_probabilities_is_proper():
    assert audit(_formula("square(sub(y, f))"), classes=5).properness <= 0.005  # Brier's score


def test_label_smoothing_has_its_minimum_at_the_smoothed_label():
    found = audit(HandcraftedLoss("label_smoothed_cross_entropy"), classes=10)
    assert found.minimum == pytest.approx(0.91, abs=0.002)
    assert found.nearest[0].name == "label_smoothed_cross_entropy"


@pytest.mark.parametrize("name", FREE)
def test_every_known_loss_is_nearest_to_itself(name):
    found = audit(HandcraftedLoss(name))
    same = {known.name for known in found.nearest if known.distance < 1e-6}
    # The quantile loss is half the absolute error at its default, the median.
    assert same == ({"mae", "quantile"} if name in ("mae", "quantile") else {name})
    assert found.ablation is None


@pytest.mark.parametrize(("name", "large"), [("mse", 3), ("mae", 1), ("huber", 1)])
def test_regression(name, large):
    found = audit(HandcraftedLoss(name))
    assert found.weights["large"] == pytest.approx(large)
    assert (found.minimum, found.falls, found.bounded, found.properness) == (0, True, False, None)
    assert found.asymmetry == pytest.approx(0, abs=1e-9)


def test_a_bounded_and_a_lopsided_regression_loss():
    bounded = audit(_formula("tanh(square(sub(y, f)))", "regression"))
    assert bounded.bounded
    assert bounded.greatest == pytest.approx(1)
    assert bounded.weights["large"] < 0.01
    lopsided = audit(_formula("add(square(sub(y, f)), mul(f, add(1, mul(0, y))))".replace("0", "-1"), "regression"))
    assert lopsided.asymmetry > 0.05
    assert lopsided.minimum != 0


def test_a_loss_that_pushes_the_wrong_way_is_told():
    found = audit(_formula("mul(y, f)"), classes=3)
    assert found.minimum < 0.01
    assert found.weights["hard"] == pytest.approx(0.96, abs=0.02)  # relative to the start, which pushes down, too
    handcrafted = [known.distance for known in found.nearest if known.name in HANDCRAFTED]
    assert min(handcrafted) == 1  # it points against all of them


def test_parts_that_do_nothing_are_found_and_cut():
    loss = _formula("add(square(sub(y, f)), abs(tanh(square(y))))", "regression", [1.5, 1, 1, 1, 1, 1, 1, 1])
    found = audit(loss).ablation
    assert [part.text for part in found.parts if part.idle] == ["abs(tanh(y²))", "tanh(y²)", "y²", "y"]
    assert (found.shortest, found.left, found.of) == ("(y - f)²", 4, 9)
    assert found.change < 1e-9
    assert audit(_formula("square(sub(y, f))", "regression")).words()[-1].startswith("No part of the formula")


def test_an_absolute_value_of_what_is_positive_is_cut():
    found = audit(_formula("abs(square(sub(y, f)))", "regression", [2, 1, 1, 1])).ablation
    assert (found.shortest, found.left) == ("(y - f)²", 4)


def test_a_part_without_which_y_or_f_is_missing_cannot_be_cut():
    parts = {part.text: part.change for part in audit(_formula("square(sub(y, f))")).ablation.parts}
    assert parts == {"y - f": None, "y": None, "f": None}


@pytest.mark.parametrize(
    "loss",
    [
        TaylorLoss([0, 0, 0, -1, 0, 2, 0, 0], task_type="classification"),
        NeuralLoss(task_type="regression", hidden=3),
        _formula("mul(y, sign(f))"),
        _formula("sign(mul(y, f))", "regression"),
        _formula("square(square(square(square(square(add(y, f))))))", "regression", [1e6] * 7),
    ],
    ids=str,
)
def test_any_loss_can_be_audited(loss):
    found = audit(loss)
    assert len(found.words()) >= 6
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("name", ["logit_adjusted_cross_entropy", "class_weighted_cross_entropy"])
def test_a_loss_with_class_counts_is_audited_for_their_classes(name):
    assert audit(HandcraftedLoss(name, class_counts=[30, 10, 2])).classes == 3
    even = audit(HandcraftedLoss(name, class_counts=[5, 5, 5]))
    assert even.weights == pytest.approx(audit(HandcraftedLoss("cross_entropy"), 3).weights)
    assert even.nearest[0].name == "cross_entropy"
    with pytest.raises(
        DataError, match=rf"^class_counts of loss '{name}' are for 3 classes but the outputs are for 4; "
    ):
        audit(HandcraftedLoss(name, class_counts=[5, 5, 5]), classes=4)


def test_a_published_form_of_cross_entropy_is_known_as_such():
    found = audit(published_loss("evomal_c"))
    assert found.nearest[0].name == "evomal_c"
    assert {known.name: known.distance for known in found.nearest}["cross_entropy"] < 0.1  # ε


def test_a_loss_that_looks_at_shares_and_progress():
    """With even shares and at a progress, it is the formula with these constants in their places."""
    text = "mul(-1, mul(add(prior, mul(progress, square(sub(1, f)))), mul(y, log(f))))"
    loss = SymbolicLoss(text, task_type="classification", prior=(0.5, 0.3, 0.2))
    loss.progress = 0.25
    weights = [1, 1, 1, 0.1, 1, 0.25, 1, 1, 1, 1, 1, 1, 1, 1]
    plain = SymbolicLoss(
        text.replace("prior", "1").replace("progress", "1"),
        weights[: loss.expression.edges],
        task_type="classification",
    )
    found, expected = audit(loss, classes=10), audit(plain, classes=10)
    assert found.progress == 0.25
    assert found.words()[0] == "It changes over a training; this is at progress 0.25."
    assert found.words()[1:4] == expected.words()[:3]
    assert found.weights == pytest.approx(expected.weights, rel=1e-4)
    assert any(part.text == "prior" and part.change is not None for part in found.ablation.parts)
    assert loss.prior == (0.5, 0.3, 0.2)
