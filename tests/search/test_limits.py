"""Where a search stops; that it is the same place however it ran; and that a run goes on from there."""

import json
import math

import pytest

import evomal
from evomal.config import LimitSettings, fitting
from evomal.engines.genome import Formula
from evomal.evaluation.limits import ENDINGS, FINISHED, LimitReached, Limits
from evomal.executors import InProcess
from evomal.expressions import parse
from evomal.foundation.errors import SettingError
from evomal.search import Candidate, Watcher, make_method
from evomal.store.config import read_config
from helpers import stops
from helpers.chance import Chance


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search without limits, and its folder."""
    out = tmp_path_factory.mktemp("whole") / "a"
    return stops.learn(out), out


@pytest.fixture(scope="module")
def reference(whole):
    """What a search without limits writes, in its order; something of every kind is in it."""
    records = stops.lines(whole[1])
    assert {record["outcome"] for record in records} == {"trained", "equivalent", "rejected", "archived", "elite"}
    return records


def _place(record):
    return record["generation"], record["index"]


def _own(record):
    return record["outcome"] not in ("elite", "archived")


def _bests(records):
    """Each time that there is a better fitness: the fitness, and how many records there are."""
    found, best = [], math.inf
    for count, record in enumerate(records, start=1):
        if record["outcome"] == "trained" and record["fitness"] < best:
            best = record["fitness"]
            found.append((best, count))
    return found


def _target(records):
    """A target that is met in the midst of a generation, and what is written until then."""
    for best, count in _bests(records):
        generation = records[count - 1]["generation"]
        if generation > 0 and records[count]["generation"] == generation:
            return best, records[:count]
    raise AssertionError("no better fitness in the midst of a generation")


def _patience(records):
    """One generation's patience: what is written until the first generation that has nothing better."""
    better = {records[count - 1]["generation"] for _, count in _bests(records)}
    last = next(generation for generation in range(4) if generation not in better)
    assert 0 < last < 3
    return 1, [record for record in records if record["generation"] <= last]


def _evaluations(records, short=1):
    """A limit that ends within the third generation, and what is written until then."""
    own = sorted(_place(record) for record in records if _own(record))
    most = sum(generation <= 2 for generation, _ in own) - short
    let = set(own[:most])
    return most, [
        record
        for record in records
        # Those that are known from generations before cost nothing, and are there first.
        if _place(record) in let
        or record["generation"] < 2
        or (record["generation"] == 2 and not _own(record) and record["same_as"][0] < 2)
    ]


LIMITS = {
    "target_fitness": ("target", _target),
    "patience": ("patience", _patience),
    "max_evaluations": ("evaluations", _evaluations),
}


@pytest.fixture(scope="module", params=LIMITS)
def limited(request, reference, tmp_path_factory):
    """A search with a limit: its setting, how it should end, what it should write, its result, its folder."""
    ended, derive = LIMITS[request.param]
    value, expected = derive(reference)
    limit, out = {request.param: value}, tmp_path_factory.mktemp("limited") / "a"
    return limit, ended, expected, stops.learn(out, **limit), out


def _complete(out, result, ended):
    """Whether a folder holds all of a run that ended so."""
    trained = [record for record in stops.lines(out) if record["outcome"] == "trained"]
    loss, config = evomal.load_loss(out / "loss.json"), read_config(out)
    assert loss.info["fitness"] == result.fitness == min(record["fitness"] for record in trained)
    assert loss.all_entries() == result.loss.all_entries()
    assert config["settings"] == result.settings.model_dump(mode="json")
    assert [task["task"] for task in config["tasks"]] == ["line"]
    state = json.loads((out / "checkpoint" / "state.json").read_text())
    assert (state["format"], state["version"], state["ended"]) == ("evomal-checkpoint", 1, ended)
    assert {entry.name for entry in out.iterdir()} == {
        ".lock",
        "checkpoint",
        "config.yaml",
        "journal.jsonl",
        "loss.json",
    }
    assert list(out.parent.glob(".*")) == []


def test_a_search_stops_where_its_limit_is_and_not_a_candidate_later(limited, reference):
    _, ended, expected, result, out = limited
    assert 6 < len(expected) < len(reference)
    assert stops.lines(out) == expected
    assert result.ended == ended
    assert not result.interrupted
    assert [member.place for member in result.members] == sorted(_place(record) for record in expected)


