import importlib.metadata
import platform

import pytest
import torch

import evomal
from evomal.comparison.trained import TrainedLoss
from evomal.config import TrainSettings, learn_settings
from evomal.losses import HandcraftedLoss, SymbolicLoss
from evomal.store.provenance import Origin, chosen, origin_now, tuned_for, versions
from evomal.tasks import TaskSet
from evomal.training import MetaTest, TrainingRun
from evomal.training.optimizers import fitted_settings

OLD = {"evomal": "0.0.1", "torch": "2.0"}


def test_versions_are_those_of_what_computes():
    known = versions()
    assert known["evomal"] == evomal.__version__
    assert known["python"] == platform.python_version()
    assert known["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert known["cma"] == importlib.metadata.version("cma")


@pytest.mark.parametrize(
    ("before", "earlier"),
    [
        ({}, ()),
        ({"versions": versions()}, ()),
        ({"versions": OLD}, (OLD,)),
        ({"versions": OLD, "earlier_versions": [OLD]}, (OLD,)),
        ({"versions": versions(), "earlier_versions": [OLD, versions()]}, (OLD,)),
        ({"versions": "odd", "earlier_versions": [3, "odd"]}, ()),
        ({"earlier_versions": 3}, ()),
    ],
)
def test_earlier_versions_are_each_kept_once(before, earlier):
    assert origin_now("evomal compare", before) == Origin("evomal compare", versions(), earlier)


def test_the_same_versions_have_changed_nothing():
    assert Origin(None, versions()).changes() == []
    assert Origin(None, {"torch": "2"}, ({"numpy": "1"},)).changes() == []


def _nadam(parameters, lr):
    return torch.optim.NAdam(parameters, lr)


def _task(**own):
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return evomal.Task(lambda: torch.nn.Linear(4, 2), (x, y), test=(x, y), name="halves", **own)


@pytest.mark.parametrize("name", ["own", "adam", "sgd"])
def test_a_loss_that_was_chosen_says_what_for_as_one_that_was_tuned_does(name):
    task = _task(optimizer=_nadam) if name == "own" else _task()
    given = {"lr": 0.1} if name == "own" else {"lr": 0.1, "optimizer": name}
    settings = fitted_settings(learn_settings(**given), [task.own])
    focal = HandcraftedLoss("focal")
    focal.info = chosen(focal, TaskSet.of(task), settings, 0.5)
    square = SymbolicLoss("square(sub(y, f))", task_type="classification")
    tuned = tuned_for(square, task, settings)
    assert tuned.keys() - focal.info["tuned_for"].keys() == {"meta_steps", "gradient_norm_ratio"}
    assert focal.info["tuned_for"].items() <= tuned.items()
    assert focal.info["tuned_for"]["optimizer"] == {"own": "own (_nadam)"}.get(name, name)
    assert ("momentum" in focal.info["tuned_for"]) == (name == "sgd")
    # Used as it was chosen: nothing differs.
    test = MetaTest("error_rate", 0.1, (TrainingRun(0.1, 0, 0.1, 0.1, 9, 1.0),))
    used = TrainSettings(base=settings.base, lrs=(0.1,))
    assert TrainedLoss("focal", focal, test, task, used, None).notes == []


def test_a_loss_names_the_versions_that_computed_it():
    focal = HandcraftedLoss("focal")
    told = chosen(focal, TaskSet.of(_task()), learn_settings(), 0.5)["versions"]
    assert told == {name: versions()[name] for name in ("evomal", "python", "torch")}
