import math
from collections import Counter

import pytest
import torch
import yaml

from evomal.config import (
    OPTIMIZERS,
    PRESETS,
    REGISTRY,
    BaseSettings,
    FinalsSettings,
    LearnSettings,
    TrainSettings,
    changed,
    changes,
    compared_settings,
    fitting,
    flat,
    flat_fields,
    given,
    idle,
    lacking,
    learn_settings,
    meanings,
    setting,
    train_settings,
    unused,
    validated,
    with_given,
)
from evomal.config.fields import Meaning, Settings, fields_of, stages_of
from evomal.expressions import LEAVES, TABLE_1
from evomal.foundation.errors import SettingError, UnknownNameError


def test_the_defaults_are_the_papers():
    settings = learn_settings()
    assert settings.genetic.model_dump() == {
        "operators": TABLE_1,
        "terminals": LEAVES,
        "population_size": 25,
        "generations": 50,
        "min_depth": 2,
        "max_depth": 4,
        "tournament_size": 4,
        "crossover_rate": 0.70,
        "mutation_rate": 0.25,
        "mutation_depth": 2,
        "elitism_rate": 0.05,
        "max_height": 10,
        "asynchronous": False,
        "known_start": 0.0,
        "start_from": (),
    }
    assert set(settings.limits.model_dump().values()) == {None}
    assert settings.local_search.model_dump() == {
        "meta_steps": 250,
        "base_steps": 1,
        "meta_lr": 1e-3,
        "task_loss_batch": "valid",
    }
    assert settings.partial_steps == 500
    assert settings.filters.rejection_threshold == 0.6
    assert (settings.filters.rejection_instances, settings.filters.rejection_steps) == (100, 1000)
    assert settings == LearnSettings() == learn_settings(seed=None, lr=None)


def test_the_paper_on_mnist():
    settings, training = learn_settings("paper-mnist"), train_settings("paper-mnist")
    assert settings.base.known() == {
        "optimizer": "sgd",
        "lr": 0.01,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "batch_size": 128,
    }
    assert settings == LearnSettings(finals=FinalsSettings(finals=False))
    assert training.steps == 10_000


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_overridden_by_what_is_given(preset):
    assert learn_settings(preset, population_size=7, seed=2).genetic.population_size == 7
    assert learn_settings(preset, seed=2).seed == 2
    assert train_settings(preset, steps=11).steps == 11
    known = flat_fields(LearnSettings) | flat_fields(TrainSettings)
    assert set(PRESETS[preset]) <= set(known)


def test_flat_names_find_their_stage_and_are_unique():
    settings = learn_settings(lr=0.5, meta_lr=0.25, rejection=False, max_height=12, workers=2)
    assert (settings.base.lr, settings.local_search.meta_lr) == (0.5, 0.25)
    assert (settings.filters.rejection, settings.genetic.max_height, settings.workers) == (False, 12, 2)
    for kind in (LearnSettings, TrainSettings):
        names = [name for name in kind.model_fields if name not in stages_of(kind)]
        names += [name for part in stages_of(kind).values() for name in part.model_fields]
        assert [name for name, count in Counter(names).items() if count > 1] == []
        assert set(names) - {"own"} == set(flat_fields(kind))  # a method's own are flat where that method is


@pytest.mark.parametrize("kind", [LearnSettings, TrainSettings])
def test_every_setting_says_what_it_means(kind):
    fields = {name: field for name, (_, field) in fields_of(kind).items()}
    assert [name for name, field in fields.items() if not field.description or field.description[-1] in ".;"] == []
    silent = [name for name, field in fields.items() if not any(isinstance(m, Meaning) for m in field.metadata)]
    assert silent == []  # a field of pydantic's would be taken to matter to all methods and never to change
    for name, meaning in meanings(kind).items():
        assert meaning.results or meaning.changes == "freely", name  # what no result depends on may change
        if meaning.only is not None:
            switch, values = meaning.only
            assert switch in fields, name
            assert values, name
        if kind is LearnSettings:
            assert any(entry.uses(name, meaning) for entry in REGISTRY.values()), name
        if meaning.off is not None:
            assert flat(learn_settings(**{name: meaning.off}))[name] == meaning.off


