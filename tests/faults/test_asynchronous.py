"""Asynchronous searches that lose a worker, are killed, or are stopped: the journal tells how they went, to the bit."""

import os
import signal
from contextlib import suppress

import pytest

from evomal.foundation.errors import RunFolderError
from evomal.tasks import named_task
from helpers import fast
from helpers.replays import require_replay

MEMBERS = 30  # of a finished search
TWO = ("--asynchronous", "--workers", "2", "--dataset", "iris", "--model", "linear", "--lr", "0.3")


def _kill(pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _whole(call):
    """A finished search, as its journal tells it; its outcomes."""
    lines = require_replay(call.run, named_task("iris", "linear"))
    assert {(line["generation"], line["index"]) for line in lines} == {(g, i) for g in range(5) for i in range(6)}
    assert sum(call.result["outcomes"].values()) == len(lines) == MEMBERS
    return {line["outcome"] for line in lines}


def test_a_killed_worker_is_started_anew(begin):
    call = begin(*TWO)
    call.until(lambda: len(call.lines) >= 7 and call.workers)
    _kill(call.workers[:1])
    assert call.wait() == 0
    assert call.err.splitlines()
    assert all(
        "was killed, perhaps for want of memory; what it was doing is done again" in line
        for line in call.err.splitlines()
    )
    assert {"trained", "rejected", "archived"} <= _whole(call)


def test_workers_that_are_always_killed_end_the_run_and_one_goes_on(begin, resume):
    call = begin(*TWO)
    call.until(lambda: len(call.lines) >= 7 and call.workers)
    call.until(lambda: _kill(call.workers))
    assert call.wait() == 1
    assert call.err.splitlines()[-1] == (
        "evomal: error: one of 2 worker processes was killed 3 times in a row, perhaps for want of memory; what is "
        "finished is kept, go on with fewer workers"
    )
    before = call.lines
    assert 7 <= len(before) < MEMBERS
    again = resume("--workers", "1", "--override")
    assert (again.wait(), again.err) == (0, "")
    assert again.lines[: len(before)] == before
    _whole(again)


def test_a_run_that_is_killed_and_stopped_again_and_again_goes_on(begin, resume):
    call, before = begin(*TWO), []
    for lines, stop in ((3, "kill"), (9, "ctrl_c"), (15, "kill")):
        call.until(lambda lines=lines, call=call: len(call.lines) >= lines)
        if stop == "kill":
            assert call.kill() != 0
        else:
            call.ctrl_c()
            assert call.wait() == 130
            assert call.err.splitlines()[-1].endswith("go on with evomal learn --resume run")
        whole = [line for line in call.lines if line.endswith(b"\n")]
        assert whole[: len(before)] == before
        assert lines <= len(whole) < MEMBERS
        call.leaves_nothing()
        before, call = whole, resume("--workers", "2")
    assert (call.wait(), call.err) == (0, "")
    assert call.lines[: len(before)] == before
    _whole(call)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search of one worker that nothing happened to: its order is the only one."""
    out = tmp_path_factory.mktemp("runs") / "a"
    return fast.whole(out, fast.settings(asynchronous=True))


def _goes_on(folder, whole, journal, checkpoints):
    fast.lay(folder, whole.but(journal, checkpoints))
    result = fast.learn(folder, fast.settings(asynchronous=True), resume=True)
    assert fast.told(result, folder) == whole.told


@pytest.mark.parametrize("engine", [b"{}", b'{"mean": [0]}', b'{"told": ["odd"]}'])
def test_a_checkpoint_that_says_nothing_of_the_baseline_is_passed_over(tmp_path, whole, engine):
    odd = b'{"format": "evomal-checkpoint", "version": 1, "engine": %s}' % engine
    _goes_on(tmp_path / "a", whole, b"".join(whole.lines[:8]), {"checkpoint/state.json": odd})


def test_time_spent_is_kept_with_every_so_many_candidates(whole):
    seconds = [shot["checkpoint/state.json"] for shot in whole.shots if "checkpoint/state.json" in shot]
    assert len({*seconds}) >= 4  # the beginning, three times five candidates


@pytest.mark.parametrize("lost", [0, 6, 12])
def test_a_journal_that_lost_a_line_says_how_to_go_on_and_it_does(tmp_path, whole, lost):
    lines = [*whole.lines[:lost], *whole.lines[lost + 1 :]]
    fast.lay(tmp_path / "a", whole.but(b"".join(lines), {}))
    with pytest.raises(RunFolderError, match=r"the lines before; .* or delete its line and all that follow$"):
        fast.learn(tmp_path / "a", fast.settings(asynchronous=True), resume=True)
    assert (tmp_path / "a" / "journal.jsonl").read_bytes() == b"".join(lines)
    _goes_on(tmp_path / "a", whole, b"".join(lines[:lost]), {})


def test_a_line_that_is_no_record_takes_those_after_it_along(tmp_path, whole):
    lines = [*whole.lines[:6], b'{"generation": 1, "index": 1}\n', *whole.lines[7:]]
    fast.lay(tmp_path / "a", whole.but(b"".join(lines), {}))
    with pytest.raises(RunFolderError, match=r"delete its line and all that follow to have them evaluated anew$"):
        fast.learn(tmp_path / "a", fast.settings(asynchronous=True), resume=True)


def test_a_damaged_line_is_to_be_deleted_with_all_that_follow(tmp_path, whole):
    lines = [*whole.lines[:6], b"{garbage\n", *whole.lines[7:]]
    fast.lay(tmp_path / "a", whole.but(b"".join(lines), {}))
    with pytest.raises(
        RunFolderError, match=r"in line 7; delete that line and all that follow to go on with those bef"
    ):
        fast.learn(tmp_path / "a", fast.settings(asynchronous=True), resume=True)
    _goes_on(tmp_path / "a", whole, b"".join(lines[:6]), {})
