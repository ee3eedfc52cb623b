"""The one contract that every method keeps: a search is a function of its seed, and all of it is written down."""

import json
import math
import random
from typing import get_args

import numpy as np
import pytest
import torch

import evomal
from evomal.config import REGISTRY, fitting
from evomal.evaluation.candidate import Outcome
from evomal.evaluation.probing import probed
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import derive
from evomal.losses.loading import loss_from_entries
from evomal.search import METHODS, Watcher, make_method
from evomal.store import comparable, read_journal
from evomal.tasks import TaskSet
from helpers import tasks

SMALL = {
    "population_size": 4, "generations": 2, "cma_generations": 1, "meta_steps": 3, "neural_steps": 3, "hidden": 6,
    "partial_steps": 15, "rejection_steps": 10, "rejection_threshold": 0.2, "rejection_lr": 0.3, "finals": False,
}  # fmt: skip
FAMILY = {"evomal": "symbolic", "gplfl": "symbolic", "glo": "symbolic", "taylorglo": "taylor", "ml3": "neural"}
MEMBERS = {"evomal": 8, "gplfl": 8, "glo": 12, "taylorglo": 8, "ml3": 1}


def _method(name, **flat):
    return make_method(tasks.quick(**fitting(name, SMALL | flat)))


def _generators():
    """The states of all global generators, as something that can be compared."""
    python, (kind, numbers, *rest) = random.getstate(), np.random.get_state()
    return python, kind, numbers.tolist(), rest, torch.get_rng_state().tolist()


@pytest.fixture(scope="module", params=sorted(METHODS))
def finished(request, tmp_path_factory):
    """A search by each method: its name, its result, its folder, and the global generators before and after."""
    out = tmp_path_factory.mktemp("methods") / request.param
    before = _generators()
    result = _method(request.param, seed=1).learn(tasks.blobs(), out=out)
    return request.param, result, out, (before, _generators())


def test_the_table_knows_every_method():
    assert set(METHODS) == set(FAMILY) == set(MEMBERS) == set(REGISTRY)
    assert all(name == method.name and method.summary for name, method in METHODS.items())


def test_equal_seeds_give_equal_journals_and_others_do_not(finished, tmp_path):
    name, result, out, _ = finished
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    again = _method(name, seed=1).learn(tasks.blobs(), out=tmp_path / "again")
    _method(name, seed=2).learn(tasks.blobs(), out=tmp_path / "other")
    journal, repeated, other = (comparable(read_journal(f)) for f in (out, tmp_path / "again", tmp_path / "other"))
    assert repeated == journal
    assert again.loss.all_entries() == result.loss.all_entries()
    assert [{**r, "seed": 1} for r in other] != journal


@pytest.mark.parametrize("finished", ["ml3", "taylorglo"], indirect=True)
def test_workers_do_not_change_the_journal(finished, tmp_path):
    name, _, out, _ = finished
    _method(name, seed=1, workers=2).learn(tasks.blobs(), out=tmp_path / "a")
    assert comparable(read_journal(tmp_path / "a")) == comparable(read_journal(out))


def test_every_member_of_every_generation_has_its_line(finished):
    name, result, out, _ = finished
    settings, records = result.settings, read_journal(out)
    places = [(g, i) for g in range(settings.generations) for i in range(settings.population)]
    assert [(r["generation"], r["index"]) for r in records] == places == [m.place for m in result.members]
    assert len(records) == settings.evaluations == MEMBERS[name]
    assert {r["family"] for r in records} == {FAMILY[name]}
    assert all(r["outcome"] in get_args(Outcome) for r in records)


def test_the_file_holds_the_loss_that_was_found(finished):
    name, result, out, _ = finished
    loaded = evomal.load_loss(out)
    outputs, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(3)), torch.arange(9) % 3
    assert torch.equal(loaded(outputs, labels), result.loss(outputs, labels))
    assert not any(p.requires_grad for loss in (loaded, result.loss) for p in loss.parameters())
    assert loaded.info == result.loss.info
    assert (loaded.info["method"], loaded.info["fitness"]) == (name, result.fitness)
    assert loaded.formula(digits=4) == result.best.formula == result.as_dict()["formula"]


def test_the_best_is_the_least_of_those_that_were_trained_themselves(finished):
    _, result, out, _ = finished
    trained = [r for r in read_journal(out) if r["outcome"] == "trained"]
    assert result.best.outcome == "trained"
    assert result.fitness == min(r["fitness"] for r in trained)
    assert result.trainings == len(trained) == sum(r["trainings"] for r in read_journal(out))


def test_a_line_of_the_journal_is_a_loss(finished):
    _, result, out, _ = finished
    outputs, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(3)), torch.arange(9) % 3
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    best = next(r for r in lines if (r["generation"], r["index"]) == result.best.place)
    assert torch.equal(loss_from_entries(best)(outputs, labels), result.loss(outputs, labels))
    for line in lines:
        assert loss_from_entries(line).coefficients == line["weights"]


