"""Searches with other optimisers than SGD at a constant rate, and what they leave behind."""

import json
import logging

import pytest
import torch
import yaml
from torch import nn

import evomal
from evomal.comparison.trained import TrainedLoss
from evomal.config import BaseSettings, TrainSettings
from evomal.foundation.errors import SettingError
from evomal.training import MetaTest, TrainingRun, meta_test

SMALL = {
    "population_size": 4,
    "generations": 2,
    "meta_steps": 2,
    "partial_steps": 12,
    "rejection_steps": 6,
    "rejection_lr": 0.1,
}
ADAMW = {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup": 0.2, "clip": 1.0}


def _nadam(parameters, lr):
    return torch.optim.NAdam(parameters, lr)


def _task(**own):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(120, 4, generator=draw)
    y = (x[:, 0] > 0).long()
    return evomal.Task(lambda: nn.Linear(4, 2), (x, y), test=(x, y), name="halves", **own)


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    plain = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return sorted(plain, key=lambda row: (row["generation"], row["index"]))


@pytest.mark.parametrize("own", [{}, {"optimizer": _nadam}], ids=["named", "own"])
def test_a_search_goes_on_to_the_bit_and_says_what_it_was_tuned_for(tmp_path, own):
    options = SMALL | (ADAMW if not own else {"lr": 0.01, "clip": 1.0})
    whole = evomal.EvoMAL(seed=0, **options).learn(_task(**own), out=tmp_path / "whole")
    first = evomal.EvoMAL(seed=0, **options, max_evaluations=3)
    first.learn(_task(**own), out=tmp_path / "parts")
    second = evomal.EvoMAL(seed=0, **options, max_evaluations=1000)
    result = second.learn(_task(**own), out=tmp_path / "parts", resume=True, override=True)
    assert _rows(tmp_path / "parts") == _rows(tmp_path / "whole")
    assert result.loss.coefficients == whole.loss.coefficients
    tuned = json.loads((tmp_path / "whole" / "loss.json").read_text())["tuned_for"]
    stored = yaml.safe_load((tmp_path / "whole" / "config.yaml").read_text())
    if own:
        assert (tuned["optimizer"], tuned["clip"]) == ("own (_nadam)", 1.0)
        assert stored["settings"]["base"]["optimizer"] == "own"
        assert stored["tasks"][0]["optimizer"] == "own (_nadam)"
    else:
        assert {name: tuned[name] for name in ADAMW} == ADAMW
        assert {name: stored["settings"]["base"][name] for name in ADAMW} == ADAMW
        assert tuned["gradient_norm_ratio"] > 0


def test_another_optimiser_is_another_run(tmp_path):
    evomal.EvoMAL(seed=0, lr=0.01, **SMALL).learn(_task(), out=tmp_path / "a")
    with pytest.raises(SettingError, match=r"optimizer was 'sgd', now 'adam'"):
        evomal.EvoMAL(seed=0, lr=0.01, optimizer="adam", **SMALL).learn(_task(), out=tmp_path / "a", resume=True)
    with pytest.raises(SettingError, match=r"optimizer was 'sgd', now 'own'"):
        evomal.EvoMAL(seed=0, lr=0.01, **SMALL).learn(_task(optimizer=_nadam), out=tmp_path / "a", resume=True)


def test_a_factory_whose_optimiser_is_another_one_now_is_noticed(tmp_path):
    evomal.EvoMAL(seed=0, lr=0.01, **SMALL).learn(_task(optimizer=_nadam), out=tmp_path / "a")

    def changed(parameters, lr):
        return torch.optim.NAdam(parameters, lr, betas=(0.5, 0.9))

    changed.__name__ = "_nadam"
    with pytest.raises(evomal.EvomalError, match=r"outputs after steps of its optimizer on cpu was"):
        evomal.EvoMAL(seed=0, lr=0.01, **SMALL).learn(_task(optimizer=changed), out=tmp_path / "a", resume=True)


def test_what_does_not_go_together_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(SettingError, match=r"^setting 'optimizer': the task brings an optimizer of its own"):
        evomal.EvoMAL(optimizer="adam", **SMALL).learn(_task(optimizer=_nadam), out=tmp_path / "a")
    with pytest.raises(
        SettingError, match=r"^setting 'momentum': the task brings an optimizer of its own, so that 0.9 "
    ):
        evomal.EvoMAL(preset="practice", momentum=0.9).learn(_task(optimizer=_nadam), out=tmp_path / "a")
    with pytest.raises(
        SettingError, match=r"^setting 'momentum': the task brings an optimizer of its own, so that 0.9 "
    ):
        meta_test(_task(optimizer=_nadam), "cross_entropy", preset="practice", momentum=0.9, steps=2)
    with pytest.raises(SettingError, match=r"^setting 'optimizer': the task brings none of its own"):
        evomal.EvoMAL(optimizer="own", **SMALL).learn(_task(), out=tmp_path / "a")
    with pytest.raises(SettingError, match=r"^the task's optimizer gives a int; return"):
        evomal.EvoMAL(**SMALL).learn(_task(optimizer=lambda parameters, lr: 3), out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_baseline_that_does_not_learn_is_said(caplog):
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (200,), generator=draw)
    task = evomal.Task(lambda: nn.Linear(3, 2), (torch.randn(200, 3, generator=draw), labels), name="noise")
    short = {name: value for name, value in SMALL.items() if name != "meta_steps"} | {"generations": 1, "finals": False}
    with caplog.at_level(logging.WARNING, logger="evomal"):
        evomal.GPLFL(lr=0.1, **short).learn(task)
    assert "cross_entropy itself hardly learns with sgd at 0.1: choose another optimiser or rate" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="evomal"):
        evomal.GPLFL(lr=0.5, **short).learn(_task())
    assert caplog.text == ""


