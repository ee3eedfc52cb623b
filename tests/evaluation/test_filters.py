import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import evomal
from evomal.config import FilterSettings, learn_settings
from evomal.evaluation.batched_filters import signatures
from evomal.evaluation.batched_stages import judge_in_lanes
from evomal.evaluation.filters import gradient_signature, improvement, make_probe, passes, perfect_outputs
from evomal.evaluation.stages import digest, judge_group
from evomal.local_search import NotFiniteError
from evomal.losses.batched_families import stack
from evomal.tasks import TaskSet, named_task
from helpers import tasks

SETTINGS = FilterSettings(rejection_steps=60, rejection_lr=0.1)


def _loss(formula, weights=None, task_type="classification"):
    return evomal.SymbolicLoss(formula, weights, task_type=task_type)


def test_the_probe_is_the_same_for_all_and_is_a_hundred_random_training_instances():
    task = named_task("digits", "mlp")
    first, second = (make_probe(task, 100, seed=4) for _ in range(2))
    assert torch.equal(first.predictions, second.predictions)
    assert torch.equal(first.wider, second.wider)
    assert first.predictions.shape == (100, 10)
    assert not torch.equal(first.targets, task.train.y[:100])  # random, not the first ones
    assert not torch.equal(first.targets, make_probe(task, 100, seed=5).targets)
    assert first.wider.std() > 10 * first.predictions.std()
    assert first.perfect == 0


@pytest.mark.parametrize(
    "task", [tasks.blobs(), named_task("digits", "linear"), tasks.blobs(classes=2, outputs=1, seed=5)]
)
def test_good_losses_pass_and_hopeless_ones_do_not(task):
    probe = make_probe(task, 100, seed=0)
    for good in (task.task_loss, _loss("abs(log(mul(y, f)))"), _loss("square(sub(y, f))")):
        assert 0.6 <= improvement(good, probe, SETTINGS) <= 1.0
    assert improvement(_loss("mul(y, f)"), probe, SETTINGS) < 0.1  # drives the true class down
    assert improvement(_loss("sign(sub(y, f))"), probe, SETTINGS) == 0.0
    assert passes(1.0, "classification", SETTINGS)
    assert passes(0.6, "classification", SETTINGS)
    assert not passes(0.59, "classification", SETTINGS)


def test_a_balanced_binary_task_is_judged_by_its_relative_improvement():
    # In absolute terms no loss can improve an error of one half by 0.6.
    task = tasks.blobs(classes=2, seed=2)
    probe = make_probe(task, 100, seed=0)
    assert 0.3 < probe.before < 0.6
    assert passes(improvement(_loss("abs(log(mul(y, f)))"), probe, SETTINGS), "classification", SETTINGS)


def test_regression_needs_any_improvement_at_all():
    probe = make_probe(tasks.line(), 100, seed=0)
    assert probe.perfect == 0
    good = improvement(_loss("square(sub(y, f))", task_type="regression"), probe, SETTINGS)
    bad = improvement(_loss("sub(y, abs(f))", task_type="regression"), probe, SETTINGS)
    assert passes(good, "regression", SETTINGS)
    assert good > 0.5
    assert not passes(bad, "regression", SETTINGS)
    assert not passes(0.0, "regression", SETTINGS)
    assert not passes(math.nan, "regression", SETTINGS)
    assert not passes(math.nan, "classification", SETTINGS)


def test_nothing_to_improve_passes():
    task = tasks.blobs(metric=lambda outputs, targets: 0.25)
    assert improvement(_loss("mul(y, f)"), make_probe(task, 50, seed=0), SETTINGS) == math.inf