def test_what_a_field_says_is_kept_beside_its_limits():
    class Mine(Settings):
        depth: int = setting(3, "greatest depth", part="formulas", changes="freely", ge=1)
        plain: int = 3

    assert meanings(Mine) == {"depth": Meaning(part="formulas", changes="freely"), "plain": Meaning()}
    with pytest.raises(SettingError, match=r"^setting 'depth': input should be greater"):
        validated(Mine, {"depth": 0})


def test_no_result_depends_on_where_a_search_is_done():
    assert idle(LearnSettings) == {"workers", "executor", "address", "object_store"}
    assert idle(TrainSettings) == frozenset()


def test_which_optimiser_has_which_setting():
    has = {
        "sgd": {"momentum", "nesterov", "weight_decay"},
        "adam": {"betas", "eps", "weight_decay"},
        "adamw": {"betas", "eps", "weight_decay"},
        "rmsprop": {"momentum", "smoothing", "eps", "weight_decay"},
        "own": set(),
    }
    every = set().union(*has.values())
    assert {name: every - set(lacking(name)) for name in OPTIMIZERS} == has


@pytest.mark.parametrize(
    "flat_given", [{}, {"seed": 0}, {"lr": 0.03, "momentum": 0.9}, {"finals": True, "steps": 1_000, "workers": 1}]
)
def test_it_is_known_what_somebody_gave_though_a_preset_says_the_same(flat_given):
    settings = learn_settings("practice", **flat_given)
    assert settings == learn_settings("practice")
    assert given(settings) == flat_given.keys()
    assert given(changed(settings, seed=0)) == {*flat_given, "seed"}
    assert given(changed(settings, "practice")) == flat_given.keys() - PRESETS["practice"].keys()
    assert given(with_given(settings, ["clip"])) == {"clip"}
    base = settings.base.model_copy(update={"nesterov": True})
    assert given(settings.model_copy(update={"seed": 9, "base": base})) == flat_given.keys()
    assert with_given(settings, ["clip"]) == settings
    assert given(BaseSettings(momentum=0.0)) == {"momentum"}
    assert given(train_settings("quick", seeds=(0,), lr=0.1)) == {"seeds", "lr", "lrs"}


@pytest.mark.parametrize(
    ("flat_given", "name", "optimizer"),
    [
        ({"optimizer": "adam", "momentum": 0.0}, "momentum", "adam"),
        ({"betas": (0.9, 0.999)}, "betas", "sgd"),
        ({"optimizer": "own", "weight_decay": 0.0}, "weight_decay", "own"),
        ({"optimizer": "rmsprop", "nesterov": False}, "nesterov", "rmsprop"),
    ],
)
@pytest.mark.parametrize("make", [learn_settings, train_settings])
def test_a_setting_that_an_optimiser_lacks_is_refused_though_it_is_as_it_always_is(make, flat_given, name, optimizer):
    message = f"setting '{name}': optimizer {optimizer} does not have it; leave it out"
    with pytest.raises(SettingError) as caught:
        make(**flat_given)
    assert str(caught.value) == message


def test_what_may_change_is_said_by_the_settings():
    found = changes(learn_settings(method="glo"), learn_settings(method="glo", generations=9, cma_generations=9, lr=1))
    assert {change.name: change.allowed for change in found} == {
        "lr": False, "generations": False, "cma_generations": True
    }  # fmt: skip
    racing = learn_settings(racing=True), learn_settings(racing=True, max_evaluations=3, workers=2)
    assert {change.name: change.allowed for change in changes(*racing)} == {"workers": True, "max_evaluations": False}
    more, fewer = train_settings(seeds=(0, 1, 2), lrs=(0.1, 0.2)), train_settings(seeds=(0, 1), lrs=(0.1,))
    assert [change.allowed for change in changes(fewer, more)] == [True, True]
    assert [change.allowed for change in changes(more, fewer)] == [False, False]
    assert next(map(str, changes(more, fewer))) == "seeds was (0, 1, 2), now (0, 1)"


