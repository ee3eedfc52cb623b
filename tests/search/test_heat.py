"""Racing: a short heat for all new candidates, a full evaluation for the best of them."""

import math
from collections import defaultdict

import pytest

from evomal.config import fields, learn_settings
from evomal.evaluation.racing import heat_settings
from evomal.evaluation.stages import judge_stage, train_stage, tune_stage
from evomal.foundation.errors import SettingError
from evomal.search import EvoMAL
from evomal.tasks import TaskSet
from helpers import stops

tasks = stops.tasks

RACING = {
    "racing": True, "racing_effort": 0.2, "racing_keep": 0.1, "population_size": 10, "generations": 4, "seed": 0,
    "meta_steps": 10, "partial_steps": 30,
}  # fmt: skip


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    out = tmp_path_factory.mktemp("raced") / "a"
    return EvoMAL(tasks.quick(**RACING)).learn(tasks.blobs(), out), out


def _by_generation(members):
    found = defaultdict(list)
    for member in members:
        if member.own:
            found[member.generation].append(member)
    return found.values()


def test_no_more_than_the_given_share_is_evaluated_in_full(raced):
    result, _ = raced
    assert {"trained", "dropped"} <= set(result.outcomes)
    for own in _by_generation(result.members):
        full = [member for member in own if "tune" in member.seconds]
        assert len(full) == min(math.ceil(0.1 * len(own)), sum(member.heat is not None for member in own))


def test_those_who_go_on_were_the_best_of_the_heat(raced):
    for own in _by_generation(raced[0].members):
        heats = {True: [], False: []}
        for member in own:
            if member.heat is not None:
                heats["tune" in member.seconds].append(member.heat)
        assert max(heats[True], default=0) <= min(heats[False], default=math.inf)


def test_dropped_members_have_their_heats_fitness_and_are_never_the_best(raced):
    result, _ = raced
    dropped = [member for member in result.members if member.outcome == "dropped"]
    assert dropped
    for member in dropped:
        assert member.fitness == member.heat
        assert (member.tuned_steps, member.trainings) == (2, 1)
    assert result.best.outcome == "trained"
    assert result.best.tuned_steps == 2 + 10


def test_a_full_evaluation_is_what_it_is_without_racing(raced):
    """φ, score and fitness of those that were evaluated in full, from the stages called one by one."""
    settings, task_set = learn_settings(**_flat(RACING) | {"racing": False}), TaskSet((tasks.blobs(),))
    from evomal.evaluation.filters import make_probe

    probes = [make_probe(task, settings.filters.rejection_instances, settings.seed) for task in task_set]
    full = [member for member in raced[0].members if member.outcome == "trained"]
    for member in full:
        ((loss, _),) = tune_stage(task_set, settings, [member.genome])
        assert loss.coefficients == member.weights
        assert judge_stage(task_set, settings, probes, loss).score == member.score
        assert train_stage(task_set, settings, loss).fitness == member.fitness


def _flat(flat):
    """The settings that were given, but for those of the race itself."""
    settings = tasks.quick(**flat)
    return {name: fields.flat(settings)[name] for name in fields.given(settings) if not name.startswith("racing")}


def test_a_heat_is_the_beginning_of_the_evaluation():
    settings = tasks.quick(**RACING)
    heat = heat_settings(settings)
    assert (heat.tuning.meta_steps, heat.partial_steps) == (2, 6)
    assert (heat.base, heat.seed, heat.filters.rejection_steps) == (
        settings.base,
        settings.seed,
        settings.filters.rejection_steps,
    )
    assert heat_settings(learn_settings(method="gplfl")).tuning.meta_steps == 0


@pytest.mark.parametrize("kept", [1, 13, 33])
def test_an_interrupted_race_ends_as_one_that_was_not(raced, tmp_path, kept):
    result, out = raced
    folder = stops.cut(out, tmp_path / "b", kept)
    again = EvoMAL(tasks.quick(**RACING)).learn(tasks.blobs(), folder, resume=True)
    assert stops.in_order(stops.lines(folder)) == stops.in_order(stops.lines(out))
    assert again.loss.weights.tolist() == result.loss.weights.tolist()


def test_workers_do_not_matter(raced, tmp_path):
    EvoMAL(tasks.quick(**RACING, workers=2)).learn(tasks.blobs(), tmp_path / "b")
    assert stops.in_order(stops.lines(tmp_path / "b")) == stops.in_order(stops.lines(raced[1]))


def test_without_racing_nothing_is_said_of_heats(tmp_path):
    stops.learn(tmp_path / "a")
    assert all("heat" not in record for record in stops.lines(tmp_path / "a"))


@pytest.mark.parametrize("method", ["gplfl", "taylorglo", "glo"])
def test_other_methods_race_too(method):
    from evomal.search import make_method

    short = {"cma_generations": 2} if method == "glo" else {}
    result = make_method(tasks.quick(method=method, racing=True, racing_keep=0.1, seed=3, **short)).learn(tasks.blobs())
    assert result.best.outcome == "trained"
    assert result.outcomes["dropped"]


def test_a_single_loss_has_nobody_to_race_against():
    with pytest.raises(SettingError) as caught:
        learn_settings(method="ml3", racing=True)
    assert str(caught.value) == "setting 'racing': method ml3 does not use it; leave it out"


def test_a_race_that_ends_before_its_first_full_evaluation_has_no_fitness():
    class Stop(stops.Watcher):
        def stage(self, name, count):
            if name == "tune":
                raise KeyboardInterrupt

    result = EvoMAL(tasks.quick(**RACING)).learn(tasks.blobs(), watcher=Stop())
    dropped = [member for member in result.members if member.outcome == "dropped"]
    assert result.best == min(dropped, key=lambda member: member.heat)
    assert (result.interrupted, result.fitness, result.loss.info["fitness"]) == (True, None, None)
    count = len(result.members)
    assert result.message == (
        f"none of the {count} candidates was trained in full; the loss is the one that was best in its heat"
    )


def test_without_racing_its_settings_have_no_effect_and_are_refused():
    for flat in ({"racing_keep": 0.5}, {"racing_effort": 0.5}, {"racing_keep": 0.5, "racing": False}):
        with pytest.raises(SettingError) as caught:
            learn_settings(**flat)
        name = next(iter(flat))
        assert str(caught.value) == f"setting '{name}': it has no effect without racing; add racing, or leave it out"
