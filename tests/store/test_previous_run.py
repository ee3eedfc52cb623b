import json
import math
import random

import pytest
import yaml

from evomal.engines.genetic import GeneticEngine
from evomal.engines.genome import Network
from evomal.foundation.errors import EvomalError, RunFolderError
from evomal.search import Candidate
from evomal.search.result import finished_result
from evomal.store import RunFolder
from evomal.store.journal_schema import CandidateRow
from evomal.store.resuming import PreviousRun
from helpers import stops

MEMBERS = 15  # until Ctrl-C: two generations of six, and half of the third


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "a"
    return stops.learn(out), out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "a"
    return stops.learn(out, MEMBERS), out


@pytest.fixture
def past(tmp_path):
    """What is left of a run, read from a copy that a test may have changed."""
    folders = []

    def read(out, change=lambda folder: None):
        place = stops.copied(out, tmp_path / "a") if out != tmp_path / "a" else out
        change(place)
        folders.append(RunFolder(place, resume=True))
        return PreviousRun(folders[-1])

    yield read
    for folder in folders:
        folder.discard()


def _rewritten(change):
    """Changes the records of a journal."""

    def rewrite(folder):
        file = folder / "journal.jsonl"
        records = change([json.loads(line) for line in file.read_text().splitlines()])
        file.write_text("".join(json.dumps(record) + "\n" for record in records))

    return rewrite


def _spoilt(*names):
    def spoil(folder):
        for name in names:
            (folder / "checkpoint" / name).write_text("{")

    return spoil


def _timeless(members):
    return [CandidateRow.of(member, "regression", stops.tiny()).record() | {"seconds": None} for member in members]


def test_the_past_of_what_has_none_is_empty(tmp_path):
    fresh = RunFolder(tmp_path / "a")
    for past in (PreviousRun(), PreviousRun(None), PreviousRun(fresh)):
        assert (past.folder, past.settings, past.archive.members, past.states, past.state) == (None, None, {}, [], None)
        assert past.ended is None
        assert past.finished(stops.tiny()) is None
        assert past.restore(None) == 0
        assert past.baseline(lambda: 0.25) == 0.25
        proposed = Candidate(0, 0, Network(3), "initial")
        assert past.known(proposed) is proposed


def test_finished_candidates_are_known_by_place(stopped, past):
    result, out = stopped
    found = past(out)
    assert found.settings == result.settings
    assert list(found.archive.members) == [member.place for member in result.members]
    assert len(found.archive.members) == MEMBERS
    assert _timeless(found.archive.members.values()) == _timeless(result.members)
    assert [state.ended for state in found.states] == ["interrupt", None]
    assert found.state is None
    assert found.ended is None


def test_a_search_that_was_interrupted_has_something_left(stopped, past):
    found = past(stopped[1])
    assert found.finished(found.settings) is None


@pytest.mark.parametrize("workers", [1, 7])
def test_a_finished_search_gives_its_result_whoever_works(finished, past, workers):
    result, out = finished
    found = past(out)
    now = found.settings.model_copy(update={"workers": workers})
    again = finished_result(found, now)
    assert found.ended is found.states[0]
    assert (again.fitness, again.baseline, again.ended) == (result.fitness, result.baseline, "generations")
    assert again.settings == now
    assert again.loss.all_entries() == result.loss.all_entries()
    assert again.best.place == result.best.place
    assert again.best.formula == result.best.formula != ""
    assert _timeless(again.members) == _timeless(result.members)
    assert 0 < again.seconds <= result.seconds
    documents = [one.as_dict() | {"seconds": None} for one in (again, result)]
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: stops.tiny(generations=5),
        lambda settings: stops.tiny(generations=3),
        lambda settings: stops.tiny(patience=100),
        lambda settings: stops.tiny(seed=3),
    ],
)
def test_with_other_settings_there_may_be_more_to_do(finished, past, change):
    found = past(finished[1])
    assert found.finished(found.settings) is not None
    assert found.finished(change(found.settings)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "loss.json").unlink(),
        lambda folder: (folder / "loss.json").write_text("{"),
        _rewritten(lambda records: records[1:]),
        _rewritten(lambda records: records[:-1]),
        _spoilt("state.json"),
        _spoilt("state.json", "previous.json"),
    ],
    ids=["no loss", "half a loss", "no first line", "no last line", "no latest checkpoint", "no checkpoint"],
)
def test_what_lacks_something_is_not_finished_and_the_search_finds_it_again(finished, past, tmp_path, spoil):
    result, out = finished
    found = past(out, spoil)
    assert finished_result(found, found.settings) is None
    found.folder.discard()
    again = stops.learn(tmp_path / "a", resume=True)
    assert again.ended == "generations"
    assert stops.in_order(stops.lines(tmp_path / "a")) == stops.in_order(stops.lines(out))
    assert (tmp_path / "a" / "loss.json").read_bytes() == (out / "loss.json").read_bytes()
    assert again.fitness == result.fitness


def _engine():
    return GeneticEngine(stops.tiny().genetic, random.Random(99))


def _without(place):
    return lambda records: [record for record in records if (record["generation"], record["index"]) != place]


def _cut(generation):
    return _rewritten(lambda records: [record for record in records if record["generation"] < generation])


def _edited(**entries):
    def edit(folder):
        file = folder / "checkpoint" / "state.json"
        state = json.loads(file.read_text())
        file.write_text(json.dumps(state | entries))

    return edit