@pytest.mark.parametrize("settings", [learn_settings("quick", lr=0.1), train_settings("quick", seeds=(1, 2))])
def test_settings_survive_yaml(settings):
    text = yaml.safe_dump(settings.model_dump(mode="json"))
    assert validated(type(settings), yaml.safe_load(text)) == settings


def test_yaml_reads_some_numbers_as_text():
    assert yaml.safe_load("lr: 1e-3") == {"lr": "1e-3"}
    assert learn_settings(**yaml.safe_load("lr: 1e-3")).base.lr == 1e-3


def test_settings_are_frozen_and_can_be_compared():
    settings = learn_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        settings.base.lr = 3.0
    assert hash(settings) == hash(learn_settings())
    assert settings != learn_settings(seed=1)


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"fitness_lrs": 0.1}, "setting 'fitness_lrs': give its values in brackets, fitness_lrs=(0.1,), not 0.1"),
        ({"betas": 0.9}, "setting 'betas': give its values in brackets, betas=(0.9, …), not 0.9"),
        ({"lr": 0}, "setting 'lr': input should be greater than 0 (got 0)"),
        ({"lr": -0.1}, "setting 'lr': input should be greater than 0 (got -0.1)"),
        ({"lr": math.nan}, "setting 'lr': input should be a finite number (got nan)"),
        ({"lr": math.inf}, "setting 'lr': input should be a finite number (got inf)"),
        (
            {"lr": "fast"},
            "setting 'lr': input should be a valid number, unable to parse string as a number (got 'fast')",
        ),
        ({"population_size": 1}, "setting 'population_size': input should be greater than or equal to 2 (got 1)"),
        ({"crossover_rate": 1.5}, "setting 'crossover_rate': input should be less than or equal to 1 (got 1.5)"),
        (
            {"workers": 1.5},
            "setting 'workers': input should be a valid integer, got a number with a fractional part (got 1.5)",
        ),
        (
            {"method": "magic"},
            "unknown method 'magic'; known: evomal, glo, gplfl, ml3, taylorglo",
        ),
        ({"task_loss_batch": "test"}, "unknown task loss batch 'test'; known: train, valid"),
        (
            {"optimizer": "adan"},
            "unknown optimizer 'adan'; did you mean 'adam'? (known: adam, adamw, own, rmsprop, sgd)",
        ),
        (
            {"schedule": "cosin"},
            "unknown schedule 'cosin'; did you mean 'cosine'? (known: constant, cosine, one-cycle, step)",
        ),
        ({"betas": (0.9, 1.0), "optimizer": "adam"}, "setting 'betas': input should be less than 1 (got 1.0)"),
        ({"smoothing": -0.1}, "setting 'smoothing': input should be greater than or equal to 0 (got -0.1)"),
        ({"clip": 0}, "setting 'clip': input should be greater than 0 (got 0)"),
        ({"eps": 0}, "setting 'eps': input should be greater than 0 (got 0)"),
        ({"warmup": 1}, "setting 'warmup': input should be less than 1 (got 1)"),
        (
            {"optimizer": "adam", "momentum": 0.9},
            "setting 'momentum': optimizer adam does not have it; leave it out",
        ),
        ({"betas": (0.5, 0.9)}, "setting 'betas': optimizer sgd does not have it; leave it out"),
        (
            {"optimizer": "own", "weight_decay": 0.1},
            "setting 'weight_decay': optimizer own does not have it; leave it out",
        ),
        ({"nesterov": True}, "nesterov needs a momentum above 0"),
        ({"min_depth": 5}, "min_depth 5 is above max_depth 4"),
        ({"max_height": 3}, "max_depth 4 is above max_height 3"),
        (
            {"crossover_rate": 0.8},
            "crossover_rate and mutation_rate add up to more than 1",
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_in_one_sentence(flat, message):
    with pytest.raises(SettingError) as caught:
        learn_settings(**flat)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        (
            {"optimizer": torch.optim.AdamW},
            "setting 'optimizer': it takes a name such as 'adamw', not AdamW; an optimiser of your own belongs to the "
            "task: evomal.Task(…, optimizer=…), a function of (parameters, lr) that makes it",
        ),
        (
            {"optimizer": torch.optim.NAdam([torch.zeros(1, requires_grad=True)])},
            "setting 'optimizer': it takes a name such as 'adam', not NAdam; an optimiser of your own belongs to the "
            "task: evomal.Task(…, optimizer=…), a function of (parameters, lr) that makes it",
        ),
        (
            {"schedule": lambda optimizer, steps: None},
            "setting 'schedule': it takes a name such as 'cosine', not a function; a schedule of your own belongs to "
            "the task: evomal.Task(…, schedule=…), a function of (optimizer, steps) that makes it",
        ),
        ({"optimizer": 3}, "setting 'optimizer': input should be a valid string (got 3)"),
        ({"optimizer": ["sgd"]}, "setting 'optimizer': input should be a valid string (got ['sgd'])"),
    ],
)
@pytest.mark.parametrize("settings", [learn_settings, train_settings])
def test_an_optimiser_of_ones_own_is_sent_to_the_task(flat, message, settings):
    with pytest.raises(SettingError) as caught:
        settings("quick", **flat)
    assert str(caught.value) == message


