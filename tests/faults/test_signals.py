"""Ctrl-C once and twice, and what schedulers send: no traceback, nothing lost, the same run in the end."""

import signal
import time

import pytest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl_c", "sigterm"])
def test_a_stop_keeps_the_best_loss_and_says_how_to_go_on(begin, resume, reference, number, code):
    call = begin(real=number == signal.SIGTERM)
    call.until(lambda: len(call.lines) >= 8)
    call.process.send_signal(number)
    assert call.wait() == code
    assert "Traceback" not in call.err
    assert call.err.splitlines()[-1].endswith("go on with evomal learn --resume run")
    assert call.result["interrupted"] is True
    assert sum(call.result["outcomes"].values()) == len(call.lines)
    reference.require(resume())


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_ctrl_c_twice(begin, resume, reference, pause):
    call = begin("--workers", "2") if pause == 0.02 else begin()
    call.until(lambda: len(call.lines) >= 10)
    call.ctrl_c()
    time.sleep(pause)
    if call.lives:
        call.ctrl_c()
    assert call.wait() == 130
    assert "Traceback" not in call.err
    assert call.err.splitlines()[-1].endswith("go on with evomal learn --resume run")
    call.leaves_nothing()
    if pause == 0.02:
        assert resume("--workers", "2").wait() == 0
        reference.require_same(call.run)
    else:
        reference.require(resume())


def test_ctrl_c_three_times_ends_at_once(begin, resume, reference):
    call = begin()
    call.until(lambda: len(call.lines) >= 10)
    for _ in range(3):
        call.ctrl_c()
        time.sleep(0.001)
    assert call.wait() == 130
    assert "Traceback" not in call.err
    call.leaves_nothing()
    reference.require(resume())