def _both(*changes):
    return lambda folder: [change(folder) for change in changes]


@pytest.mark.parametrize(
    ("change", "generation", "which"),
    [
        (lambda folder: None, 2, 0),
        (_spoilt("previous.json"), 2, 0),
        (_spoilt("state.json"), 2, 0),  # the one before is of the same generation
        (_edited(engine={}), 2, 1),
        (_edited(engine={"generation": 2}), 2, 1),
        (_edited(generation=3), 2, 1),  # the journal has only half of the third
        (_spoilt("state.json", "previous.json"), 0, None),
        (_both(_spoilt("previous.json"), _edited(engine={"odd": [1]})), 0, None),
        (_rewritten(_without((0, 0))), 0, None),
        (_rewritten(_without((1, 5))), 0, None),
        (_rewritten(_without((2, 1))), 2, 0),
        (_cut(1), 0, None),
    ],
)
def test_a_search_goes_on_from_the_latest_checkpoint_that_fits_its_journal(stopped, past, change, generation, which):
    found, engine = past(stopped[1], change), _engine()
    untouched = engine.state_dict()
    assert found.restore(engine) == generation
    if which is None:
        assert found.state is None
        assert engine.state_dict() == untouched
        assert found.baseline(lambda: 0.125) == 0.125
        return
    assert found.state is found.states[which]
    assert engine.state_dict() == found.state.engine != untouched
    assert engine.generation == generation
    assert found.baseline(_never) == stopped[0].baseline


def _never():
    raise AssertionError("it is known")


def test_a_baseline_that_failed_is_infinite_and_not_measured_again(stopped, past):
    found = past(stopped[1], _edited(baseline=None))
    found.restore(_engine())
    assert found.baseline(_never) == math.inf


def test_a_member_is_taken_from_the_journal_if_it_is_there(stopped, past):
    found = past(stopped[1])
    engine = _engine()
    generation = found.restore(engine)
    proposed = [Candidate(generation, i, p.genome, p.origin, p.parents) for i, p in enumerate(engine.ask())]
    members = [found.known(one) for one in proposed]
    known = {place for place in found.archive.members if place[0] == generation}
    assert len(known) == MEMBERS - 12
    for one, member in zip(proposed, members, strict=True):
        assert member is (found.archive.members[one.place] if one.place in known else one)
        assert (member.genome, member.origin, member.parents) == (one.genome, one.origin, one.parents)


def test_a_journal_of_another_search_is_refused(stopped, past):
    found = past(stopped[1])
    proposed = Candidate(1, 2, Network(3), "initial")
    with pytest.raises(RunFolderError) as caught:
        found.known(proposed)
    assert str(caught.value) == (
        f"'{found.folder.path}' cannot go on: in its journal, candidate 2 of generation 1 is "
        f"'{found.archive.members[1, 2].key}', but this evomal proposes 'neural 3'; go on with the versions that "
        "config.yaml names"
    )


@pytest.mark.parametrize(
    "entries",
    [
        {"family": "fourier"},
        {"outcome": None},
        {"expression": "mul(y"},
        {"index": 6},
        {"index": 10**300},
        {"weights": 3},
    ],
    ids=lambda entries: repr(entries)[:30],
)
def test_a_line_that_is_no_record_of_the_run_is_named(stopped, past, tmp_path, entries):
    def change(records):
        (one,) = (record for record in records if (record["generation"], record["index"]) == (1, 2))
        one |= entries
        return records

    with pytest.raises(RunFolderError) as caught:
        past(stopped[1], _rewritten(change))
    assert str(caught.value) == (
        f"'{tmp_path / 'a' / 'journal.jsonl'}' is damaged: candidate {entries.get('index', 2)} of generation 1 is no "
        "record of this run; delete its line to have it evaluated anew"
    )


def test_deleting_that_line_has_it_evaluated_anew(finished, past, tmp_path):
    place = finished[0].best.place
    past(finished[1], _rewritten(_without(place))).folder.discard()
    stops.learn(tmp_path / "a", resume=True)
    assert stops.in_order(stops.lines(tmp_path / "a")) == stops.in_order(stops.lines(finished[1]))


def test_of_two_lines_for_one_place_the_first_counts(stopped, past):
    def twice(records):
        return [*records, records[3] | {"fitness": 0.0, "outcome": "trained"}]

    found = past(stopped[1], _rewritten(twice))
    assert len(found.archive.members) == MEMBERS
    assert _timeless(found.archive.members.values()) == _timeless(stopped[0].members)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"seed": -1}, "setting 'seed': input should be greater than or equal to 0 (got -1)"),
        ({"sead": 1}, "setting 'sead': extra inputs are not permitted (got 1)"),
        ({"genetic": {"population_size": "many"}}, "setting 'population_size': input should be a valid integer, "),
    ],
)
def test_settings_that_cannot_be_are_damage(stopped, past, tmp_path, settings, what):
    def change(folder):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(config | {"settings": settings}))

    with pytest.raises(RunFolderError) as caught:
        past(stopped[1], change)
    message = str(caught.value)
    assert message.startswith(f"'{tmp_path / 'a' / 'config.yaml'}' is damaged ({what}")
    assert message.endswith("); start anew with `force=True`")


def test_an_engine_that_refuses_its_state_is_none_of_ours_to_stop(stopped, past):
    class Stubborn:
        def load_state_dict(self, state):
            raise EvomalError("never")

    assert past(stopped[1]).restore(Stubborn()) == 0