def test_a_name_that_differs_in_case_alone_is_suggested():
    with pytest.raises(UnknownNameError, match=r"^unknown optimizer 'AdamW'; did you mean 'adamw'\? "):
        learn_settings(optimizer="AdamW")
    with pytest.raises(
        UnknownNameError, match=r"^unknown setting 'Population_Size'; did you mean 'population_size'\? "
    ):
        learn_settings(Population_Size=3)


def test_no_seeds_and_no_rates_are_refused():
    for name in ("seeds", "lrs"):
        with pytest.raises(SettingError, match=f"^setting '{name}': tuple should have at least 1 item"):
            train_settings(**{name: ()})


def test_unknown_names():
    with pytest.raises(UnknownNameError) as caught:
        learn_settings("quik")
    assert str(caught.value) == f"unknown preset 'quik'; did you mean 'quick'? (known: {', '.join(sorted(PRESETS))})"
    with pytest.raises(UnknownNameError, match=r"^unknown setting 'populaton_size'; did you mean 'population_size'\?"):
        learn_settings(populaton_size=3)
    with pytest.raises(UnknownNameError, match=r"^unknown setting 'base'"):
        learn_settings(base={})
    with pytest.raises(SettingError) as caught:
        validated(LearnSettings, {"base": {"learning_rate": 0.1}})
    assert str(caught.value) == "setting 'learning_rate': extra inputs are not permitted (got 0.1)"


def test_one_rate_for_meta_testing_is_the_rate_that_is_used():
    assert train_settings(lr=0.5).lrs == (0.5,)
    assert train_settings("quick").lrs == (train_settings("quick").base.lr,)
    assert train_settings("quick", lrs=(0.1, 0.3)).lrs == (0.1, 0.3)


METHODS = tuple(REGISTRY)
TREES = {
    "operators", "terminals", "min_depth", "max_depth", "tournament_size", "crossover_rate", "mutation_rate",
    "mutation_depth", "elitism_rate", "max_height", "known_start", "start_from", "asynchronous",
}  # fmt: skip
CMA, NEURAL, TUNING = (
    {"sigma", "cma_generations"},
    {"hidden", "neural_steps"},
    {"base_steps", "meta_lr", "task_loss_batch"},
)
ONE_LOSS = {
    "population_size", "generations", "meta_steps", "rejection_steps", "rejection_lr", "rejection_threshold", "racing",
    "racing_effort", "racing_keep",
}  # fmt: skip
IDLE = {
    "evomal": CMA | NEURAL,
    "gplfl": TUNING | CMA | NEURAL,
    "glo": TUNING | NEURAL | {"asynchronous"},
    "taylorglo": TREES | {"cma_generations"} | TUNING | NEURAL,
    "ml3": ONE_LOSS | TREES | CMA,
}
"""What has no effect on a method, written down independently of its parts."""


@pytest.mark.parametrize("preset", [None, *PRESETS])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_its_fixed_and_takes_its_usual_settings_and_the_presets(method, preset):
    plain, own = flat(learn_settings(preset)), flat(learn_settings(preset, method=method))
    assert own == plain | {"method": method} | dict(REGISTRY[method].defaults) | dict(REGISTRY[method].fixed)


