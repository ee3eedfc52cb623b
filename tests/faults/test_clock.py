"""Clocks of the wall that jump: nothing that counts looks at them."""

import os
import time
from itertools import cycle

import pytest

from helpers import fast

HOURS = 3600.0


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return fast.whole(tmp_path_factory.mktemp("clock") / "a")


@pytest.mark.parametrize(
    "jumps", [(0, 5), (0, -5), (0, 100_000, -100_000)], ids=["forwards", "backwards", "to_and_fro"]
)
def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch, reference, jumps):
    now, steps = time.time, cycle(jumps)
    looks = []

    def jumping():
        looks.append(1)
        return now() + HOURS * next(steps)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * jumping()))
    assert abs(time.time() - time.time()) > HOURS  # it does jump
    settings = fast.settings(max_time=1800)
    result = fast.learn(tmp_path / "a", settings)
    assert result.ended == "generations"
    assert 0 < result.seconds < 1800
    assert fast.told(result, tmp_path / "a") == reference.told


def test_files_from_the_future_are_files(tmp_path, reference):
    folder = fast.lay(tmp_path / "a", reference.but(b"".join(reference.lines[:7]), reference.checkpoints[2]))
    for path in folder.rglob("*"):
        os.utime(path, (time.time() + 24 * HOURS,) * 2)
    assert fast.told(fast.learn(folder, resume=True), folder) == reference.told