def test_the_folder_of_a_search_that_stopped_is_complete(limited):
    _, ended, expected, result, out = limited
    _complete(out, result, ended)
    assert result.message.startswith(f"fitness {result.fitness:.4f}")
    assert result.message.endswith(f", stopped {ENDINGS[ended]} after {len(expected)} candidates")
    assert ("(worse than " in result.message) == (result.baseline < result.fitness)
    assert result.as_dict()["ended"] == ended


def _ahead():
    """Two workers, of which the later one is always done first."""
    return Chance(2, lambda running: len(running) - 1)


def test_it_is_the_same_candidate_with_two_workers(limited, tmp_path, monkeypatch):
    limit, ended, expected, _, out = limited
    if ended != "target":  # starting processes takes long; a target ends them at work
        monkeypatch.setattr("evomal.search.method.make_executor", lambda workers, *where: _ahead())
    again = stops.learn(tmp_path / "b", workers=2, **limit)
    assert stops.in_order(stops.lines(tmp_path / "b")) == stops.in_order(expected)
    assert again.ended == ended
    assert (tmp_path / "b" / "loss.json").read_bytes() == (out / "loss.json").read_bytes()


def test_it_is_the_same_candidate_after_interruptions(limited, tmp_path):
    limit, ended, expected, _, out = limited
    place = tmp_path / "b"
    calls = [stops.learn(place, 2, resume=True, **limit)]
    while calls[-1].interrupted and len(calls) < 20:
        calls.append(stops.learn(place, 2, resume=True, **limit))
    assert len(calls) >= len(expected) // 2
    again = calls[-1]
    assert stops.in_order(stops.lines(place)) == stops.in_order(expected)
    assert again.ended == ended
    assert (place / "loss.json").read_bytes() == (out / "loss.json").read_bytes()
    _complete(place, again, ended)


def test_a_run_that_ended_so_gives_its_result_and_evaluates_nothing(limited, tmp_path, monkeypatch):
    limit, ended, _, result, out = limited
    place = stops.copied(out, tmp_path / "b")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def never(*arguments):
        raise AssertionError("the task is looked at")

    monkeypatch.setattr("evomal.search.method.probed", never)
    for override in (False, True):
        again = stops.learn(place, watcher=stops.Never(), resume=True, override=override, **limit)
        assert again.ended == ended
        assert again.loss.all_entries() == result.loss.all_entries()
        assert (again.best.place, again.best.weights) == (result.best.place, result.best.weights)
        assert (again.fitness, again.baseline, again.settings) == (result.fitness, result.baseline, result.settings)
        assert [member.place for member in again.members] == [member.place for member in result.members]
        assert again.message == result.message
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("more", ["more", "most"])
def test_with_a_larger_limit_it_goes_on_as_if_that_had_been_there_from_the_start(
    limited, reference, whole, tmp_path, more
):
    limit, _, expected, _, out = limited
    ((name, value),) = limit.items()
    larger = {
        "target_fitness": (_bests(reference)[-1][0], -1.0),
        "patience": (2, 100),
        "max_evaluations": (value + 2, 100),
    }[name][more == "most"]
    place, fresh = stops.copied(out, tmp_path / "b"), tmp_path / "c"
    again = stops.learn(place, resume=True, override=True, **{name: larger})
    result = stops.learn(fresh, **{name: larger})
    assert again.ended == result.ended
    assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(fresh))
    assert len(stops.lines(place)) > len(expected)
    assert again.fitness == result.fitness
    assert (place / "loss.json").read_bytes() == (fresh / "loss.json").read_bytes()
    _complete(place, again, result.ended)
    if more == "most":
        assert again.ended == "generations"
        assert stops.in_order(stops.lines(place)) == stops.in_order(reference)
        assert (place / "loss.json").read_bytes() == (whole[1] / "loss.json").read_bytes()


