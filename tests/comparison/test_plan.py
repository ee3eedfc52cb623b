import json
from math import inf, nan

import numpy as np
import pytest

from evomal.comparison.plan import make_plan
from evomal.foundation.errors import SettingError, UnknownNameError

FEW = {"population_size": 4, "generations": 5, "neural_steps": 10, "meta_steps": 0, "partial_steps": 20}


def test_every_search_and_training_once():
    plan = make_plan(["evomal", "focal", "ml3"], "cross_entropy", [3, 1], lr_grid=[0.5, 0.01], lr=0.1, **FEW)
    assert plan.training.seeds == (3, 1)
    assert plan.training.lrs == (0.01, 0.1, 0.5)
    assert plan.training.base.lr == 0.1
    assert sorted((contender.name, seed) for contender, seed in plan.searches) == [
        ("evomal", 1), ("evomal", 3), ("ml3", 1), ("ml3", 3),
    ]  # fmt: skip
    trainings = [(contender.name, lr, seed) for contender, lr, seed in plan.trainings]
    assert len(set(trainings)) == len(trainings) == 4 * 3 * 2
    assert plan.evaluations == 2 * (20 + 1)


def test_the_searches_that_take_longest_come_first():
    methods = ["ml3", "taylorglo", "evomal", "evomal+fitness-lrs"]
    plan = make_plan(methods, "cross_entropy", [0, 1], **(FEW | {"meta_steps": 30}))
    assert [contender.name for contender, _ in plan.searches][::2] == [
        "evomal+fitness-lrs",
        "evomal",
        "taylorglo",
        "ml3",
    ]


@pytest.mark.parametrize(
    ("lr", "grid", "rates"),
    [(0.1, [], (0.1,)), (0.1, [0.1], (0.1,)), (0.3, [1.0, 0.1, 1.0], (0.1, 0.3, 1.0)), (None, [0.1], (0.01, 0.1))],
)
def test_the_fixed_rate_is_always_tried(lr, grid, rates):
    assert make_plan(["focal"], "cross_entropy", [0, 1], lr_grid=grid, lr=lr).training.lrs == rates


def test_settings_go_where_they_belong():
    flat = {"steps": 7, "schedule": "cosine", "generations": 3, "momentum": 0.9, "batch_size": 16}
    plan = make_plan(["evomal"], "cross_entropy", [0, 1], "quick", **flat)
    settings = plan.contenders[1].settings
    assert (plan.training.steps, plan.training.base.schedule) == (7, "cosine")
    assert (settings.genetic.generations, settings.genetic.population_size) == (3, 20)
    assert settings.base == plan.training.base
    assert (settings.base.momentum, settings.base.batch_size, settings.base.lr) == (0.9, 16, 0.1)


def test_as_plain_values_without_what_differs_from_search_to_search():
    document = make_plan(["evomal", "focal"], "cross_entropy", [0, 1], "quick").as_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["methods"]["focal"] is document["methods"]["cross_entropy"] is None
    assert {"seed", "workers"}.isdisjoint(document["methods"]["evomal"])
    assert document["methods"]["evomal"]["genetic"]["generations"] == 10


def test_remarks_are_those_of_all_contenders():
    plan = make_plan(["gplfl", "evomal", "glo"], "cross_entropy", [0, 1], meta_steps=5)
    assert [remark.split(" always")[0] for remark in plan.remarks] == [
        "setting 'meta_steps': gplfl",
        "setting 'meta_steps': glo",
    ]


@pytest.mark.parametrize("seeds", [[], [0], [4, 4, 4]])
def test_a_test_over_seeds_needs_two(seeds):
    with pytest.raises(SettingError) as caught:
        make_plan(["focal"], "cross_entropy", seeds)
    assert str(caught.value) == (
        "a paired test over seeds needs at least 2 of them, and five or more are better; give `seeds=[0, 1, 2, 3, 4]`"
    )


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"generations": 0}, "setting 'generations': input should be greater than or equal to 1 (got 0)"),
        ({"population_size": 0}, "setting 'population_size': input should be greater than or equal to 2 (got 0)"),
        ({"neural_steps": 0}, "setting 'neural_steps': input should be greater than or equal to 1 (got 0)"),
        ({"partial_steps": 0}, "setting 'partial_steps': input should be greater than or equal to 1 (got 0)"),
        ({"steps": 0}, "setting 'steps': input should be greater than or equal to 1 (got 0)"),
        ({"lr": -1.0}, "setting 'lr': input should be greater than 0 (got -1.0)"),
        ({"lr_grid": [0.1, nan]}, "setting 'lr_grid': nan is no learning rate; give numbers above 0"),
        ({"lr_grid": [inf]}, "setting 'lr_grid': inf is no learning rate; give numbers above 0"),
        ({"lr_grid": [0.1, -0.5]}, "setting 'lr_grid': -0.5 is no learning rate; give numbers above 0"),
        ({"lr_grid": [0.0]}, "setting 'lr_grid': 0.0 is no learning rate; give numbers above 0"),
    ],
)
def test_bad_numbers(flat, message):
    with pytest.raises(SettingError) as caught:
        make_plan(["evomal", "ml3"], "cross_entropy", [0, 1], **flat)
    assert str(caught.value) == message


