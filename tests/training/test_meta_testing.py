import json
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evomal.config import BaseSettings, TrainSettings
from evomal.executors import InProcess, Processes
from evomal.foundation.errors import DataError, SettingError
from evomal.foundation.seeds import derive
from evomal.losses import SymbolicLoss, get_handcrafted
from evomal.tasks import Batches, Task, named_task
from evomal.training import MetaTest, TrainingRun, meta_test

BASE = BaseSettings(batch_size=16)


def _task(*between, flip_test=False, test=True, metric=None):
    """Two classes that a line separates; in the odd test split they have changed places."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(120, 4, generator=draw)
    y = (x[:, 0] > x[:, 1]).long()
    parts = [(x[i : i + 40], y[i : i + 40]) for i in (0, 40, 80)]
    if flip_test:
        parts[2] = (parts[2][0], 1 - parts[2][1])
    return Task(
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), *between, nn.Linear(6, 2)),
        train=parts[0],
        valid=parts[1],
        test=parts[2] if test else None,
        metric=metric,
        name="line",
    )


def _plain(result):
    """Everything but the times."""
    return replace(result, runs=tuple(replace(run, seconds=0.0) for run in result.runs))


def test_the_rate_is_chosen_on_validation_and_not_on_test():
    settings = TrainSettings(steps=150, lrs=(1e-6, 0.5), seeds=(0, 1, 2), base=BASE)
    result = meta_test(_task(flip_test=True), cross_entropy, settings)
    by_rate = {lr: [run for run in result.runs if run.lr == lr] for lr in settings.lrs}
    mean = {lr: np.mean([(run.valid, run.test) for run in runs], axis=0) for lr, runs in by_rate.items()}
    assert mean[0.5][0] < mean[1e-6][0]
    assert mean[0.5][1] > mean[1e-6][1], "the test split would have chosen the other rate"
    assert result.lr == 0.5
    assert result.chosen == tuple(by_rate[0.5])
    assert [run.seed for run in result.chosen] == [0, 1, 2]


def test_mean_and_deviation_are_those_of_numpy():
    result = meta_test(_task(), cross_entropy, TrainSettings(steps=10, seeds=tuple(range(6)), base=BASE))
    errors = [run.test for run in result.chosen]
    assert len(set(errors)) > 1
    assert result.mean == pytest.approx(np.mean(errors), rel=1e-12)
    assert result.sd == pytest.approx(np.std(errors, ddof=1), rel=1e-12)


def test_a_single_seed_has_no_deviation():
    result = meta_test(_task(), cross_entropy, TrainSettings(steps=5, seeds=(7,), base=BASE))
    assert result.sd is None
    assert result.mean == result.runs[0].test
    assert result.as_dict()["sd"] is None


def test_a_training_that_diverges_is_reported_and_its_rate_comes_last():
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=draw)
    pairs = [(x[i : i + 20], x[i : i + 20].sum(1)) for i in (0, 20, 40)]
    task = Task(lambda: nn.Linear(3, 1), *pairs, task_loss="mse", name="sum")
    result = meta_test(task, loss, TrainSettings(steps=100, lrs=(1e6, 0.05), seeds=(0, 1), base=BASE))
    assert result.lr == 0.05
    assert result.mean < 0.01
    for run in result.runs[:2]:
        assert isnan(run.valid)
        assert isnan(run.test)
        assert run.reason == f"the loss is not finite at step {run.steps}"
        assert run.steps < 100
    alone = meta_test(task, loss, TrainSettings(steps=100, lrs=(1e6,), seeds=(0, 1), base=BASE))
    assert isnan(alone.mean)
    assert isnan(alone.sd)
    document = json.loads(json.dumps(alone.as_dict(), allow_nan=False))
    assert (document["mean"], document["sd"]) == (None, None)
    assert {run["test"] for run in document["runs"]} == {None}


@pytest.mark.parametrize("worst", [nan, float("inf")])
def test_one_seed_of_several_that_diverges(worst):
    runs = (
        TrainingRun(0.1, 0, worst, worst, 3, 0.5, "the loss is not finite at step 3"),
        TrainingRun(0.1, 1, 0.2, 0.25, 100, 0.5),
    )
    document = MetaTest("error_rate", 0.1, runs).as_dict()
    assert (document["mean"], document["sd"]) == (None, None)
    assert json.loads(json.dumps(document, allow_nan=False))["runs"] == [
        {
            "lr": 0.1,
            "seed": 0,
            "valid": None,
            "test": None,
            "steps": 3,
            "seconds": 0.5,
            "reason": "the loss is not finite at step 3",
        },
        {"lr": 0.1, "seed": 1, "valid": 0.2, "test": 0.25, "steps": 100, "seconds": 0.5, "reason": None},
    ]


def test_a_task_without_a_test_split():
    with pytest.raises(DataError) as caught:
        meta_test(_task(test=False), cross_entropy, TrainSettings(steps=1))
    assert str(caught.value) == "task 'line' has no test split; give one as Task(..., test=(x, y))"


def test_the_same_seeds_give_the_same_result_and_every_training_is_told():
    settings = TrainSettings(steps=30, lrs=(0.05, 0.2), seeds=(3, 4), schedule="cosine", base=BASE)
    told = []
    torch.manual_seed(5)
    one = meta_test(_task(nn.Dropout(0.3)), cross_entropy, settings, on_run=told.append)
    torch.manual_seed(6)
    other = meta_test(_task(nn.Dropout(0.3)), cross_entropy, settings)
    assert _plain(one) == _plain(other)
    assert tuple(told) == one.runs
    assert [(run.lr, run.seed) for run in told] == [(0.05, 3), (0.05, 4), (0.2, 3), (0.2, 4)]
    assert len({run.test for run in told}) > 1
    assert all(run.steps == 30 and run.seconds > 0 for run in told)
    last = settings.model_copy(update={"seeds": (4,)})
    alone = meta_test(_task(nn.Dropout(0.3)), cross_entropy, last)
    assert _plain(alone).runs == tuple(run for run in _plain(one).runs if run.seed == 4)


def test_one_training_by_hand():
    """Every setting of the base optimiser and the schedule reaches the training."""
    task = _task(metric=cross_entropy)
    base = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    settings = TrainSettings(
        steps=30, lrs=(0.1,), seeds=(2,), schedule="step", milestones=(0.5,), base=BaseSettings(batch_size=16, **base)
    )
    model = task.make_model(derive(2, task.key, "full", "init"))
    batches = Batches(40, 16, 2, task.key, "full", "batches")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **base)
    for step in range(30):
        x, y = task.train.take(batches.index(step))
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        if step == 14:
            optimizer.param_groups[0]["lr"] *= 0.1
    (run,) = meta_test(task, cross_entropy, settings).runs
    with torch.no_grad():
        assert run.test == float(cross_entropy(model(task.test.x), task.test.y))
        assert run.valid == float(cross_entropy(model(task.valid.x), task.valid.y))


def test_different_losses_meet_the_same_networks_and_batches():
    seen = []

    def watched(outputs, targets):
        seen.append((outputs.detach().clone(), targets.clone()))
        return cross_entropy(outputs, targets)

    settings = TrainSettings(steps=1, seeds=(0,), base=BASE)
    meta_test(_task(), watched, settings)
    meta_test(_task(), lambda outputs, targets: 2 * watched(outputs, targets), settings)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


@pytest.mark.parametrize(
    "criterion",
    [SymbolicLoss("abs(log(mul(y, f)))", task_type="classification"), get_handcrafted("cross_entropy")],
    ids=["symbolic", "handcrafted"],
)
def test_processes_give_what_this_process_gives(criterion):
    settings = TrainSettings(steps=40, lrs=(0.05, 0.5), seeds=(0, 1), base=BASE)
    task = _task(nn.Dropout(0.3))
    here = meta_test(task, criterion, settings, InProcess().map)
    workers = Processes(2)
    try:
        there = meta_test(task, criterion, settings, workers.map)
    finally:
        workers.close()
    assert _plain(here) == _plain(there)
    assert _plain(here) == _plain(meta_test(task, criterion, settings))


def test_a_handcrafted_loss_by_name():
    task = named_task("iris", "linear")
    by_name, by_loss = (meta_test(task, loss, steps=20, seeds=(0, 1)) for loss in ("focal", get_handcrafted("focal")))
    assert [run.test for run in by_name.runs] == [run.test for run in by_loss.runs]
    with pytest.raises(SettingError, match=r"^criterion is \[\]; give the name of a loss, or a function"):
        meta_test(task, [], steps=1)


def _never(*arguments):
    raise AssertionError("there is nothing to do")


def test_finished_trainings_are_taken_as_they_are_and_not_done_again():
    settings = TrainSettings(steps=10, lrs=(0.05, 0.2), seeds=(3, 4), base=BASE)
    whole, told = meta_test(_task(), cross_entropy, settings), []
    done = [whole.runs[2], whole.runs[0], replace(whole.runs[1], lr=0.7), replace(whole.runs[1], seed=9)]
    again = meta_test(_task(), cross_entropy, settings, on_run=told.append, done=iter(done))
    assert _plain(again) == _plain(whole)
    assert (again.runs[0], again.runs[2]) == (whole.runs[0], whole.runs[2])
    assert told == [again.runs[1], again.runs[3]]
    # What is passed in is believed, so nothing has to be trained: the spread is not even asked.
    assert meta_test(_task(), cross_entropy, settings, map_jobs=_never, done=whole.runs) == whole
    shown = replace(whole.runs[0], valid=-1.0)
    assert meta_test(_task(), cross_entropy, settings, done=[*whole.runs, shown]).lr == whole.runs[0].lr


@pytest.mark.parametrize(
    ("criterion", "what"),
    [
        (torch.nn.CrossEntropyLoss, "criterion is the class CrossEntropyLoss; give a loss that is built"),
        (torch.nn.CrossEntropyLoss(reduction="none"), "; let it return one number (reduction='mean')"),
        (get_handcrafted("focal", "none"), "; let it return one number (reduction='mean')"),
        (lambda outputs, targets: (outputs, targets), "the loss gives a tuple; let it return a tensor with one number"),
    ],
)
def test_losses_that_give_no_number(criterion, what):
    with pytest.raises(SettingError) as caught:
        meta_test(named_task("iris", "linear"), criterion, steps=2)
    assert what in str(caught.value)


def test_batches_of_which_few_have_a_label_end_no_training():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    whole = (x[:, 0] > 0).long()
    y = torch.where(torch.arange(200) % 20 == 3, whole, -100)
    task = Task(lambda: torch.nn.Linear(3, 2), (x, y), (x, whole), (x, whole))
    (run,) = meta_test(task, "cross_entropy", steps=60, lrs=(0.5,), batch_size=4).runs
    assert run.reason is None
    assert run.test < 0.35


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_a_criterion_or_metric_that_broadcasts_one_output_is_refused():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    settings = TrainSettings(steps=3, seeds=(0,), base=BASE)

    def task(y, metric=None):
        return Task(lambda: nn.Linear(3, 1), (x, y), test=(x, y), task_loss="mse", metric=metric)

    told = "PyTorch broadcasts outputs of shape [N, 1] and targets of shape [N]; give both one shape"
    with pytest.raises(SettingError) as caught:
        meta_test(task(x[:, 0]), nn.MSELoss(), settings)
    assert str(caught.value) == f"criterion compares every output with every target: {told}"
    with pytest.raises(SettingError, match=r"^metric '<lambda>' compares every output with every target: "):
        meta_test(task(x[:, 0], lambda f, y: (f - y).abs().mean()), "mse", settings)
    # Side by side they come to what the loss by its name comes to.
    column = meta_test(task(x[:, :1]), nn.MSELoss(), settings)
    assert _plain(column) == _plain(meta_test(task(x[:, :1]), "mse", settings))
