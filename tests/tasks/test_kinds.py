"""Metrics that are to be maximised are refused; all that are to be minimised pass."""

import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss, r2_score, roc_auc_score
from torch import nn
from torch.nn.functional import cross_entropy

from evomal.foundation.errors import SettingError
from evomal.tasks import METRICS, Task, probe

G = torch.Generator().manual_seed(0)
X = torch.randn(200, 4, generator=G)
TARGETS = {
    "two": (X[:, 0] > 0).long(),
    "five": torch.randint(0, 5, (200,), generator=G),
    "rare": (torch.arange(200) % 20 == 0).long(),
    "late": (torch.arange(200) >= 195).long(),
    "bits": (X[:, 0] > 0).float(),
    "soft": torch.softmax(torch.randn(200, 3, generator=G), 1),
    "numbers": X[:, :1] + 5,
    "vectors": X[:, :2],
}
OUTPUTS = {"two": 2, "five": 5, "rare": 2, "late": 2, "bits": 1, "soft": 3, "numbers": 1, "vectors": 2}


def _task(kind, metric):
    loss = "mse" if kind in ("numbers", "vectors") else "cross_entropy"
    task_type = "regression" if kind in ("numbers", "vectors") else "classification"

    def model():
        return nn.Linear(4, OUTPUTS[kind])

    valid = (X[:50], TARGETS[kind][:50]) if kind == "late" else None
    return Task(
        model, (X, TARGETS[kind]), valid, test=(X, TARGETS[kind]), task_loss=loss, metric=metric, task_type=task_type
    )


def _accuracy(outputs, targets):
    return accuracy_score(targets, outputs.argmax(1))


def _auc(outputs, targets):
    return roc_auc_score(targets, outputs[:, 1] - outputs[:, 0])


MAXIMISED = {
    "accuracy": ("two", _accuracy),
    "accuracy of five": ("five", _accuracy),
    "accuracy in per cent": ("five", lambda o, t: 100 * _accuracy(o, t)),
    "accuracy of bits": ("bits", lambda o, t: ((o[:, 0] > 0) == (t.reshape(-1) > 0.5)).float().mean()),
    "F1": ("rare", lambda o, t: f1_score(t, o.argmax(1), zero_division=0)),
    "AUC": ("two", _auc),
    "log-likelihood": ("two", lambda o, t: -cross_entropy(o, t)),
    "accuracy of soft labels": ("soft", lambda o, t: (o.argmax(1) == t.argmax(1)).float().mean()),
    "R²": ("numbers", lambda o, t: r2_score(t.reshape(-1), o.reshape(-1))),
    "correlation": ("numbers", lambda o, t: torch.corrcoef(torch.stack([o.reshape(-1), t.reshape(-1)]))[0, 1]),
    "negative error": ("vectors", lambda o, t: -(o - t).abs().mean()),
}
MAXIMISED["where there are no positives to judge on"] = ("late", _auc)
MINIMISED = {
    "1 - accuracy": ("two", lambda o, t: 1 - _accuracy(o, t)),
    "-accuracy": ("five", lambda o, t: -_accuracy(o, t)),
    "1 - F1": ("rare", lambda o, t: 1 - f1_score(t, o.argmax(1), zero_division=0)),
    "1 - AUC": ("two", lambda o, t: 1 - _auc(o, t)),
    "log loss": ("five", lambda o, t: log_loss(t, torch.softmax(o.double(), 1), labels=range(5))),
    "Brier score": ("bits", lambda o, t: brier_score_loss(t.reshape(-1), torch.sigmoid(o.reshape(-1)))),
    "log loss of soft labels": ("soft", cross_entropy),
    "error of soft labels": ("soft", lambda o, t: (torch.softmax(o, 1) - t).square().mean()),
    "1 - R²": ("numbers", lambda o, t: 1 - r2_score(t.reshape(-1), o.reshape(-1))),
    "greatest error": ("vectors", lambda o, t: (o - t).abs().max()),
    "what does not look": ("five", lambda o, t: 0.25),
    "what fails on perfect predictions": ("two", lambda o, t: o.std() if o.abs().max() < 10 else 1 / 0),
    "what is infinite there": ("two", lambda o, t: 0.5 if o.abs().max() < 10 else float("inf")),
}


@pytest.mark.parametrize("case", MAXIMISED)
def test_a_metric_that_is_to_be_maximised_is_refused(case):
    kind, metric = MAXIMISED[case]
    with pytest.raises(
        SettingError, match=r"^metric '.*' gives .* for perfect predictions but .*; metrics are minimised"
    ):
        probe(_task(kind, metric))


@pytest.mark.parametrize("case", MINIMISED)
def test_a_metric_that_is_to_be_minimised_passes(case):
    kind, metric = MINIMISED[case]
    probe(_task(kind, metric))


@pytest.mark.parametrize("name", METRICS)
def test_metrics_that_have_a_name_pass(name):
    if METRICS[name].task_types == ("multilabel",):
        several = (X, torch.arange(3 * len(X)).reshape(-1, 3) % 5 % 2)
        probe(Task(lambda: nn.Linear(4, 3), several, task_loss="binary_cross_entropy", metric=name))
        return
    for kind in TARGETS:
        if ("regression" in METRICS[name].task_types) == (kind in ("numbers", "vectors")):
            probe(_task(kind, name))


def test_labels_that_do_not_count():
    y = TARGETS["five"].clone()
    y[::3] = -100
    probe(Task(lambda: nn.Linear(4, 5), (X, y), metric="error_rate"))
