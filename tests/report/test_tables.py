import math
from dataclasses import replace
from pathlib import Path

import pytest

from evomal.report.tables import result_pairs
from evomal.search import GPLFL
from evomal.tasks import named_task


@pytest.fixture(scope="module")
def result():
    settings = {"population_size": 4, "generations": 1, "partial_steps": 20, "rejection": False, "seed": 1}
    return GPLFL(**settings).learn(named_task("iris", "linear"))


@pytest.mark.parametrize(("baseline", "says"), [(0.0, True), (1.0, False), (math.inf, False)])
def test_a_loss_that_is_worse_than_the_task_loss_is_said_to_be_so(result, baseline, says):
    shown = result_pairs(replace(result, fitness=0.5, baseline=baseline), Path("loss.json"))["beside it"]
    assert shown.endswith("in the same training: better than this loss") == says