def test_nothing_to_compare():
    with pytest.raises(SettingError) as caught:
        make_plan([], "cross_entropy", [0, 1])
    assert str(caught.value) == "there is nothing to compare; give at least one of `methods`"


def test_an_unknown_setting():
    with pytest.raises(UnknownNameError, match=r"^unknown setting 'stepps'; did you mean 'steps'\? "):
        make_plan(["focal"], "cross_entropy", [0, 1], stepps=3)


@pytest.mark.parametrize(
    ("flat", "instead"),
    [
        ({"lrs": (0.1, 0.2)}, "lr_grid in its place, not (0.1, 0.2)"),
        ({"seed": 5}, "seeds in its place, not 5"),
        ({"method": "glo"}, "methods in its place, not 'glo'"),
        ({"workers": 2}, "the executor's workers in its place, not 2"),
    ],
)
def test_what_another_argument_says(flat, instead):
    with pytest.raises(SettingError) as caught:
        make_plan(["focal"], "cross_entropy", [0, 1], **flat)
    assert str(caught.value) == f"setting '{next(iter(flat))}': a comparison takes {instead}"


def test_names_that_another_argument_stands_for_are_not_offered():
    with pytest.raises(UnknownNameError) as caught:
        make_plan(["focal"], "cross_entropy", [0, 1], lrss=0.1)
    assert "did you mean 'lr'?" in str(caught.value)


@pytest.mark.parametrize("method", ["taylorglo", "glo", "glo+fitness-lrs"])
def test_a_population_too_small_for_cma_es(method):
    with pytest.raises(SettingError) as caught:
        make_plan([method], "cross_entropy", [0, 1], population_size=2)
    assert str(caught.value) == (
        f"setting 'population_size': method {method.partition('+')[0]} needs 3 members or more, not 2; give more"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"methods": "focal"},
            "setting 'methods': 'focal' is no list of such values; write methods=['evomal', 'focal', 'loss.json']",
        ),
        ({"methods": ["focal", 3]}, "setting 'methods': ['focal', 3] is no list of such values; write "),
        ({"methods": [""]}, "a name among the methods is empty; `evomal list` names methods and losses"),
        ({"seeds": 3}, "setting 'seeds': 3 is no list of such values; write seeds=[0, 1, 2, 3, 4]"),
        ({"seeds": [True, False]}, "setting 'seeds': [True, False] is no list of such values; write seeds="),
        ({"lr_grid": 0.1}, "setting 'lr_grid': 0.1 is no list of such values; write lr_grid=[0.01, 0.1]"),
        ({"lr_grid": ["a"]}, "setting 'lr_grid': ['a'] is no list of such values; write lr_grid=[0.01, 0.1]"),
        (
            {"lr_grid": [1e39]},
            "setting 'lrs': input should be less than or equal to 1000000000000000000000000000000 (got 1e+39)",
        ),
    ],
)
def test_what_is_no_list_is_said_in_one_sentence(given, message):
    with pytest.raises(SettingError) as caught:
        make_plan(**({"methods": ["focal"], "baseline": "cross_entropy", "seeds": [0, 1]} | given))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_paths_and_numbers_of_other_kinds_are_taken(tmp_path):
    path = tmp_path / "loss.json"
    plan = make_plan([path, "focal"], "cross_entropy", np.arange(2), lr_grid=np.array([0.5, 0.25]))
    assert [contender.name for contender in plan.contenders] == ["cross_entropy", str(path), "focal"]
    assert (plan.training.seeds, plan.training.lrs) == ((0, 1), (0.01, 0.25, 0.5))


def test_a_document_from_before_there_were_optimisers_says_the_same():
    from evomal.comparison.folder import differences
    from evomal.config import train_settings

    def document(training):
        return {"task": {}, "training": training, "methods": {}}

    now = train_settings(steps=9, lr=0.1, schedule="step").model_dump(mode="json")
    names = ("lr", "momentum", "nesterov", "weight_decay", "batch_size")
    schedule = {name: now["base"][name] for name in ("schedule", "milestones", "gamma")}
    old = {name: value for name, value in now.items() if name != "base"} | schedule
    old["base"] = {name: now["base"][name] for name in names}
    assert differences(document(old), document(now)) == []
    other = train_settings(steps=9, lr=0.1, optimizer="adam").model_dump(mode="json")
    assert differences(document(old), document(other)) == [
        "training: base: optimizer was 'sgd', now 'adam'",
        "training: base: schedule was 'step', now 'constant'",
    ]
    # Searches of then had a constant rate, whatever the schedule of full trainings.
    one, two = ({"task": {}, "training": {}, "methods": {"evomal": {"base": base}, "focal": None}}
                for base in (old["base"], now["base"]))  # fmt: skip
    assert differences(one, two) == ["methods: evomal: base: schedule was 'constant', now 'step'"]