def test_what_sets_the_methods_apart():
    assert {m for m in METHODS if learn_settings(method=m).tuning.meta_steps == 0} == {"gplfl", "glo", "taylorglo"}
    assert learn_settings(method="ml3").tuning.meta_steps == 500
    assert learn_settings(method="ml3", neural_steps=7, base_steps=2, meta_lr=0.5).tuning.model_dump() == {
        "meta_steps": 7,
        "base_steps": 2,
        "meta_lr": 0.5,
        "task_loss_batch": "valid",
    }
    assert learn_settings(meta_steps=7).tuning.meta_steps == 7
    assert learn_settings(method="taylorglo").cma.sigma == 1.2
    assert learn_settings(method="glo").cma.sigma == 0.3
    assert learn_settings(method="glo", sigma=0.7).cma.sigma == 0.7
    assert not learn_settings(method="ml3").filters.rejection


@pytest.mark.parametrize("method", METHODS)
def test_generations_population_and_evaluations(method):
    settings = learn_settings(**fitting(method, {"population_size": 6, "generations": 5, "cma_generations": 3}))
    generations = {"ml3": 1, "glo": 8}.get(method, 5)
    population = 1 if method == "ml3" else 6
    assert (settings.generations, settings.population) == (generations, population)
    assert settings.evaluations == generations * population


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"method": "gplfl", "meta_steps": 100}, "setting 'meta_steps': method gplfl has 0, not 100; leave it out"),
        ({"method": "glo", "meta_steps": 1}, "setting 'meta_steps': method glo has 0, not 1; leave it out"),
        (
            {"method": "taylorglo", "output_activation": "softplus"},
            "setting 'output_activation': method taylorglo has identity, not 'softplus'; leave it out",
        ),
        ({"method": "ml3", "rejection": True}, "setting 'rejection': method ml3 has False, not True; leave it out"),
        (
            {"method": "ml3", "neural_steps": 0},
            "setting 'neural_steps': input should be greater than or equal to 1 (got 0)",
        ),
        ({"method": "ml3", "meta_steps": 7}, "setting 'meta_steps': method ml3 does not use it; leave it out"),
        ({"sigma": 0.5}, "setting 'sigma': method evomal does not use it; leave it out"),
        (
            {"method": "glo", "population_size": 2},
            "setting 'population_size': method glo needs 3 members or more, not 2; give more",
        ),
        ({"method": "ml3", "hidden": 257}, "setting 'hidden': input should be less than or equal to 256 (got 257)"),
        (
            {"method": "glo", "sigma": 1e-320},
            "setting 'sigma': input should be greater than or equal to 0.000001 (got 1e-320)",
        ),
        (
            {"method": "taylorglo", "sigma": 1e39},
            "setting 'sigma': input should be less than or equal to 1000000 (got 1e+39)",
        ),
        (
            {"lr": 1e39},
            "setting 'lr': input should be less than or equal to 1000000000000000000000000000000 (got 1e+39)",
        ),
        ({"fitness_lrs": (1.0, -1.0)}, "setting 'fitness_lrs': input should be greater than 0 (got -1.0)"),
        (
            {"fitness_lrs": ()},
            "setting 'fitness_lrs': tuple should have at least 1 item after validation, not 0 (got ())",
        ),
    ],
)
def test_what_a_method_cannot_have_is_refused_in_one_sentence(flat, message):
    with pytest.raises(SettingError) as caught:
        learn_settings(**flat)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", METHODS)
