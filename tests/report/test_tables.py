import math
from dataclasses import replace
from pathlib import Path

import pytest

from evomal.losses import HandcraftedLoss
from evomal.report.tables import result_pairs
from evomal.search import GPLFL
from evomal.search.verdict import Verdict
from evomal.tasks import named_task


@pytest.fixture(scope="module")
def result():
    settings = {"population_size": 4, "generations": 1, "partial_steps": 20, "rejection": False, "seed": 1}
    return GPLFL(**settings).learn(named_task("iris", "linear"))


@pytest.mark.parametrize(("baseline", "says"), [(0.0, True), (1.0, False), (math.inf, False)])
def test_a_loss_that_is_worse_than_the_task_loss_is_said_to_be_so(result, baseline, says):
    shown = result_pairs(replace(result, fitness=0.5, baseline=baseline), Path("loss.json"))["beside it"]
    assert shown.endswith("in the same training: better than this loss") == says


@pytest.mark.parametrize(
    ("kind", "name", "lr", "lies"),
    [
        ("learned", "learned", 0.3, "runs/loss.json (the learned loss, at rate 0.3)"),
        ("tie", "focal", 0.03, "runs/loss.json (focal, at rate 0.03; the best learned loss is runs/learned.json)"),
        ("nothing learns", "focal", None, "runs/loss.json (focal; the best learned loss is runs/learned.json)"),
    ],
)
def test_what_lies_in_the_loss_file_is_said_where_finals_decided_it(result, kind, name, lr, lies):
    learned = kind == "learned"
    verdict = Verdict(
        kind=kind, name=name, loss_kind="learned" if learned else "handcrafted", lr=lr, metric="error_rate", value=0.1,
        against=(), splits=2, chance=0.5, steps=20, spent=80, budget=100, rank_correlation=None, places=(), notes=(),
    )  # fmt: skip
    own = {} if learned else {"loss": HandcraftedLoss("focal"), "best_learned": result.learned}
    shown = result_pairs(replace(result, verdict=verdict, **own), Path("runs/loss.json"))
    assert shown["loss file"] == lies
    assert result_pairs(replace(result, verdict=None), Path("runs/loss.json"))["loss file"] == "runs/loss.json"