def test_without_override_a_limit_does_not_change(limited, tmp_path):
    limit, _, _, _, out = limited
    ((name, value),) = limit.items()
    place = stops.copied(out, tmp_path / "b")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    larger = -1.0 if name == "target_fitness" else 100
    with pytest.raises(SettingError) as caught:
        stops.learn(place, resume=True, **{name: larger})
    assert str(caught.value) == (
        f"'{place}' was begun with other settings ({name} was {value!r}, now {larger!r}); give those of then, or add "
        "`override=True`"
    )
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("short", range(4))
def test_a_limit_of_evaluations_counts_what_is_evaluated(reference, tmp_path, short):
    most, expected = _evaluations(reference, short)
    result = stops.learn(tmp_path / "a", max_evaluations=most)
    assert sum(member.own for member in result.members) == most
    assert {_place(record) for record in stops.lines(tmp_path / "a")} == {_place(record) for record in expected}
    assert result.ended == "evaluations"


def test_a_limit_beyond_all_generations_does_nothing(reference, tmp_path):
    limits = {"max_evaluations": 100, "patience": 4, "target_fitness": -1.0, "max_time": 1e6}
    assert stops.learn(tmp_path / "a", **limits).ended == "generations"
    assert stops.lines(tmp_path / "a") == reference


def test_of_two_limits_the_first_counts(reference, tmp_path):
    most, expected = _evaluations(reference)
    target, until = _target(reference)
    assert len(until) < len(expected)
    result = stops.learn(tmp_path / "a", max_evaluations=most, target_fitness=target)
    assert (result.ended, stops.lines(tmp_path / "a")) == ("target", until)


def test_a_search_that_trains_nothing_is_out_of_patience_too(tmp_path, monkeypatch):
    monkeypatch.setattr("evomal.evaluation.course.passes", lambda *arguments: False)
    result = stops.learn(tmp_path / "a", patience=2)
    assert result.fitness is None
    assert (result.ended, len(result.members)) == ("patience", 12)
    assert result.message == (
        "stopped without a better fitness for some generations after 12 candidates, before any was trained; the loss "
        "has no fitness"
    )


