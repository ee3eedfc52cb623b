"""Formulas of handcrafted losses against others of the same: NumPy, SciPy, PyTorch's own, limits and special cases."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import mean_pinball_loss
from torch.nn import functional

from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.losses import HANDCRAFTED, HandcraftedLoss
from evomal.losses.handcrafted_entries import split_name
from evomal.losses.handcrafted_formulas import tempered_softmax
from evomal.losses.handcrafted_table import full_name

COUNTS = [50, 3, 20, 7]
N = np.array(COUNTS, dtype=float)
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
LABELS = torch.tensor([3, 0, 1, 2, 0, 3])
PREDICTIONS = torch.tensor([[-3.0], [-0.4], [0.0], [0.7], [2.5], [9.0]], dtype=torch.float64)
ZEROS = torch.zeros_like(PREDICTIONS)


def _p(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def _ce(z, k):
    return math.log(np.exp(z - z[k]).sum())


def _nce(z, k):
    return math.log(_p(z)[k]) / sum(math.log(v) for v in _p(z))


def _tempered(z, t2):
    """Probabilities of the tempered softmax, its normalisation found by bracketing."""

    def probabilities(shift):
        return np.maximum(0, 1 + (1 - t2) * (z - shift)) ** (1 / (1 - t2))

    shift = brentq(lambda s: probabilities(s).sum() - 1, z.max() - 1e-12 - 0, z.max() + 1e4, xtol=1e-14)
    return probabilities(shift)


def _bi_tempered(z, k, t1=0.8, t2=1.2):
    p = _tempered(z, t2)

    def log_t(v):
        return (v ** (1 - t1) - 1) / (1 - t1)

    return -log_t(p[k]) - (1 - (p ** (2 - t1)).sum()) / (2 - t1)


def _vs(z, k, gamma=0.3):
    return _ce(z / (N.max() / N) ** gamma + np.log(N / N.sum()), k)


def _ldam(z, k):
    margin = 0.5 * (N.min() / N) ** 0.25
    return _ce(30 * (z - margin * (np.arange(4) == k)), k)


def _balanced(z, k):
    weight = (1 - 0.9999) / (1 - 0.9999**N)
    return 4 * weight[k] / weight.sum() * _ce(z, k)


# One instance at a time, in NumPy, as the papers write them for a single label k.
CLASSES = {
    "symmetric_cross_entropy": lambda z, k: 0.1 * _ce(z, k) - math.log(1e-4) * (1 - _p(z)[k]),
    "normalised_reverse_cross_entropy": lambda z, k: _nce(z, k) - math.log(1e-4) * (1 - _p(z)[k]),
    "normalised_agce": lambda z, k: _nce(z, k) + 4 * (7**1.5 - (6 + _p(z)[k]) ** 1.5) / 1.5,
    "normalised_aul": lambda z, k: _nce(z, k) + 4 * ((6.3 - _p(z)[k]) ** 1.5 - 5.3**1.5) / 1.5,
    "normalised_ael": lambda z, k: _nce(z, k) + 4 * math.exp(-_p(z)[k] / 5),
    "noise_corrected_cross_entropy": lambda z, k: -math.log((1 - 0.2 - 0.2 / 3) * _p(z)[k] + 0.2 / 3),
    "taylor_cross_entropy": lambda z, k: (1 - _p(z)[k]) + (1 - _p(z)[k]) ** 2 / 2,
    "bi_tempered_logistic": _bi_tempered,
    "poly1_cross_entropy": lambda z, k: _ce(z, k) + 2 * (1 - _p(z)[k]),
    "balanced_softmax": lambda z, k: -math.log(N[k] * np.exp(z[k]) / (N * np.exp(z)).sum()),
    "vector_scaling": _vs,
    "ldam": _ldam,
    "class_balanced_cross_entropy": _balanced,
    "cost_weighted_cross_entropy": lambda z, k: (1 if k == 0 else 5) * _ce(z, k),
}
VALUES = {
    "cauchy": lambda r: 2.385**2 / 2 * math.log(1 + (r / 2.385) ** 2),
    "welsch": lambda r: 2.985**2 / 2 * (1 - math.exp(-((r / 2.985) ** 2))),
    "tukey": lambda r: 4.685**2 / 6 * (1 - (1 - min(1, abs(r) / 4.685) ** 2) ** 3),
    "log_cosh": lambda r: math.log(math.cosh(r)),
    "general_robust": lambda r: math.sqrt(r**2 + 1) - 1,
    "quantile": lambda r: abs(r) / 2,
    "relative_error": lambda r: abs(r) / 0.1,  # of targets of zero
}
OLD = {
    "cross_entropy", "label_smoothed_cross_entropy", "class_weighted_cross_entropy", "logit_adjusted_cross_entropy",
    "focal", "generalised_cross_entropy", "mse", "mae", "huber",
}  # fmt: skip


def _loss(name, **kwargs):
    return HandcraftedLoss(name, class_counts=COUNTS, **kwargs)


def test_every_formula_has_its_oracle_here_or_beside():
    labels = {name for name in HANDCRAFTED if HANDCRAFTED[name].task_type == "multilabel"}  # in test_several_labels
    assert set(HANDCRAFTED) == OLD | set(CLASSES) | set(VALUES) | labels


@pytest.mark.parametrize("name", CLASSES)
def test_a_loss_of_classes_is_its_papers(name):
    found = _loss(name, reduction="none")(LOGITS, LABELS)
    expected = [CLASSES[name](z, k) for z, k in zip(LOGITS.numpy(), LABELS.tolist(), strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", VALUES)
def test_a_loss_of_values_is_its_papers(name):
    found = HandcraftedLoss(name, reduction="none")(PREDICTIONS, ZEROS).flatten()
    np.testing.assert_allclose(found.numpy(), [VALUES[name](r) for r in PREDICTIONS.flatten().tolist()], rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in HANDCRAFTED if name not in ("quantile", "mae", "relative_error")])
def test_slopes_are_those_of_finite_differences(name):
    x, y = (LOGITS, LABELS) if HANDCRAFTED[name].task_type == "classification" else (PREDICTIONS, ZEROS + 0.3)
    assert torch.autograd.gradcheck(lambda z: _loss(name)(z, y), x.clone().requires_grad_(), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(CLASSES)))
def test_soft_labels_that_are_hard_give_the_same(name):
    soft = functional.one_hot(LABELS, 4).double()
    torch.testing.assert_close(_loss(name)(LOGITS, soft), _loss(name)(LOGITS, LABELS))


@pytest.mark.parametrize("name", sorted(set(CLASSES) | OLD - {"mse", "mae", "huber", "label_smoothed_cross_entropy"}))
def test_a_masked_class_costs_nothing(name):
    masked = LOGITS.clone()
    masked[:, 1] = -math.inf
    labels = torch.tensor([3, 0, 3, 2, 0, 3])
    leaf = masked.requires_grad_()
    value = _loss(name)(leaf, labels)
    slope = torch.autograd.grad(value, leaf)[0]
    assert value.isfinite()
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bi_tempered_logistic(t1=1,t2=1)", "cross_entropy"),
        ("noise_corrected_cross_entropy(rate=0)", "cross_entropy"),
        ("vector_scaling(gamma=0)", "logit_adjusted_cross_entropy"),
        ("logit_adjusted_cross_entropy(tau=0)", "cross_entropy"),
        ("class_balanced_cross_entropy(beta=0)", "cross_entropy"),
        ("ldam(largest=0,scale=1)", "cross_entropy"),
        ("cost_weighted_cross_entropy(cost=1)", "cross_entropy"),
        ("poly1_cross_entropy(epsilon=0)", "cross_entropy"),
        ("focal(gamma=0)", "cross_entropy"),
        ("taylor_cross_entropy(order=1)", "generalised_cross_entropy(q=1)"),
    ],
)
def test_special_cases(one, other):
    torch.testing.assert_close(_loss(one)(LOGITS, LABELS), _loss(other)(LOGITS, LABELS), rtol=1e-8, atol=0)


def _sure(z):
    return 1 / (1 + mpmath.e**-z)


def _surprise(z):
    return mpmath.log1p(mpmath.e**-z)


def _tempered_surprise(z):
    return (1 - _sure(z) ** 0.2) / 0.2 - (1 - _sure(z) ** 1.2 - _sure(-z) ** 1.2) / 1.2


# Of one logit z, that of the true class of two.
CERTAIN = {
    "focal(gamma=0.5)": lambda z: _sure(-z) ** 0.5 * _surprise(z),
    "binary_focal(gamma=0.5)": lambda z: _sure(-z) ** 0.5 * _surprise(z),
    "asymmetric(gamma_true=0.5)": lambda z: _sure(-z) ** 0.5 * _surprise(z),
    "noise_corrected_cross_entropy(rate=0)": _surprise,
    "bi_tempered_logistic(t1=1,t2=1)": _surprise,
    "bi_tempered_logistic(t2=1)": _tempered_surprise,
    "normalised_aul(alpha=0,beta=1,a=1,q=0.5)": lambda z: _sure(-z) ** 0.5 / 0.5,
    "normalised_agce(alpha=0,beta=1,a=0.001,q=0.5)": lambda z: (1.001**0.5 - (0.001 + _sure(z)) ** 0.5) / 0.5,
}


@pytest.mark.parametrize("z", [-2000.0, -150.0, -30.0, 30.0, 150.0, 2000.0])
@pytest.mark.parametrize("name", CERTAIN)
def test_probabilities_of_0_and_1_leave_value_and_slope_what_they_are(name, z):
    z = torch.tensor([z], requires_grad=True)
    several = HANDCRAFTED[name].task_type == "multilabel"
    value = HandcraftedLoss(name)(z, torch.tensor([1.0]) if several else torch.tensor([1]))
    (slope,) = torch.autograd.grad(value, z)
    with mpmath.workdps(50):
        at, step = mpmath.mpf(z.item()), mpmath.mpf("1e-15")
        exact = float(CERTAIN[name](at))
        rise = float((CERTAIN[name](at + step) - CERTAIN[name](at - step)) / (2 * step))
    assert value.item() == pytest.approx(exact, rel=1e-5, abs=1e-5)
    assert slope.item() == pytest.approx(rise, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("gamma", [0, 0.5, 4])
def test_a_label_that_is_false_and_surely_predicted_is_unlearnt_where_there_is_no_margin(gamma):
    z = torch.tensor([[50.0]], requires_grad=True)
    value = HandcraftedLoss(f"asymmetric(gamma_false={gamma},margin=0)")(z, torch.tensor([[0.0]]))
    value.backward()
    assert (value.item(), z.grad.item()) == (50.0, 1.0)


@pytest.mark.parametrize("name", [v for n in HANDCRAFTED for v in HANDCRAFTED.variants(n)])
def test_no_variant_has_a_slope_that_is_no_number(name):
    if HANDCRAFTED[name].task_type == "regression":
        x, y = torch.tensor([[-1e12], [-1e-20], [0.0], [1e-6], [1e6]]), torch.zeros(5, 1)
    elif HANDCRAFTED[name].task_type == "multilabel":
        x, y = torch.tensor([[-1e3, -90.0, 0.0, 90.0, 1e3]] * 2), torch.tensor([[0.0] * 5, [1.0] * 5])
    else:
        x = torch.tensor([[90.0, 0, -90, 0], [1e3, -1e3, 0, 0], [1e4, 0, 0, 0], [0, 0, 0, 0]])
        x, y = x.repeat_interleave(4, 0), torch.arange(4).repeat(4)
    x.requires_grad_()
    values = _loss(name, reduction="none")(x, y)
    values.sum().backward()
    assert values.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [1e-7, -1e-4, 0.05])
def test_the_general_loss_is_as_exact_near_its_limit_at_0(alpha):
    found = HandcraftedLoss(f"general_robust(alpha={alpha})", reduction="none")(PREDICTIONS.float(), ZEROS.float())
    distance = mpmath.mpf(abs(alpha - 2))
    with mpmath.workdps(50):
        expected = [
            float(distance / alpha * ((mpmath.mpf(r) ** 2 / distance + 1) ** (mpmath.mpf(alpha) / 2) - 1))
            for r in PREDICTIONS.float().flatten().tolist()
        ]
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("alpha", "limit"),
    [(2, lambda r: r**2 / 2), (0, lambda r: math.log(r**2 / 2 + 1)), (-2, lambda r: 2 * r**2 / (r**2 + 4))],
)
def test_the_general_loss_has_the_special_cases_of_its_paper(alpha, limit):
    found = HandcraftedLoss(f"general_robust(alpha={alpha})", reduction="none")(PREDICTIONS, ZEROS).flatten()
    np.testing.assert_allclose(found.numpy(), [limit(r) for r in PREDICTIONS.flatten().tolist()], rtol=1e-9)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_quantile_loss_is_scikit_learns(q):
    targets = torch.tensor([[1.0], [0.0], [-2.0], [0.5], [3.0], [8.0]], dtype=torch.float64)
    found = HandcraftedLoss(f"quantile(q={q})")(PREDICTIONS, targets)
    assert float(found) == pytest.approx(mean_pinball_loss(targets, PREDICTIONS, alpha=q))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=8), st.floats(1.01, 2))
def test_a_tempered_softmax_sums_to_one(logits, t):
    found = tempered_softmax(torch.tensor([logits], dtype=torch.float64), t)
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)
    assert (found >= 0).all()


def test_log_cosh_does_not_overflow():
    assert float(HandcraftedLoss("log_cosh")(torch.tensor([1e4]), torch.tensor([0.0]))) == pytest.approx(
        1e4 - math.log(2)
    )


def test_names_with_parameters():
    assert split_name("focal( gamma = 3 )") == ("focal", {"gamma": 3.0})
    assert full_name("focal(gamma=2)") == "focal"
    assert _loss("focal(gamma=3.0)").name == "focal(gamma=3)"
    assert all(variant in HANDCRAFTED for name in HANDCRAFTED for variant in HANDCRAFTED.variants(name))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("focal(gama=3)", r"^unknown parameter of loss 'focal' 'gama'; did you mean 'gamma'\?"),
        (
            "taylor_cross_entropy(order=2.5)",
            "^loss 'taylor_cross_entropy': order 2.5 is no whole number; give such as 2$",
        ),
        ("focal(gamma=-1)", r"^loss 'focal': gamma -1 is out of range; give 0 to 20$"),
        (
            "focal(gamma=nan)",
            r"^loss 'focal\(gamma=nan\)': 'gamma=nan' is no parameter; write such as focal\(gamma",
        ),
        ("mse(delta=1)", r"^loss 'mse' has no parameters, so no 'delta'; write mse$"),
        ("focal(3)", r"'3' is no parameter"),
        ("focal(gamma=1,gamma=2)", r"'gamma=2' is no parameter"),
    ],
)
def test_odd_parameters_are_refused(text, error):
    with pytest.raises((SettingError, UnknownNameError), match=error):
        HandcraftedLoss(text)