def test_the_scale_of_the_logits_does_not_decide():
    # With steps of a fixed rate, logits of standard deviation 20 could not be turned around in time.
    class Loud(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return 20 * self.layer(x)

    task = tasks.blobs(factory=Loud)
    probe = make_probe(task, 100, seed=0)
    assert probe.predictions.std() > 15
    assert improvement(task.task_loss, probe, FilterSettings()) >= 0.6


def test_a_loss_that_is_not_finite_is_refused():
    probe = make_probe(tasks.blobs(), 50, seed=0)
    tower = _loss("add(mul(y, f), " + "square(" * 12 + "add(1, add(1, f))" + ")" * 13)
    for measure in (lambda: improvement(tower, probe, SETTINGS), lambda: gradient_signature(tower, probe)):
        with pytest.raises(NotFiniteError, match=r"^the loss or its gradient is not finite$"):
            measure()


def test_equal_gradients_have_equal_signatures():
    probe = make_probe(tasks.blobs(), 100, seed=0)
    plain = gradient_signature(_loss("square(sub(y, f))"), probe)
    assert gradient_signature(_loss("square(sub(f, y))"), probe) == plain
    assert gradient_signature(_loss("add(square(sub(y, f)), square(y))"), probe) == plain  # a constant more
    assert gradient_signature(_loss("square(sub(y, f))", [1.0001, 1.0, 1.0]), probe) == plain
    assert gradient_signature(_loss("square(sub(y, f))", [1.5, 1.0, 1.0]), probe) != plain
    assert gradient_signature(_loss("abs(sub(y, f))"), probe) != plain
    assert len(plain.split()) == 200


def test_norms_are_those_of_each_instance_to_two_digits():
    probe = make_probe(tasks.blobs(), 10, seed=0)
    loss = evomal.SymbolicLoss("abs(log(mul(y, f)))", task_type="classification", reduction="sum")
    jacobian = torch.autograd.functional.jacobian(lambda z: loss(z, probe.targets), probe.predictions)
    ours = gradient_signature(_loss("abs(log(mul(y, f)))"), probe).split()[:10]
    assert ours == [f"{norm:.1e}" for norm in jacobian.norm(dim=1).tolist()]


def test_wider_logits_tell_apart_what_near_uniform_ones_cannot():
    # Both have the slope of y·f at f = 1/3; far from it they differ.
    probe = make_probe(tasks.blobs(factory=lambda: _zeros()), 100, seed=0)
    a, b = (gradient_signature(_loss(f), probe).split() for f in ("abs(sub(y, f))", "abs(sub(f, y))"))
    assert a == b
    near, wide = a[:100], a[100:]
    assert len(set(near)) == 1
    assert len(set(wide)) > 50


def _zeros():
    layer = nn.Linear(5, 3)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def test_perfect_outputs_have_no_error():
    labels = torch.tensor([0, 2, 1, -100])
    assert perfect_outputs(torch.zeros(4, 3), labels, "classification").argmax(1).tolist()[:3] == [0, 2, 1]
    assert perfect_outputs(torch.zeros(2, 1), torch.tensor([0, 1]), "classification").tolist() == [[-20.0], [20.0]]
    assert perfect_outputs(torch.zeros(2, 1), torch.tensor([3.0, 4.0]), "regression").tolist() == [[3.0], [4.0]]
    soft = torch.tensor([[0.0, 1.0]])
    assert perfect_outputs(torch.zeros(1, 2), soft, "classification").tolist() == [[-20.0, 20.0]]


def _rare(metric, counted=True):
    """1,500 instances of which two are of the second class, or only they have a label."""
    x = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))
    y = torch.full((1500,), 0 if counted else -100)
    y[[700, 1400]] = torch.tensor([1, 1 if counted else 0])
    return evomal.Task(lambda: nn.Linear(3, 2), (x, y), (x, torch.arange(1500) % 2), metric=metric)


def test_a_metric_that_asks_for_every_class_finds_one_of_each():
    def both(outputs, targets):
        return outputs.argmax(1).ne(targets).float().mean() if len(targets.unique()) > 1 else math.nan

    probe, plain = make_probe(_rare(both), 100, seed=0), make_probe(_rare(None), 100, seed=0)
    assert sorted(set(probe.targets.tolist())) == [0, 1]
    assert set(plain.targets.tolist()) == {0}  # as drawn, where the metric takes it
    assert len(probe.targets) == 100
    assert torch.equal(probe.targets, make_probe(_rare(both), 100, seed=0).targets)