class Clock(Watcher):
    """Time passes only while somebody waits for a candidate: a second each."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("evomal.evaluation.limits.perf_counter", lambda: self.now)

    def member(self, candidate, best):
        self.now += 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seconds", [8, 23])
def test_time_is_over_after_the_candidate_that_it_took(reference, tmp_path, monkeypatch, seconds, workers):
    monkeypatch.setattr(
        "evomal.search.method.make_executor", lambda workers, *where: (InProcess(), _ahead())[workers - 1]
    )
    result = stops.learn(tmp_path / "a", watcher=Clock(monkeypatch), max_time=seconds, workers=workers)
    assert result.ended == "time"
    assert stops.lines(tmp_path / "a") == reference[:seconds]
    _complete(tmp_path / "a", result, "time")


def test_time_is_over_before_a_stage_and_what_is_tuned_is_kept(reference, tmp_path, monkeypatch):
    class Slow(Clock):
        def member(self, candidate, best):
            """Candidates take no time."""

        def stage(self, name, count):
            self.now += 1

    # Three stages a generation: time is over when the second generation is tuned.
    result = stops.learn(tmp_path / "a", watcher=Slow(monkeypatch), max_time=4)
    written = [r for r in reference if r["generation"] == 0 or (r["generation"] == 1 and not _own(r))]
    assert 6 < len(written) < 12
    assert (result.ended, stops.lines(tmp_path / "a")) == ("time", written)
    state = json.loads((tmp_path / "a" / "checkpoint" / "state.json").read_text())
    tuned = [r["index"] for r in stops.in_order(reference) if r["generation"] == 1 and _own(r)]
    assert (state["generation"], [entry["index"] for entry in state["tuned"]]) == (1, tuned)


def test_each_call_has_its_time_and_needs_no_override(whole, reference, tmp_path, monkeypatch):
    place, calls = tmp_path / "a", math.ceil(len(reference) / 5)
    for call in range(1, calls + 1):
        result = stops.learn(place, watcher=Clock(monkeypatch), resume=True, max_time=5)
        assert result.ended == ("generations" if call == calls else "time")
    assert stops.in_order(stops.lines(place)) == stops.in_order(reference)
    assert (place / "loss.json").read_bytes() == (whole[1] / "loss.json").read_bytes()
    again = stops.learn(place, watcher=stops.Never(), resume=True, max_time=5)
    assert (again.ended, again.fitness) == ("generations", result.fitness)


def test_time_that_is_over_before_the_first_candidate(tmp_path, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("evomal.evaluation.limits.perf_counter", lambda: next(ticks))
    with pytest.raises(SettingError) as caught:
        stops.learn(tmp_path / "a", max_time=1)
    assert str(caught.value).startswith(
        "the search stopped at its time limit before its first candidate was finished; go on with"
    )
    with pytest.raises(SettingError, match=r"before its first candidate was finished; give it more time$"):
        stops.learn(None, max_time=1)
    assert list(tmp_path.iterdir()) == []


def _candidate(fitness=0.5, generation=0):
    return Candidate(generation, 0, Formula(parse("mul(f, y)")), "initial", outcome="trained", fitness=fitness)


@pytest.mark.parametrize(
    ("settings", "look", "ended"),
    [
        ({"target_fitness": 0.5}, lambda limits: limits.check_best(_candidate(0.5)), "target"),
        ({"target_fitness": 0.5}, lambda limits: limits.check_best(_candidate(math.nextafter(0.5, 1))), None),
        ({"target_fitness": 0.5}, lambda limits: limits.check_best(None), None),
        ({"target_fitness": -0.5}, lambda limits: limits.check_best(_candidate(-0.75)), "target"),
        ({}, lambda limits: limits.check_best(_candidate(-math.inf)), None),
        ({"patience": 2}, lambda limits: limits.check_generation(3, _candidate(generation=2), 9), None),
        ({"patience": 2}, lambda limits: limits.check_generation(4, _candidate(generation=2), 9), "patience"),
        ({"patience": 2}, lambda limits: limits.check_generation(0, None, 9), None),
        ({"patience": 2}, lambda limits: limits.check_generation(1, None, 9), "patience"),
        ({"max_evaluations": 10}, lambda limits: limits.check_generation(0, None, 9), None),
        ({"max_evaluations": 10}, lambda limits: limits.check_generation(0, None, 10), "evaluations"),
        ({"max_evaluations": 10}, lambda limits: limits.check_generation(0, None, 11), "evaluations"),
        ({}, lambda limits: limits.check_generation(10**9, None, 10**9), None),
        ({}, lambda limits: limits.check_time(), None),
        ({"max_time": 1e-9}, lambda limits: limits.check_time(), "time"),
        ({"max_time": 1e9}, lambda limits: limits.check_time(), None),
    ],
)
def test_each_limit_by_itself(settings, look, ended):
    limits = Limits(LimitSettings(**settings))
    if ended is None:
        assert look(limits) is None
        return
    with pytest.raises(LimitReached) as caught:
        look(limits)
    assert caught.value.ended == ended


def test_what_is_left_is_never_below_nothing():
    limits = Limits(LimitSettings(max_evaluations=3))
    assert [limits.left(count) for count in (0, 2, 3, 4)] == [3, 1, 0, 0]


def test_every_ending_has_its_words_and_those_that_depend_on_the_machine_are_not_final():
    assert set(ENDINGS) - set(FINISHED) == {"time", "interrupt"}
    assert all(ENDINGS[ended] for ended in ENDINGS if ended != "generations")


@pytest.mark.parametrize("method", ["glo", "taylorglo", "ml3"])
def test_every_method_has_limits(method, tmp_path):
    flat = {"population_size": 4, "generations": 2, "rejection": False, "cma_generations": 2, "neural_steps": 2}
    settings = stops.tasks.quick(partial_steps=4, **fitting(method, flat))
    limited = settings.model_copy(update={"limits": LimitSettings(max_evaluations=1)})
    result = make_method(limited).learn(stops.tasks.line(), tmp_path / "a")
    assert (result.ended, len(result.members)) == ("evaluations", 1)
    whole = make_method(settings).learn(stops.tasks.line(), tmp_path / "b")
    more = make_method(settings).learn(stops.tasks.line(), tmp_path / "a", resume=True, override=True)
    assert stops.in_order(stops.lines(tmp_path / "a")) == stops.in_order(stops.lines(tmp_path / "b"))
    assert more.fitness == whole.fitness
