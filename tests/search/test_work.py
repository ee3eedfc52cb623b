"""Stages in groups of lanes: whoever works, and however often a run was interrupted, it comes to the same."""

import pytest
import torch

from evomal.losses.slopes import slope
from evomal.search import EvoMAL
from evomal.tasks import TaskSet
from helpers import stops

tasks = stops.tasks

LANES = {"lanes": 3, "seed": 2, "generations": 3, "meta_steps": 2, "partial_steps": 10, "rejection_threshold": 0.2}
RACING = {"racing": True, "racing_keep": 0.5}


@pytest.fixture(scope="module", params=[{}, RACING], ids=["plain", "racing"])
def whole(request, tmp_path_factory):
    flat = LANES | request.param
    out = tmp_path_factory.mktemp("lanes") / "a"
    return EvoMAL(tasks.quick(**flat)).learn(tasks.blobs(), out), out, flat


@pytest.mark.parametrize("kept", [3, 14])
def test_an_interrupted_run_ends_as_one_that_was_not(whole, tmp_path, kept):
    result, out, flat = whole
    folder = stops.cut(out, tmp_path / "b", kept)
    again = EvoMAL(tasks.quick(**flat)).learn(tasks.blobs(), folder, resume=True)
    assert stops.in_order(stops.lines(folder)) == stops.in_order(stops.lines(out))
    assert again.loss.weights.tolist() == result.loss.weights.tolist()


@pytest.mark.parametrize("stop", [12])
def test_ctrl_c_in_the_middle_of_groups(whole, tmp_path, stop):
    result, out, flat = whole
    place = tmp_path / "b"
    EvoMAL(tasks.quick(**flat)).learn(tasks.blobs(), place, watcher=stops.Stop(stop))
    again = EvoMAL(tasks.quick(**flat)).learn(tasks.blobs(), place, resume=True)
    assert stops.in_order(stops.lines(place)) == stops.in_order(stops.lines(out))
    assert again.fitness == result.fitness


def test_workers_do_not_matter(whole, tmp_path):
    _, out, flat = whole
    EvoMAL(tasks.quick(**flat, workers=2)).learn(tasks.blobs(), tmp_path / "b")
    assert stops.in_order(stops.lines(tmp_path / "b")) == stops.in_order(stops.lines(out))


def test_lanes_agree_with_one_by_one_within_a_tolerance(whole):
    """φ to 1e-5, the same outcomes; only metrics that a last bit tips over may differ.

    Where φ has no effect on the loss's slope, a meta-gradient is all rounding and Adam's step has no sign to agree on.
    """
    result, _, flat = whole
    settings = tasks.quick(**flat | {"lanes": 1})
    alone = EvoMAL(settings).learn(tasks.blobs())
    (logits,), targets = tasks.normal(0, (20, 3)), torch.arange(20) % 3
    for ours, theirs in zip(result.members, alone.members, strict=True):
        assert (ours.key, ours.outcome, ours.tuned_steps) == (theirs.key, theirs.outcome, theirs.tuned_steps)
        if ours.weights != pytest.approx(theirs.weights, abs=1e-5):
            both = [each.finished_loss(TaskSet.of(tasks.blobs()), settings) for each in (ours, theirs)]
            torch.testing.assert_close(*(slope(loss, logits, targets)[1] for loss in both), rtol=0, atol=1e-5)
            assert ours.weights == pytest.approx(theirs.weights, abs=2 * settings.tuning.meta_lr * ours.tuned_steps)
        assert ours.fitness == pytest.approx(theirs.fitness, abs=0.02)