def test_instances_without_a_label_tell_nothing():
    probe = make_probe(_rare(None, counted=False), 100, seed=0)
    assert sorted(probe.targets.tolist()) == [0, 1]
    assert improvement(_loss("abs(log(mul(y, f)))"), probe, SETTINGS) > 0.6 or probe.possible <= 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_single(dtype):
    def of(dtype):
        x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
        return evomal.Task(lambda: nn.Linear(5, 2).to(dtype), (x, (x[:, 0] > 0).long()))

    half, single = make_probe(of(dtype), 100, seed=0), make_probe(of(torch.float32), 100, seed=0)
    assert half.predictions.dtype == half.wider.dtype == torch.float32
    for formula in ("mul(y, log(f))", "abs(log(mul(y, f)))", "square(sub(y, f))"):
        scores = [improvement(_loss(formula), probe, SETTINGS) for probe in (half, single)]
        verdicts = [passes(score, "classification", SETTINGS) for score in scores]
        assert verdicts[0] == verdicts[1]
        assert all(map(math.isfinite, scores))


def test_a_metric_that_fails_on_a_hundred_instances_is_blamed_itself():
    def late(outputs, targets):
        if len(targets) > 50:
            raise ValueError("too many")
        return 0.5

    with pytest.raises(evomal.EvomalError, match=r"^metric 'late' on outputs \[100, 2\] .* fails: ValueError: too m"):
        make_probe(_rare(late), 100, seed=0)


@pytest.mark.parametrize(
    ("task", "formula"),
    [
        (tasks.blobs(), "mul(y, log(f))"),
        (tasks.blobs(classes=2, outputs=1, seed=5), "mul(y, log(f))"),
        (tasks.line(), "tanh(square(sub(y, f)))"),
    ],
    ids=["classes", "one logit", "regression"],
)
def test_a_loss_and_its_negative_are_two_where_nothing_is_rejected(task, formula):
    probe = make_probe(task, 40, seed=0)
    pair = [_loss(text, task_type=task.task_type) for text in (formula, f"mul(-1, {formula})")]
    pair = pair[::-1] if task.task_type == "classification" else pair  # the one that leads to the targets first
    plain, directed = ([gradient_signature(loss, probe, d) for loss in pair] for d in (False, True))
    assert plain == [directed[0]] * 2
    assert directed[0] != directed[1]
    assert directed[1].count("-") > directed[0].count("-")
    assert signatures(stack(pair), probe, directed=True) == directed
    for settings, expected in ((SETTINGS, plain), (FilterSettings(rejection=False), directed)):
        whole = learn_settings(**settings.model_dump())
        for judge in (judge_group, judge_in_lanes):
            found = judge(TaskSet.of(task), whole, [probe], pair)
            assert [each.signature for each in found] == [digest(text) for text in expected]


def test_with_nothing_to_improve_nothing_is_rejected():
    task = tasks.blobs(metric=lambda outputs, targets: 0.25)
    pair = [_loss("mul(y, f)"), _loss("mul(-1, mul(y, f))")]
    one, other = judge_group(TaskSet.of(task), learn_settings(), [make_probe(task, 40, seed=0)], pair)
    assert one.score == other.score == math.inf
    assert one.signature != other.signature


@pytest.mark.parametrize("order", [1, -1])
def test_a_score_that_is_no_number_on_one_of_several_tasks_is_not_passed_over(order):
    task, loss = tasks.blobs(), _loss("square(sub(y, f))")
    probe = make_probe(task, 40, seed=0)
    never = replace(probe, metric=lambda outputs, targets: math.nan)
    probes, settings = [probe, never][::order], learn_settings(rejection_steps=5)
    for judge in (judge_group, judge_in_lanes):
        for found in judge(TaskSet.of(task), settings, probes, [loss, loss]):
            assert not passes(found.score, "classification", settings.filters)
            assert math.isnan(found.score)