def test_short_trainings_are_annealed_to_their_own_end():
    """The schedule of a partial training spans its own steps: what it comes to is a full training of that length."""
    from evomal.config import learn_settings
    from evomal.evaluation.stages import train_stage
    from evomal.foundation.seeds import derive
    from evomal.tasks import Batches, TaskSet
    from evomal.training import evaluate, fit

    task, settings = _task(), learn_settings(**SMALL, **ADAMW)
    model = task.make_model(derive(settings.seed, task.key, "partial", "init"))
    batches = Batches(len(task.train), settings.base.batch_size, settings.seed, task.key, "partial", "batches")
    fit(model, task.task_loss, task.train, batches, 12, settings.base, 0)
    assert train_stage(TaskSet.of(task), settings, None).fitness == evaluate(model, task.valid, task.metric)


def test_an_optimiser_that_is_brought_is_as_good_as_the_same_by_name():
    def values(task, **options):
        return [
            (run.valid, run.test) for run in meta_test(task, "mse", steps=20, seeds=(0, 1), lr=0.003, **options).runs
        ]

    def adamw(parameters, lr):
        return torch.optim.AdamW(parameters, lr)

    def cosine(optimizer, steps):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=draw)

    def task(**own):
        return evomal.Task(lambda: nn.Linear(3, 1), (x, x.sum(1)), test=(x, x.sum(1)), task_loss="mse", **own)

    named = values(task(), optimizer="adamw", schedule="cosine")
    assert values(task(optimizer=adamw, schedule=cosine)) == named
    assert values(task(schedule=cosine), optimizer="adamw") == named
    assert values(task(optimizer=adamw), schedule="cosine") == named
    assert values(task(optimizer=adamw)) != named != values(task())
    with pytest.raises(SettingError, match=r"^setting 'optimizer': the task brings an optimizer of its own"):
        values(task(optimizer=adamw), optimizer="rmsprop")


def _notes(tuned, **base):
    loss = evomal.SymbolicLoss("square(sub(y, f))", task_type="classification")
    loss.info = {"tuned_for": tuned}
    settings = TrainSettings(base=BaseSettings(**({"lr": 0.1} | base)), lrs=(0.1,))
    test = MetaTest("error_rate", 0.1, (TrainingRun(0.1, 0, 0.1, 0.1, 9, 1.0),))
    return TrainedLoss("a", loss, test, _task(), settings, None).notes


OLD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "batch_size": 128}


def test_a_loss_that_is_used_with_something_else_than_it_was_tuned_for():
    assert _notes(OLD) == []
    assert _notes({}) == []
    assert _notes(OLD, schedule="cosine") == ["tuned for schedule constant; used here with schedule cosine"]
    assert _notes(OLD, optimizer="adam", clip=1.0) == [
        "tuned for optimizer sgd, clip none; used here with optimizer adam, clip 1"
    ]
    adam = {"optimizer": "adam", "lr": 0.1, "weight_decay": 0.0, "betas": [0.9, 0.999], "eps": 1e-8, "batch_size": 128}
    assert _notes(adam, optimizer="adam") == []
    assert _notes(adam, optimizer="adam", betas=(0.5, 0.999)) == [
        "tuned for betas [0.9, 0.999]; used here with betas [0.5, 0.999]"
    ]
