import ctypes
import platform

import pytest

from evomal.config import learn_settings
from evomal.executors.memory import keep_freed_memory
from evomal.search.prices import StagePrice
from evomal.search.pricing import _extrapolated, price
from evomal.tasks import named_task


def test_a_stage_costs_what_its_generations_and_candidates_cost():
    stage = StagePrice("tune", least=10, most=20, each=3.0, fixed=0.5, generations=4, workers=2)
    assert stage.seconds(stage.least) == 4 * 0.5 + 10 * 3.0 / 2
    assert stage.seconds(stage.most) == 4 * 0.5 + 20 * 3.0 / 2


def test_a_loop_is_extrapolated_from_one_step_and_a_few():
    assert _extrapolated(lambda steps: 0.5 + 0.01 * steps, 20, 1000) == pytest.approx(10.5)


def test_the_price_grows_with_the_settings():
    task = named_task("iris", "linear")
    few = price(task, learn_settings("quick", population_size=16, generations=2))
    many = price(task, learn_settings("quick", population_size=16, generations=40))
    assert few.candidates == 32
    assert [(stage.least, stage.most) for stage in few.stages] == [(29, 29), (29, 29), (8, 16)]
    assert [(stage.least, stage.most) for stage in many.stages] == [(576, 576), (576, 576), (160, 320)]
    assert [stage.generations for stage in many.stages] == [40, 40, 40]
    assert few.shares == (0.9, 0.25, 0.5)
    assert few.assumption.startswith("of 32 candidates 90% are new, 25% to 50% are trained; ")


def test_without_meta_steps_tuning_is_free():
    tune, *_ = price(named_task("iris", "linear"), learn_settings("quick", meta_steps=0)).stages
    assert tune.seconds(tune.most) == 0


def test_freed_memory_is_kept_on_glibc_only(monkeypatch):
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")

    def no_library(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert keep_freed_memory() is False