def test_only_methods_with_meta_steps_tune(finished):
    name, result, _, _ = finished
    steps = {m.tuned_steps for m in result.members if m.same_as is None}
    assert steps <= ({0, 3} if name in ("evomal", "ml3") else {0})
    assert (result.meta_steps > 0) == (name in ("evomal", "ml3"))


def test_global_generators_are_left_alone(finished):
    before, after = finished[-1]
    assert before == after


@pytest.mark.parametrize("name", sorted(METHODS))
def test_interruption_keeps_the_best_so_far(name, tmp_path):
    class Stop(Watcher):
        def generation(self, number, best):
            if best is not None:
                raise KeyboardInterrupt

    out = tmp_path / "a"
    result = _method(name, seed=1).learn(tasks.blobs(), out=out, watcher=Stop())
    assert result.interrupted
    assert len(read_journal(out)) == len(result.members) == (1 if name == "ml3" else 4)
    assert evomal.load_loss(out).info["fitness"] == result.fitness == result.best.fitness


@pytest.mark.parametrize("name", sorted(METHODS))
def test_regression_works_as_well(name, tmp_path):
    result = _method(name, seed=1, generations=1, population_size=8).learn(tasks.line(), out=tmp_path / "a")
    loaded = evomal.load_loss(tmp_path / "a")
    assert loaded.task_type == result.loss.task_type == "regression"
    assert result.fitness is not None
    outputs, targets = torch.randn(9, 1, generator=torch.Generator().manual_seed(3)), torch.linspace(-1, 1, 9)
    assert torch.equal(loaded(outputs, targets), result.loss(outputs, targets))


START_FROM = ("mul(y, log(f))", "square(sub(y, f)) [0.5, 2.0, -1.0]")
SEARCHES = [(name, {}) for name in METHODS] + [
    (name, {"start_from": START_FROM}) for name in ("evomal", "gplfl", "glo")
]


def _synthetic(proposed):
    """A fitness that depends on the genome alone, now and then the worst."""
    drawn = derive(proposed.genome.key) % 1000
    return {0: math.inf, 1: math.nan, 2: -math.inf}.get(drawn % 12, drawn / 1000)


@pytest.mark.parametrize(("name", "given"), SEARCHES)
def test_an_engine_goes_on_to_the_bit_from_its_state(name, given):
    """Saved through JSON before every question and before every answer, and loaded into a fresh engine."""
    together = TaskSet.of(tasks.blobs())
    method = _method(name, seed=1, population_size=6, generations=4, cma_generations=3, **given)
    probes = probed(together, method.settings)
    asked, states = [], []
    engine = method.engine(together, probes)
    for generation in range(method.settings.generations):
        states.append((generation, json.dumps(engine.state_dict(), allow_nan=False)))
        proposals = engine.ask()
        states.append((generation, json.dumps(engine.state_dict(), allow_nan=False)))
        asked.append([(p.genome.key, p.origin, p.parents) for p in proposals])
        engine.tell([_synthetic(p) for p in proposals])
    for generation, state in states:
        resumed = method.engine(together, probes)
        resumed.load_state_dict(json.loads(state))
        for expected in asked[generation:]:
            proposals = resumed.ask()
            assert [(p.genome.key, p.origin, p.parents) for p in proposals] == expected
            resumed.tell([_synthetic(p) for p in proposals])
        assert resumed.state_dict() == engine.state_dict()


OTHERWISE = {"meta_steps": 5, "output_activation": "softplus", "rejection": True, "gradient_equivalence": True}


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name in REGISTRY for setting in REGISTRY[name].fixed]
)
def test_settings_that_a_method_cannot_have(name, setting):
    value, has = OTHERWISE[setting], REGISTRY[name].fixed[setting]
    with pytest.raises(SettingError) as caught:
        METHODS[name](**{setting: value})
    assert str(caught.value) == f"setting '{setting}': method {name} has {has}, not {value!r}; leave it out"
    assert METHODS[name](**{setting: has}).settings == METHODS[name]().settings


@pytest.mark.parametrize("name", sorted(METHODS))
def test_settings_of_another_method_are_refused(name):
    own, other = METHODS[name], "gplfl" if name == "evomal" else "evomal"
    message = f"setting 'method': {own.__name__} is '{name}', not '{other}'; leave it out"
    for make in (lambda: own(tasks.quick(method=other)), lambda: own(method=other)):
        with pytest.raises(SettingError) as caught:
            make()
        assert str(caught.value) == message
    with pytest.raises(SettingError) as caught:
        own("quick")
    assert str(caught.value) == (
        f"settings is 'quick'; give single values, such as {own.__name__}(preset='quick', seed=0)"
    )


@pytest.mark.parametrize("name", ["taylorglo", "glo"])
def test_a_population_too_small_for_cma_es_is_refused_before_the_search(name, tmp_path):
    with pytest.raises(SettingError) as caught:
        _method(name, population_size=2).learn(tasks.blobs(), out=tmp_path / "a")
    assert str(caught.value) == f"setting 'population_size': method {name} needs 3 members or more, not 2; give more"
    assert list(tmp_path.iterdir()) == []