def test_settings_for_several_methods_fit_each(method):
    shared = {"meta_steps": 30, "rejection": True, "output_activation": "softplus", "population_size": 6, "sigma": 0.5}
    fitted = fitting(method, shared)
    left_out = {
        "evomal": {"sigma"},
        "gplfl": {"meta_steps", "sigma"},
        "glo": {"meta_steps"},
        "taylorglo": {"meta_steps", "output_activation"},
        "ml3": {"meta_steps", "rejection", "output_activation", "population_size", "sigma"},
    }[method]
    assert fitted == {k: v for k, v in shared.items() if k not in left_out} | {"method": method}
    assert set(unused(method, shared)) == left_out


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_use_changes_nothing(method):
    """Whatever is called unused is so: no such name has an effect on how a search is put together."""
    entry = REGISTRY[method]
    idle_names = {name for name, meaning in meanings(LearnSettings).items() if not entry.uses(name, meaning)}
    assert idle_names == IDLE[method]
    for name in idle_names:
        with pytest.raises(SettingError, match=f"^setting '{name}': method {method} does not use it; leave it out$"):
            learn_settings(method=method, **{name: 3})


@pytest.mark.parametrize("method", METHODS)
def test_settings_that_fit_are_taken(method):
    shared = {"meta_steps": 30, "rejection": True, "output_activation": "softplus", "population_size": 6, "sigma": 0.5}
    fitted = fitting(method, shared)
    settings = flat(learn_settings("quick", **fitted))
    assert {name: settings[name] for name in fitted} == fitted
    assert shared["meta_steps"] == 30  # it is left as it was


def test_a_rate_counts_once():
    assert learn_settings(fitness_lrs=(0.1, 1.0, 0.1)).fitness_lrs == (0.1, 1.0)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("1e3", 1000.0),
        ("90s", 90.0),
        ("45m", 2700.0),
        ("2h", 7200.0),
        ("2h30m", 9000.0),
        (" 1d ", 86400.0),
        ("1.5h", 5400.0),
        ("1d2h3m4.5s", 93784.5),
    ],
)
def test_a_time_is_seconds_or_a_text(given, seconds):
    settings = learn_settings(max_time=given)
    assert settings.limits.max_time == seconds
    assert type(settings.limits.max_time) is float
    assert validated(LearnSettings, yaml.safe_load(yaml.safe_dump(settings.model_dump(mode="json")))) == settings
    assert validated(LearnSettings, {"limits": {"max_time": given}}) == settings


@pytest.mark.parametrize("given", ["2 hrs", "30m2h", "2h30", "h", "", "soon", "nan", "inf", "1h-2m", "1:30"])
def test_a_text_that_is_no_time(given):
    with pytest.raises(SettingError) as caught:
        learn_settings(max_time=given)
    assert str(caught.value) == f"setting 'max_time': {given!r} is no time; write seconds, or such as 45m or 2h30m"


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"max_time": 0}, "setting 'max_time': input should be greater than 0 (got 0)"),
        ({"max_time": "0s"}, "setting 'max_time': input should be greater than 0 (got '0s')"),
        ({"max_time": f"{'9' * 400}d"}, "setting 'max_time': input should be a finite number (got inf)"),
        ({"max_evaluations": 0}, "setting 'max_evaluations': input should be greater than or equal to 1 (got 0)"),
        ({"patience": 0}, "setting 'patience': input should be greater than or equal to 1 (got 0)"),
        ({"target_fitness": math.nan}, "setting 'target_fitness': input should be a finite number (got nan)"),
    ],
)
def test_a_limit_that_cannot_be(flat, message):
    with pytest.raises(SettingError) as caught:
        learn_settings(**flat)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", ["evomal", "gplfl", "ml3", "taylorglo", "glo"])
@pytest.mark.parametrize("preset", [None, "quick"])
def test_what_is_not_given_anew_is_as_it_was(method, preset):
    before = learn_settings(preset, method=method, seed=3, lr=0.25, patience=4)
    assert changed(before) == before
    assert changed(before, seed=None, lr=None, generations=None) == before
    assert changed(before, workers=2) == before.model_copy(update={"workers": 2})
    again = learn_settings(preset, method=method, seed=5, lr=0.25, patience=4, partial_steps=9)
    assert changed(before, seed=5, partial_steps=9) == again


@pytest.mark.parametrize("method", ["evomal", "gplfl", "ml3", "taylorglo", "glo"])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_that_is_given_again_is_what_it_was(method, preset):
    before = learn_settings(preset, method=method, seed=3)
    assert changed(before, preset) == before
    assert changed(before, preset, batch_size=7) == learn_settings(preset, method=method, seed=3, batch_size=7)


