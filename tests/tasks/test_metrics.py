"""Metrics against scikit-learn's, on logits of every accepted shape."""

import math
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from evomal.foundation.errors import DataError, SettingError, UnknownNameError
from evomal.tasks import METRICS, get_metric


def logits_and_labels(seed, instances, classes, labels_below=None):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(instances, classes, generator=g)
    return logits, torch.randint(0, labels_below or classes, (instances,), generator=g)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10**6), instances=st.integers(1, 60), classes=st.integers(2, 7), seen=st.integers(1, 7))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_class_metrics_equal_scikit_learns_with_absent_classes_too(seed, instances, classes, seen):
    logits, labels = logits_and_labels(seed, instances, classes, min(seen, classes))
    predicted = logits.argmax(1).numpy()
    expected = {
        "error_rate": 1 - reference.accuracy_score(labels, predicted),
        "balanced_error_rate": 1 - reference.balanced_accuracy_score(labels, predicted),
        "macro_f1": 1 - reference.f1_score(labels, predicted, average="macro"),
    }
    for name, value in expected.items():
        assert METRICS[name](logits, labels).item() == pytest.approx(value, abs=1e-12)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10**6), instances=st.integers(8, 60), classes=st.integers(2, 5), ties=st.booleans())
def test_the_area_under_the_curve_is_scikit_learns(seed, instances, classes, ties):
    logits, labels = logits_and_labels(seed, instances, classes)
    labels[: 2 * classes] = torch.arange(2 * classes).clamp(max=instances - 1)[: len(labels)] % classes
    logits = logits.round() if ties else logits
    # Log shares order instances as shares do; equal ones stay equal to the last bit.
    shares = logits.double().log_softmax(1) if classes > 2 else logits - logits.flip(1)
    expected = [
        reference.roc_auc_score(labels == number, shares[:, number].numpy())
        for number in range(classes)
        if 0 < (labels == number).sum() < instances
    ]
    assert METRICS["one_minus_auc"](logits, labels).item() == pytest.approx(1 - fmean(expected), abs=1e-6)


def test_the_area_under_the_curve_needs_two_classes():
    assert METRICS["one_minus_auc"](torch.randn(5, 2), torch.ones(5, dtype=torch.long)).isnan()
    scores, labels = torch.tensor([0.3, 0.1, 9.0, 0.5, -9.0]), torch.tensor([0, 1, -100, 1, -100])
    kept = labels >= 0
    assert METRICS["one_minus_auc"](scores, labels).item() == 0.5
    assert METRICS["one_minus_auc"](scores[kept], labels[kept]).item() == 0.5


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 3)])
def test_regression_metrics_equal_scikit_learns(shape):
    g = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    assert METRICS["mse"](outputs, targets).item() == pytest.approx(
        reference.mean_squared_error(targets, outputs), rel=1e-6
    )
    assert METRICS["mae"](outputs, targets).item() == pytest.approx(
        reference.mean_absolute_error(targets, outputs), rel=1e-6
    )


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_a_column_of_outputs_is_not_broadcast_against_a_row_of_targets(name):
    targets = torch.tensor([0.0, 1.0, 2.0])
    assert METRICS[name](targets.unsqueeze(1), targets).item() == 0
    assert METRICS[name](targets, targets.unsqueeze(1)).item() == 0


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_outputs_and_targets_of_other_shapes_are_refused(name):
    with pytest.raises(DataError, match=r"outputs \[4, 2\] do not fit targets \[4\]; give both one shape"):
        METRICS[name](torch.zeros(4, 2), torch.zeros(4))
    with pytest.raises(DataError, match=r"outputs \[4, 2, 3\] do not fit targets \[4, 3, 2\]"):
        METRICS[name](torch.zeros(4, 2, 3), torch.zeros(4, 3, 2))


@pytest.mark.parametrize("output_shape", [(50,), (50, 1)])
@pytest.mark.parametrize("target_shape", [(50,), (50, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_one_output_means_class_1_above_0(output_shape, target_shape, dtype):
    g = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(50, generator=g), torch.randint(0, 2, (50,), generator=g)
    for name in ("error_rate", "balanced_error_rate", "macro_f1", "one_minus_auc"):
        two_outputs = METRICS[name](torch.stack([torch.zeros(50), logits], 1), labels)
        one_output = METRICS[name](logits.reshape(output_shape), labels.reshape(target_shape).to(dtype))
        assert one_output.item() == two_outputs.item() > 0


def test_further_dimensions_and_ignored_labels():
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(4, 3, 5, 6, generator=g)
    labels = torch.randint(0, 3, (4, 5, 6), generator=g)
    labels[torch.rand(4, 5, 6, generator=g) < 0.3] = -100
    kept = labels.flatten() != -100
    flat = logits.permute(0, 2, 3, 1).reshape(-1, 3)
    expected = 1 - reference.accuracy_score(labels.flatten()[kept], flat.argmax(1)[kept])
    assert METRICS["error_rate"](logits, labels).item() == pytest.approx(expected, abs=1e-12)
    f1 = 1 - reference.f1_score(labels.flatten()[kept], flat.argmax(1)[kept], average="macro")
    assert METRICS["macro_f1"](logits, labels).item() == pytest.approx(f1, abs=1e-12)


def test_soft_labels_count_by_their_greatest_entry():
    logits, labels = logits_and_labels(3, 40, 4)
    soft = 0.7 * torch.nn.functional.one_hot(labels, 4) + 0.075
    assert METRICS["error_rate"](logits, soft).item() == METRICS["error_rate"](logits, labels).item()


def test_the_error_rate_can_be_batched_over_networks():
    g = torch.Generator().manual_seed(4)
    logits, labels = torch.randn(3, 20, 5, generator=g), torch.randint(0, 5, (20,), generator=g)
    batched = torch.vmap(METRICS["error_rate"].function, in_dims=(0, None))(logits, labels)
    assert batched.tolist() == [METRICS["error_rate"](one, labels).item() for one in logits]


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_worst(name, bad):
    outputs = torch.zeros(4, 1)
    outputs[2] = bad
    assert METRICS[name](outputs, torch.zeros(4, dtype=torch.int64)).item() == math.inf


def test_a_function_becomes_a_metric_of_its_name():
    def worst(outputs, targets):
        return float((outputs - targets).abs().max())

    metric = get_metric(worst)
    assert metric.name == "worst"
    assert metric.task_types == ("classification", "regression", "multilabel")
    value = metric(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]))
    assert value.shape == ()
    assert value.item() == 3
    assert get_metric(metric) is metric


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_function_that_gives_nan_on_finite_outputs_is_refused(bad):
    def odd(outputs, targets):
        return torch.tensor(bad)

    with pytest.raises(
        SettingError,
        match=rf"metric 'odd' gives {bad} on finite outputs \[2\] and targets that are all 0; return a finite",
    ):
        get_metric(odd)(torch.zeros(2), torch.zeros(2))


def test_a_function_that_gives_many_numbers_is_refused():
    def each(outputs, targets):
        return outputs - targets

    with pytest.raises(SettingError, match=r"metric 'each' gives a value of shape \[2\] on outputs \[2\]; return one"):
        get_metric(each)(torch.zeros(2), torch.zeros(2))


def test_unknown_names_and_things_are_refused():
    with pytest.raises(UnknownNameError, match="unknown metric 'eror_rate'; did you mean 'error_rate'"):
        get_metric("eror_rate")
    with pytest.raises(SettingError, match="metric is 3; give a name or a function of"):
        get_metric(3)
