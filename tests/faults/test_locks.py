"""One process at a time works in a run folder, and a dead one is none."""

import os
import signal

import pytest

AT_WORK = "evomal: error: another evomal is at work in 'run'; wait until it ends, or give another --out\n"
HOLDS = (
    "evomal: error: 'run' already holds a run; go on with it by --resume, give another --out, or --force to "
    "replace it\n"
)


@pytest.fixture
def at_work(begin):
    """A call in the middle of its run, made to wait there."""
    call = begin()
    assert call.until(lambda: len(call.lines) > 3)
    call.process.send_signal(signal.SIGSTOP)
    return call


def test_a_second_process_is_refused_and_the_first_does_not_notice(at_work, begin, resume, reference, tmp_path):
    files = sorted(at_work.run.rglob("*"))
    seconds = [resume(), begin("--force"), begin()]
    told = [(call.wait(), call.out, call.err) for call in seconds]
    assert told == [(2, "", AT_WORK), (2, "", AT_WORK), (2, "", HOLDS)]
    assert sorted(at_work.run.rglob("*")) == files
    assert list(tmp_path.glob(".run.*")) == []
    at_work.process.send_signal(signal.SIGCONT)
    reference.require(at_work)


def test_a_killed_process_holds_no_lock(at_work, resume, reference):
    before = at_work.lines
    at_work.kill()
    call = resume()
    reference.require(call)
    assert call.lines[: len(before)] == before


def test_the_workers_of_a_killed_process_hold_no_lock(begin, resume, reference):
    first = begin("--workers", "2")
    assert first.until(lambda: len(first.lines) > 3)
    orphans = first.workers
    for pid in orphans:
        os.kill(pid, signal.SIGSTOP)  # they cannot end when they are told to
    first.kill()
    call = resume()
    reference.require(call)
    assert {each.pid for each in first.left} >= set(orphans)
    for pid in orphans:
        os.kill(pid, signal.SIGCONT)
    first.leaves_nothing()