def test_a_preset_that_is_given_anew_takes_the_place_of_what_it_names():
    before = learn_settings(generations=5, population_size=9, momentum=0.5, start_from=("mse",))
    now = changed(before, "quick", population_size=8)
    names = {name: value for name, value in PRESETS["quick"].items() if name in flat_fields(LearnSettings)}
    assert now == learn_settings(**(names | {"population_size": 8, "momentum": 0.5, "start_from": ("mse",)}))


def test_settings_that_change_are_checked_and_the_old_ones_stay():
    before = learn_settings("quick")
    after = changed(before, max_time="2h30m", lr=1, fitness_lrs=(2, 1, 2), start_from=("mse",))
    assert (after.limits.max_time, after.base.lr, after.fitness_lrs) == (9000.0, 1.0, (2.0, 1.0))
    assert after.genetic.start_from == ("mse",)
    assert before == learn_settings("quick")


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"population_size": 1}, "setting 'population_size': input should be greater than or equal to 2 (got 1)"),
        ({"max_depth": 11}, "max_depth 11 is above max_height 10"),
        ({"max_time": "soon"}, "setting 'max_time': 'soon' is no time; write seconds, or such as 45m or 2h30m"),
        ({"lr": math.nan}, "setting 'lr': input should be a finite number (got nan)"),
        (
            {"method": "gplfl"},
            "method gplfl has meta_steps 0, not 100; take its settings from learn_settings(method='gplfl')",
        ),
    ],
)
def test_a_change_that_cannot_be(flat, message):
    with pytest.raises(SettingError) as caught:
        changed(learn_settings("quick"), **flat)
    assert str(caught.value) == message


def test_a_change_of_what_does_not_exist():
    with pytest.raises(UnknownNameError, match=r"^unknown setting 'generation'; did you mean 'generations'\?"):
        changed(learn_settings(), generation=5)
    with pytest.raises(UnknownNameError, match=r"^unknown preset 'quik'; did you mean 'quick'\?"):
        changed(learn_settings(), "quik")


def test_an_optimiser_has_defaults_of_its_own_which_presets_do_not_touch():
    assert learn_settings("quick").base.lr == 0.1
    for preset in (None, "quick", "paper-mnist"):
        base = learn_settings(preset, optimizer="adamw").base
        assert (base.lr, base.weight_decay) == (0.001, 0.01)
        assert train_settings(preset, optimizer="adamw").lrs == (0.001,)
        assert train_settings(preset, optimizer="adamw", lr=0.003).lrs == (0.003,)
    assert learn_settings("quick", optimizer="adam").base.weight_decay == 0
    assert learn_settings("quick", optimizer="sgd").base.lr == 0.1
    assert learn_settings("quick", optimizer="rmsprop", lr=0.02, momentum=0.9).base.momentum == 0.9
    assert BaseSettings(optimizer="adamw").lr == 0.001
    before = learn_settings("quick", optimizer="adamw", lr=0.003)
    assert changed(before, "quick") == before


def test_what_matters_for_an_optimiser_and_a_schedule():
    base = BaseSettings(optimizer="adamw", schedule="cosine", warmup=0.1, clip=1.0)
    assert base.known() == {
        "optimizer": "adamw",
        "lr": 0.001,
        "weight_decay": 0.01,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "clip": 1.0,
        "schedule": "cosine",
        "warmup": 0.1,
        "batch_size": 128,
    }
    assert {"milestones", "gamma"} <= set(BaseSettings(schedule="step").known())


