import ctypes
import platform

import pytest
import torch
from torch import nn

import evomal
from evomal.config import learn_settings
from evomal.executors.memory import keep_freed_memory
from evomal.search import pricing
from evomal.search.prices import StagePrice
from evomal.search.pricing import Costs, _extrapolated, price, stages_of
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


class Clock:
    """Stages of lanes that take 2 s, 0.5 s a step, and 0.25 s a step for each of a group."""

    def __init__(self, patch):
        self.now, self.groups = 0.0, {}
        patch.setattr(pricing, "perf_counter", lambda: self.now)
        for stage in ("tune", "judge", "train"):
            patch.setattr(pricing, f"{stage}_in_lanes", self.stage(stage))

    def stage(self, name):
        def work(tasks, settings, *more):
            steps = {
                "tune": settings.tuning.meta_steps,
                "judge": settings.filters.rejection_steps,
                "train": settings.partial_steps,
            }
            self.groups.setdefault(name, set()).add(len(more[-1]))
            self.now += 2 + steps[name] * (0.5 + 0.25 * len(more[-1]))

        return work


def test_where_a_run_has_lanes_its_groups_are_what_is_timed(monkeypatch):
    clock = Clock(monkeypatch)
    settings = learn_settings("practice", population_size=25, meta_steps=100, rejection_steps=400, partial_steps=300)
    found = price(named_task("iris", "linear"), settings)
    assert found.lanes == 12
    assert found.as_dict()["lanes"] == 12
    # Of 25 candidates 22.5 are new, so groups have 12 and 10 or 11; 9 to 10 are trained.
    assert clock.groups == {"tune": {11}, "judge": {11}, "train": {9}}
    tune, judge, train, _ = found.stages
    assert tune.each == pytest.approx((2 + 100 * (0.5 + 0.25 * 11)) / 11)
    assert judge.each == pytest.approx((2 + 400 * (0.5 + 0.25 * 11)) / 11)
    assert train.each == pytest.approx((2 + 300 * (0.5 + 0.25 * 9)) / 9)
    assert "; up to 12 are evaluated at once (lanes), and were so in the probe; " in found.assumption


@pytest.mark.parametrize("flat", [{"lanes": 1}, {"asynchronous": True}, {"meta_steps": 5, "partial_steps": 10}])
def test_without_lanes_nothing_is_timed_in_groups(monkeypatch, flat):
    clock = Clock(monkeypatch)
    found = price(named_task("iris", "linear"), learn_settings("practice", population_size=4, generations=2, **flat))
    assert (found.lanes, clock.groups) == (1, {})
    assert "; each is evaluated by itself; " in found.assumption


def test_a_group_of_lanes_occupies_one_worker():
    settings = learn_settings("practice", population_size=25, lanes=12, workers=8, finals=False)
    stages = stages_of(settings, (0.9, 0.25, 0.5), Costs(1.0, 0.0, 1.0, 1.0))
    assert [stage.workers for stage in stages] == [2, 2, 2]
    stages = stages_of(settings, (0.9, 0.25, 0.4), Costs(1.0, 0.0, 1.0, 1.0))
    assert [stage.workers for stage in stages] == [2, 2, 1]


def test_finals_that_train_one_at_a_time_cost_what_that_costs():
    settings = learn_settings("practice", lanes=12)
    for alone, ratio in ((None, 1.0), (5.0, 2.5)):
        *_, train, finals = stages_of(settings, (0.9, 0.25, 0.5), Costs(1.0, 0.0, 1.0, 2.0, alone))
        together = stages_of(settings, (0.9, 0.25, 0.5), Costs(1.0, 0.0, 1.0, 2.0))[-1]
        assert train.each == 2.0
        assert finals.each == pytest.approx(ratio * together.each)


def test_freed_memory_is_kept_on_glibc_only(monkeypatch):
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")

    def no_library(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert keep_freed_memory() is False


def test_a_price_is_measured_on_the_data_that_the_search_looks_at():
    x, y = torch.randn(200, 5), torch.arange(200) % 2
    seen = set()

    def counted(outputs, targets):
        seen.add(len(targets))
        return float((outputs.argmax(1) != targets).float().mean())

    task = evomal.Task(lambda: nn.Linear(5, 2), (x, y), metric=counted, name="mine")
    price(task, learn_settings("quick", fitness_share=0.4, lanes=1))
    assert 80 in seen
    assert 20 not in seen  # what the task itself sets aside
