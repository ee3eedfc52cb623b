"""Workers that are killed in the middle of an evaluation."""

import os
import signal
from contextlib import suppress


def _kill(pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_is_started_anew_and_the_run_is_the_same(begin, reference):
    call = begin("--workers", "2")
    call.until(lambda: len(call.lines) >= 7 and call.workers)
    _kill(call.workers[:1])
    assert call.wait() == 0
    assert all(
        "was killed, perhaps for want of memory; what it was doing is done again" in line
        for line in call.err.splitlines()
    )
    assert call.result == reference.result
    reference.require_same(call.run)


def test_workers_that_are_always_killed_end_the_run_and_nothing_is_lost(begin, resume, reference):
    call = begin("--workers", "2")
    call.until(lambda: len(call.lines) >= 7 and call.workers)
    call.until(lambda: _kill(call.workers))  # as long as it lives
    assert call.wait() == 1
    assert "Traceback" not in call.err
    assert call.err.splitlines()[-1] == (
        "evomal: error: one of 2 worker processes was killed 3 times in a row, perhaps for want of memory; what is "
        "finished is kept, go on with fewer workers"
    )
    assert len(call.lines) >= 7
    again = resume("--workers", "1", "--override")
    assert again.wait() == 0
    assert again.result == reference.result
    reference.require_same(call.run)
