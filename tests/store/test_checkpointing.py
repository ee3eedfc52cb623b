import json
import math
import signal
from time import perf_counter

import pytest
import torch

from evomal.engines.engine import SingleEngine
from evomal.engines.genome import Formula, Network
from evomal.expressions import parse
from evomal.foundation.errors import StorageError
from evomal.local_search import Tuned
from evomal.search import Candidate
from evomal.store import RunFolder
from evomal.store.checkpointing import Checkpointing, State, TunedState, read_states
from evomal.tasks import TaskSet
from helpers import stops

ENGINE = SingleEngine(Network(5))


class Counting(SingleEngine):
    """An engine that has a state."""

    def __init__(self, count):
        super().__init__(Network(5))
        self.count = count

    def state_dict(self):
        return {"count": self.count}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.prepare({"settings": {}})
    folder.begin()
    yield folder
    folder.discard()


@pytest.fixture(scope="module")
def members():
    """Candidates of the second generation with their losses, tuned in different ways."""
    tasks, settings, found = TaskSet((stops.tasks.line(),)), stops.tiny(), []
    notes = [
        Tuned(3, None, 0.25, None),
        Tuned(0, "KeyError: 'mood'", 1e-9, None),
        Tuned(7, None, 0.5, "no longer finite"),
    ]
    for index, (formula, outcome) in enumerate(
        zip(("mul(f, y)", "abs(sub(f, y))", "square(sub(y, f))"), notes, strict=True)
    ):
        genome = Formula(parse(formula))
        loss = genome.loss(tasks, settings)
        loss.scale = 1 + index / 3
        found.append((Candidate(1, index, genome, "initial"), loss, outcome))
    return found


def test_what_is_tuned_comes_back_from_the_file_to_the_bit(folder, members):
    standing = Checkpointing(folder)
    standing.turn(1, Counting(4), 0.1)
    standing.keep(members[:1])
    standing.keep(members[1:])
    (state, before) = read_states(folder)
    assert state == standing.state
    assert (state.generation, state.engine, state.baseline, state.ended) == (1, {"count": 4}, 0.1, None)
    assert [entry.index for entry in before.tuned] == [0]
    again = Checkpointing(None, state)
    for candidate, loss, outcome in members:
        known = again.tuned(candidate)
        assert list(known.weights) == loss.coefficients
        assert torch.equal(torch.tensor(known.weights), loss.weights)
        assert known.scale == loss.scale
        assert known.outcome() == outcome


def test_only_members_of_the_generation_in_progress_are_known(members):
    standing = Checkpointing(None)
    standing.turn(1, Counting(4), 0.1)
    standing.keep(members[:2])
    assert standing.tuned(members[0][0]) is not None
    assert standing.tuned(members[2][0]) is None
    assert standing.tuned(Candidate(2, 0, members[0][0].genome, "initial")) is None
    assert standing.tuned(Candidate(0, 0, members[0][0].genome, "initial")) is None


def test_a_generation_that_goes_on_keeps_what_is_tuned_and_another_begins_anew(members):
    standing = Checkpointing(None)
    standing.turn(1, Counting(4), 0.1)
    standing.keep(members)
    standing.turn(1, Counting(4), 0.1)
    assert [entry.index for entry in standing.state.tuned] == [0, 1, 2]
    standing.turn(2, Counting(5), 0.1)
    assert (standing.state.tuned, standing.state.generation, standing.state.engine) == ((), 2, {"count": 5})


def _tuned(index):
    return TunedState(index=index, weights=(1.0,), scale=1.0, steps=1, seconds=0.0, reason=None, note=None)


def test_a_baseline_that_failed_is_none(folder):
    Checkpointing(folder).turn(0, ENGINE, math.inf)
    assert read_states(folder)[0].baseline is None


def test_an_end_is_written_and_whatever_follows_takes_it_back(folder):
    standing = Checkpointing(folder)
    standing.turn(0, Counting(0), 0.1)
    standing.end("patience")
    assert [state.ended for state in read_states(folder)] == ["patience", None]
    standing.turn(1, Counting(1), 0.1)
    assert [(state.generation, state.ended) for state in read_states(folder)] == [(1, None), (0, "patience")]


def test_seconds_are_those_of_all_calls(folder, monkeypatch):
    now = perf_counter()
    monkeypatch.setattr("evomal.store.checkpointing.perf_counter", lambda: now)
    first = Checkpointing(folder, start=now - 2)
    assert first.seconds == pytest.approx(2)
    first.turn(0, ENGINE, 0.1)
    second = Checkpointing(folder, read_states(folder)[0], now - 3)
    assert second.seconds == pytest.approx(5)
    second.end("time")
    second.end("time")  # the seconds of a call count once
    assert read_states(folder)[0].seconds == pytest.approx(5)
    assert Checkpointing(folder).seconds == 0


def test_a_folder_stays_once_something_is_tuned(folder, members):
    standing = Checkpointing(folder)
    standing.turn(1, Counting(4), 0.1)
    assert not folder.kept
    standing.keep(members[:1])
    assert folder.kept


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, members):
    monkeypatch.chdir(tmp_path)
    standing = Checkpointing()
    standing.turn(1, Counting(4), 0.1)
    standing.keep(members)
    standing.end("generations")
    assert standing.state.ended == "generations"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_waits_until_a_checkpoint_is_written(folder, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        standing, write = Checkpointing(folder), type(folder.checkpoints).write

        def interrupted(self, state):
            signal.raise_signal(signal.SIGINT)
            write(self, state)

        monkeypatch.setattr("evomal.store.checkpoint.Checkpoints.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            standing.end("time")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [state.ended for state in read_states(folder)] == ["time"]


def test_a_full_disk_is_told(folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        Checkpointing(folder).end("time")


GOOD = State(generation=2, engine={"a": 1}, tuned=(_tuned(3),), baseline=0.5, seconds=1.5).model_dump(mode="json")


@pytest.mark.parametrize(
    "change",
    [
        {"generation": -1},
        {"generation": "two"},
        {"generation": None},
        {"engine": [1]},
        {"engine": None},
        {"tuned": None},
        {"tuned": [{}]},
        {"tuned": [_tuned(0).model_dump() | {"weights": ["x"]}]},
        {"tuned": [_tuned(0).model_dump() | {"weights": [10**400]}]},
        {"tuned": [_tuned(0).model_dump() | {"index": -1}]},
        {"tuned": [_tuned(0).model_dump() | {"reason": 3}]},
        {"tuned": [_tuned(0).model_dump() | {"more": 3}]},
        {"baseline": "low"},
        {"seconds": -1},
        {"seconds": None},
        {"ended": "luck"},
        {"more": 1},
    ],
    ids=lambda change: repr(change)[:50],
)
def test_a_damaged_state_is_left_out_and_the_one_before_will_do(folder, change):
    folder.checkpoints.write(GOOD)
    folder.checkpoints.write(GOOD | change)
    assert [state.model_dump(mode="json") for state in read_states(folder)] == [GOOD]
    folder.checkpoints.write(GOOD | change)
    assert read_states(folder) == []


def test_numbers_that_are_not_finite_are_damage(folder):
    folder.checkpoints.write(GOOD)
    file = folder.path / "checkpoint" / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"baseline": math.nan}))
    assert read_states(folder) == []
