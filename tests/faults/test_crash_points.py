"""A process that dies at any operation on a file leaves a run that goes on, or nothing in the way of a new one."""

import json
import shutil
from pathlib import Path

import pytest

from helpers import fast, forks


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A search that nothing happened to."""
    return fast.whole(tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture(scope="module")
def operations(fork, tmp_path_factory):
    """What a search does to files."""
    return _operations(fork, {}, tmp_path_factory.mktemp("operations") / "a")


def _operations(fork, search, out):
    ended = fork(search=search, out=out, counted=True)
    assert ended.code == 0, ended.err
    return [tuple(operation) for operation in json.loads(ended.out)]


def _crashed(fork, folder, number, where, **search):
    """What lies in a folder after a search in it died at one of its operations."""
    ended = fork(search=search, out=folder / "a", crash=(number, where))
    assert (ended.code, ended.out, ended.err) == (forks.KILLED, "", "")
    return sorted(path.name for path in folder.iterdir())


def _changing(operations):
    """Those before which something else lies in the folder than before the others."""
    return [
        number
        for number, (name, _) in enumerate(operations)
        if name not in ("fsync", "chmod", "mkdir") or number in (0, 3)
    ]


def _first(operations):
    """Which of these is the first record."""
    return [operations[number][0] for number in _changing(operations)].index("append")


def _visible(files):
    """Without files that were being written beside their place."""
    return {name for name in files if not Path(name).name.startswith(".") and Path(name).name != "next.json"}


def _goes_on(fork, folder, reference, number, where, **search):
    """Die at an operation, then look at what is there, and go on."""
    left = _crashed(fork, folder, number, where, **search)
    assert [name for name in left if name != "a" and not name.startswith(".a.starting-")] == []
    if "a" in left:
        assert _visible(fast.files(folder / "a")) <= set(reference.end)
        assert "config.yaml" in fast.files(folder / "a")
    result = fast.learn(folder / "a", fast.settings(**search), resume=True)
    assert fast.told(result, folder / "a") == reference.told
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert _visible(fast.files(folder / "a")) == _visible(reference.end)
    return "a" in left


def test_what_is_counted_is_what_matters(operations):
    assert len(operations) > 100
    assert {name for name, _ in operations} >= {"write", "append", "fsync", "replace", "rename", "mkdir"}
    replaced = {what for name, what in operations if name == "replace"}
    assert replaced == {"config.yaml", "next.json", "state.json", "previous.json", "loss.json"}


def test_before_the_first_record_and_shortly_after_it(fork, tmp_path, reference, operations):
    begun = []
    for number in _changing(operations)[: _first(operations) + 3]:
        folder = tmp_path / str(number)
        folder.mkdir()
        begun.append(_goes_on(fork, folder, reference, number, "before"))
        shutil.rmtree(folder)
    assert begun == sorted(begun)  # once it is there it stays
    assert set(begun) == {False, True}


def test_anywhere_in_the_middle_and_at_the_end(fork, tmp_path, reference, operations):
    changing = _changing(operations)
    later = changing[_first(operations) + 3 :]
    for number in [*later[:-6:9], *later[-6:]]:
        folder = tmp_path / str(number)
        folder.mkdir()
        assert _goes_on(fork, folder, reference, number, "before")
        shutil.rmtree(folder)
    (tmp_path / "last").mkdir()
    assert _goes_on(fork, tmp_path / "last", reference, len(operations) - 1, "after")


def test_half_of_something_is_written(fork, tmp_path, reference, operations):
    writes = [number for number, (name, _) in enumerate(operations) if name == "write"]
    appends = [number for number, (name, _) in enumerate(operations) if name == "append"]
    for number in [*writes[::3], *appends[::6]]:
        folder = tmp_path / str(number)
        folder.mkdir()
        _goes_on(fork, folder, reference, number, "within")
        shutil.rmtree(folder)


def test_what_was_being_written_when_a_run_died_is_cleared_away(fork, tmp_path, reference, operations):
    for what in ("loss.json", "next.json", "config.yaml"):
        number = [number for number, operation in enumerate(operations) if operation == ("replace", what)][-1]
        folder = tmp_path / what
        folder.mkdir()
        _goes_on(fork, folder, reference, number, "before")
        assert set(fast.files(folder / "a")) == set(reference.end)


def test_without_generations_too(fork, tmp_path):
    reference = fast.whole(tmp_path / "whole", fast.settings(asynchronous=True))
    operations = _operations(fork, {"asynchronous": True}, tmp_path / "counted")
    assert {what for name, what in operations if name == "replace"} >= {"state.json", "loss.json"}
    changing = _changing(operations)
    for number in [*changing[:-4:15], *changing[-4:]]:
        for where in ("before", "within") if operations[number][0] in ("write", "append") else ("before",):
            folder = tmp_path / f"{number}-{where}"
            folder.mkdir()
            _goes_on(fork, folder, reference, number, where, asynchronous=True)
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A finished run that is to be replaced."""
    return fast.whole(tmp_path_factory.mktemp("runs") / "a", fast.settings(seed=5)).end


def test_the_older_run_or_the_new_one_is_there_never_neither(fork, tmp_path, reference, older):
    fast.lay(tmp_path / "count" / "a", older)
    operations = _operations(fork, {"force": True}, tmp_path / "count" / "a")
    names = [name for name, _ in operations]
    begin, cleared = names.index("rename"), len(names) - 1 - names[::-1].index("rmdir")
    assert names[begin : begin + 2] == ["rename", "rename"]
    for number in range(begin - 2, cleared + 3):
        folder = tmp_path / str(number)
        fast.lay(folder / "a", older)
        _crashed(fork, folder, number, "before", force=True)
        there = fast.files(folder / "a")
        if b"seed: 5\n" in there.get("config.yaml", b""):
            assert there == older
            result = fast.learn(folder / "a", force=True)
        else:
            if not there:  # the next call brings it back
                fast.learn(folder / "a", fast.settings(seed=5), resume=True)
                assert fast.files(folder / "a") == older, f"neither is there before {operations[number]}"
                continue
            result = fast.learn(folder / "a", resume=True)
        assert fast.told(result, folder / "a") == reference.told
        assert [path.name for path in folder.iterdir()] == ["a"]
        shutil.rmtree(folder)
