import os
import signal
import threading

import pytest

from evomal.foundation.contexts import STOPS, uninterrupted


@pytest.fixture
def told(monkeypatch):
    """Both signals are taken down instead of ending the tests."""
    seen = []
    before = {number: signal.getsignal(number) for number in STOPS}
    for number in STOPS:
        signal.signal(number, lambda number, frame: seen.append(number))
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_waits_until_the_block_is_done(told, number):
    with uninterrupted():
        os.kill(os.getpid(), number)
        assert told == []
    assert told == [number]


@pytest.mark.parametrize("order", [STOPS, STOPS[::-1], (signal.SIGINT,) * 3])
def test_of_several_signals_the_first_is_raised_once(told, order):
    with uninterrupted():
        for number in order:
            signal.raise_signal(number)
    assert told == [order[0]]


def test_afterwards_signals_act_at_once_again(told):
    handlers = [signal.getsignal(number) for number in STOPS]
    with uninterrupted():
        assert all(signal.getsignal(number) not in handlers for number in STOPS)
    assert [signal.getsignal(number) for number in STOPS] == handlers
    assert told == []
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM]


def test_ctrl_c_is_raised_after_the_last_line(told):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append("written")
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_that_fails_fails_and_the_signal_is_not_lost(told):
    with pytest.raises(ValueError, match=r"^full$"), uninterrupted():  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("full")
    assert told == [signal.SIGTERM]


def test_of_blocks_in_blocks_the_outermost_counts(told):
    with uninterrupted():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert told == []
    assert told == [signal.SIGINT]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_nobody_handles_stays_as_it_is(told, handler):
    signal.signal(signal.SIGTERM, handler)
    with uninterrupted():
        assert signal.getsignal(signal.SIGTERM) is handler
        signal.raise_signal(signal.SIGINT)
        assert told == []
    assert signal.getsignal(signal.SIGTERM) is handler
    assert told == [signal.SIGINT]


def test_in_another_thread_there_is_nothing_to_put_off(told):
    handlers, inside, failed = [signal.getsignal(number) for number in STOPS], [], []

    def work():
        try:
            with uninterrupted():
                inside.append([signal.getsignal(number) for number in STOPS])
        except ValueError as error:  # only the main thread may set handlers
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (inside, failed) == ([handlers], [])