def test_files_from_before_there_were_optimisers_can_be_read():
    old = {"lr": 0.2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0, "batch_size": 64}
    settings = validated(LearnSettings, {"method": "evomal", "base": old})
    assert settings == learn_settings(lr=0.2, momentum=0.9, nesterov=True, batch_size=64)
    schedule = {"schedule": "step", "milestones": [0.5], "gamma": 0.3}
    training = validated(TrainSettings, {"steps": 9, "lrs": [0.2], **schedule, "base": old})
    assert training == train_settings(steps=9, lr=0.2, momentum=0.9, nesterov=True, batch_size=64, schedule="step",
                                      milestones=(0.5,), gamma=0.3)  # fmt: skip
    assert training == TrainSettings(steps=9, lrs=(0.2,), base=BaseSettings(**old), **schedule)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", "did you mean 'lr'?"),
        ("epochs", "did you mean 'partial_steps' or 'steps'?"),
        ("random_state", "did you mean 'seed'?"),
        ("n_jobs", "did you mean 'workers'?"),
        ("population", "did you mean 'population_size'?"),
        ("momentun", "did you mean 'momentum'?"),
        ("metric", "it belongs to the task: evomal.Task(…, metric=…)"),
        ("loss", "it belongs to the task: evomal.Task(…, task_loss=…)"),
        ("verbose", "known: address, "),
        ("callbacks", "known: address, "),
    ],
)
def test_names_of_other_libraries_are_understood_and_nothing_far_fetched_is_proposed(name, hint):
    with pytest.raises(UnknownNameError) as caught:
        learn_settings(**{name: 1})
    assert str(caught.value).startswith(f"unknown setting '{name}'; {hint}")


@pytest.mark.parametrize(
    ("flat_given", "sentence"),
    [
        (
            {"address": "head:6379"},
            "setting 'address': it has no effect with executor 'auto'; give `executor='ray'`, or leave it out",
        ),
        (
            {"address": "head:6379", "executor": "processes"},
            "setting 'address': it has no effect with executor 'processes'; give `executor='ray'`, or leave it out",
        ),
        (
            {"object_store": 100, "workers": 2},
            "setting 'object_store': it has no effect with executor 'auto'; give `executor='ray'`, or leave it out",
        ),
        (
            {"object_store": 100, "executor": "ray", "address": "head:6379"},
            "setting 'object_store': it has no effect on a cluster that runs already, at `address`; leave it out",
        ),
        (
            {"gamma": 0.5, "schedule": "cosine"},
            "setting 'gamma': it has no effect with schedule 'cosine'; give `schedule='step'`, or leave it out",
        ),
        (
            {"milestones": (0.5,)},
            "setting 'milestones': it has no effect with schedule 'constant'; give `schedule='step'`, or leave it out",
        ),
    ],
)
def test_what_another_setting_leaves_nothing_to_do_is_refused(flat_given, sentence):
    with pytest.raises(SettingError) as caught:
        learn_settings(**flat_given)
    assert str(caught.value) == sentence
    trained = {name: value for name, value in flat_given.items() if name in flat_fields(TrainSettings)}
    if trained.keys() == flat_given.keys():
        with pytest.raises(SettingError) as caught:
            train_settings(**flat_given)
        assert str(caught.value) == sentence


def test_together_with_what_they_go_with_they_are_taken():
    learn_settings(address="head:6379", executor="ray")
    learn_settings(object_store=100, executor="ray")
    learn_settings(gamma=0.5, milestones=(0.5,), schedule="step")
    # What is there for another case, and says so, may be given in any.
    learn_settings(fitness_trial=0.5)
    learn_settings(finals_effort=2.0, finals_budget=900)
    assert learn_settings("quick", steps=9).finals.finals is False
    assert train_settings("quick", steps=9).steps == 9
    assert train_settings("paper-cifar10", gamma=0.5).base.gamma == 0.5  # whose schedule is one of full trainings


def test_a_search_that_leaves_its_cluster_forgets_the_address():
    before = learn_settings(executor="ray", address="head:6379", workers=3)
    after = changed(before, executor="processes")
    assert (after.execution.executor, after.execution.address) == ("processes", None)
    assert changed(before, workers=4).execution.address == "head:6379"
    assert changed(learn_settings(), executor="ray", address="head:6379").execution.address == "head:6379"


def test_of_several_searches_each_takes_what_it_has_a_use_for():
    settings = compared_settings("quick", gamma=0.5, steps=9)
    assert (settings.base.gamma, settings.finals.finals) == (0.5, False)
    with pytest.raises(SettingError, match=r"^setting 'folds': it has no effect without finals"):
        compared_settings("quick", folds=3)
