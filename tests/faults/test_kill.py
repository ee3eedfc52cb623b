"""A run that is killed, again and again, comes to what an uninterrupted one comes to."""

import json
import shutil
import time
from functools import partial
from random import Random

import pytest

from evomal.store import read_journal

KILLS = 2  # in each of two tests; crash points are gone through one by one in test_crash_points
NO_RUN = "evomal: error: 'run' holds no run to go on with; start one with --out run\n"


class Killed:
    """A run that is killed at random moments.

    Args:
        begin: Starts it.
        resume: Goes on with it.
        draw: Random numbers.
        most: How many lines its journal gets.
    """

    def __init__(self, begin, resume, draw, most):
        self.begin, self.resume, self.draw, self.most = begin, resume, draw, most
        self.calls, self.lines, self.tuned = [begin()], [], {}

    @property
    def call(self):
        return self.calls[-1]

    def kill(self):
        """Kill the call; whether it still lived."""
        kind = self.draw.choice(["any", "working", "working", "working", "ending"])
        lines = {"any": 0, "working": len(self.lines) + self.draw.randint(0, 8), "ending": self.most}[kind]
        seconds = self.draw.uniform(0, 4.0 if kind == "any" else 0.08)
        self.call.until(lambda: len(self.call.lines) >= lines)
        time.sleep(seconds)
        return self.call.kill() != 0

    def go_on(self):
        """What was there is still there; what was not is begun anew."""
        self.look()
        there = self.call.run.exists()
        self.calls.append(self.resume())
        if not there:
            assert (self.call.wait(), self.call.err) == (2, NO_RUN)
            self.calls.append(self.begin())

    def look(self):
        """Lines that were finished stay where and as they are; what was tuned is kept in mind."""
        lines = [line for line in self.call.lines if line.endswith(b"\n")]
        assert lines[: len(self.lines)] == self.lines
        self.lines = lines
        checkpoint = self.call.run / "checkpoint/state.json"
        if checkpoint.exists():
            state = json.loads(checkpoint.read_bytes())
            self.tuned |= {(state["generation"], each["index"]): each["seconds"] for each in state["tuned"]}

    def require_nothing_done_twice(self):
        """Times differ from call to call, so they tell that a local search was not done again."""
        self.look()
        seconds = {(line["generation"], line["index"]): line["seconds"] for line in read_journal(self.call.run)}
        assert self.tuned
        assert {place: seconds[place]["tune"] for place in self.tuned} == pytest.approx(self.tuned, abs=6e-5)


@pytest.mark.parametrize(("seed", "workers"), [(0, "1"), (3, "2")])
def test_killed_at_random_moments(begin, resume, reference, tmp_path, seed, workers):
    draw, kills = Random(seed), 0
    while kills < KILLS:
        folder = tmp_path / f"after-{kills}"
        folder.mkdir()
        killed = Killed(
            partial(begin, "--workers", workers, folder=folder),
            partial(resume, folder=folder),
            draw,
            reference.lines,
        )
        while kills < KILLS and killed.kill():
            kills += 1
            killed.go_on()
        reference.require(killed.call)
        killed.require_nothing_done_twice()
        for call in killed.calls:
            call.leaves_nothing()
        assert [path for path in killed.call.temporary.iterdir() if not path.name.startswith("torch")] == []


def test_killed_before_its_folder_is_in_its_place(begin, resume, reference, tmp_path):
    first = begin()
    (beside,) = first.until(lambda: list(tmp_path.glob(".run.starting-*")))
    assert first.kill() != 0
    assert not first.run.exists()
    second = resume()
    assert (second.wait(), second.out, second.err) == (2, "", NO_RUN)
    assert beside.exists()
    reference.require(begin())
    assert not beside.exists()


@pytest.fixture
def replacing(begin, reference, tmp_path):
    """A call that was killed when it had put its run in the place of an older one, and had nothing to show yet."""
    shutil.copytree(reference.run, tmp_path / "run")
    # The local search of the first generation takes minutes.
    call = begin("--force", "--meta-steps", "1000000")
    call.until(lambda: list(tmp_path.glob(".run.replaced-*")) and (call.run / "checkpoint/state.json").exists())
    assert call.kill() != 0
    assert read_journal(call.run) == []
    return call


def _older(tmp_path):
    (older,) = tmp_path.glob(".run.replaced-*")
    return older


def test_a_killed_call_has_not_lost_the_run_that_it_was_to_replace(replacing, reference, tmp_path):
    older = _older(tmp_path)
    for file in ("journal.jsonl", "loss.json", "config.yaml", "checkpoint/state.json"):
        assert (older / file).read_bytes() == (reference.run / file).read_bytes()


def test_the_older_run_goes_when_the_newer_has_something_to_show(replacing, begin, reference, tmp_path):
    older = _older(tmp_path)
    reference.require(begin("--force"))
    assert not older.exists()
    assert [path.name for path in tmp_path.glob(".run.*")] == []


def test_a_replacing_call_that_is_stopped_brings_the_older_run_back(begin, reference, tmp_path):
    shutil.copytree(reference.run, tmp_path / "run")
    call = begin("--force", "--meta-steps", "1000000")
    call.until(lambda: list(tmp_path.glob(".run.replaced-*")) and (call.run / "checkpoint/state.json").exists())
    call.ctrl_c()
    assert (call.wait(), call.err) == (130, "evomal: stopped before there was a result\n")
    assert [path.name for path in tmp_path.glob("*run*")] == ["run"]
    reference.require_same(call.run)
