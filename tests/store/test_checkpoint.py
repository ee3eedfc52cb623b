import json
import os

import pytest

from evomal.foundation.errors import StorageError
from evomal.store import RunFolder, checkpoint
from evomal.store.checkpoint import Checkpoints

MARK = {"format": "evomal-checkpoint", "version": 1}


def _numbers(checkpoints):
    return [state["number"] for state in checkpoints.read()]


def _written(folder, *numbers):
    checkpoints = Checkpoints(folder)
    for number in numbers:
        checkpoints.write({"number": number})
    return checkpoints


def test_plain_values_come_back(tmp_path):
    state = {
        "engine": {"rng": [3, [0, 2**32 - 1], None]},
        "weights": [0.1, 1e-300, -0.0],
        "ended": None,
        "φ": "é\u2028",
    }
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.read() == []
    checkpoints.write(state)
    assert checkpoints.read() == [MARK | state]
    assert str(checkpoints.read()[0]["weights"][2]) == "-0.0"
    assert [entry.name for entry in (tmp_path / "checkpoint").iterdir()] == ["state.json"]


def test_the_one_before_is_kept_and_no_other(tmp_path):
    checkpoints = _written(tmp_path, 0, 1, 2, 3)
    assert _numbers(checkpoints) == [3, 2]
    assert sorted(entry.name for entry in (tmp_path / "checkpoint").iterdir()) == ["previous.json", "state.json"]


STEPS = {
    "fsync": (0, [1, 0]),  # of the new file
    "replace": (0, [1, 0]),  # to its name beside
    "aside": (1, [1, 0]),  # the latest becomes the one before
    "place": (2, [1]),  # the new one becomes the latest
}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", STEPS)
def test_wherever_a_writing_ends_there_is_a_checkpoint(tmp_path, monkeypatch, step, error):
    checkpoints = _written(tmp_path, 0, 1)
    name, (skip, sound) = step if hasattr(os, step) else "replace", STEPS[step]
    original, calls = getattr(os, name), []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > skip:
            raise error
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            checkpoints.write({"number": 2})
    assert len(calls) == skip + 1
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"'{tmp_path / 'checkpoint' / 'state.json'}' cannot be written (No space left on device); what is finished "
            "is kept: make room there, then go on with `resume=True`"
        )
    assert _numbers(checkpoints) == sound
    checkpoints.write({"number": 3})
    assert _numbers(checkpoints) == [3, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"number": 2',
        b"[]",
        b"null",
        b"{}",
        b'{"format": "evomal-checkpoint", "number": 2}',
        b'{"format": "evomal-checkpoint", "version": 2, "number": 2}',
        b'{"format": "evomal-checkpoint", "version": "1", "number": 2}',
        b'{"format": "evomal-run", "version": 1, "number": 2}',
        b'{"format": "evomal-checkpoint", "version": 1, "number": 2}\n{}',
        b'{"format": "evomal-checkpoint", "version": 1, "number": "\xff"}',
        b"[" * 200_000,
        b'{"format": "evomal-checkpoint", "version": 1, "number": ' + b"9" * 5_000 + b"}",
        b"\x00" * 40,
    ],
    ids=lambda data: repr(data)[:60],
)
def test_a_damaged_checkpoint_is_left_out(tmp_path, data):
    checkpoints = _written(tmp_path, 0, 1)
    (tmp_path / "checkpoint" / "state.json").write_bytes(data)
    assert _numbers(checkpoints) == [0]
    (tmp_path / "checkpoint" / "previous.json").write_bytes(data)
    assert checkpoints.read() == []


def test_a_checkpoint_that_was_cut_anywhere_is_left_out(tmp_path):
    checkpoints = _written(tmp_path, 0, 1)
    file = tmp_path / "checkpoint" / "state.json"
    data = file.read_bytes()
    for length in range(len(data) - 1):  # the line break is not needed
        file.write_bytes(data[:length])
        assert _numbers(checkpoints) == [0]
    file.write_bytes(data[:-1])
    assert _numbers(checkpoints) == [1, 0]


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    checkpoints = _written(tmp_path, 0, 1)
    size = (tmp_path / "checkpoint" / "state.json").stat().st_size
    monkeypatch.setattr(checkpoint, "MAX_BYTES", size)
    assert _numbers(checkpoints) == [1, 0]
    monkeypatch.setattr(checkpoint, "MAX_BYTES", size - 1)
    assert checkpoints.read() == []


def test_folders_in_their_places_are_no_checkpoints(tmp_path):
    checkpoints = _written(tmp_path, 0, 1)
    file = tmp_path / "checkpoint" / "state.json"
    file.unlink()
    file.mkdir()
    assert _numbers(checkpoints) == [0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused_and_nothing_is_touched(tmp_path, value):
    checkpoints = _written(tmp_path, 0, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.write({"number": 2, "engine": {"mean": [value]}})
    assert _numbers(checkpoints) == [1, 0]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "checkpoint").write_text("mine")
    with pytest.raises(StorageError) as caught:
        Checkpoints(tmp_path).write({"number": 0})
    path = tmp_path / "checkpoint" / "state.json"
    assert str(caught.value).startswith(f"'{path}' cannot be written (")
    assert (tmp_path / "checkpoint").read_text() == "mine"
    assert Checkpoints(tmp_path).read() == []


def test_a_run_folder_has_its_checkpoints(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.prepare({"settings": {}})
    folder.begin()
    folder.checkpoints.write({"number": 7})
    assert json.loads((tmp_path / "a" / "checkpoint" / "state.json").read_text()) == MARK | {"number": 7}
    assert _numbers(folder.checkpoints) == [7]
