"""The suite's arithmetic and its tasks: what its table says must follow from what was measured."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# `benchmarks` lies beside the package and is installed with nothing.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.suite.table import markdown, row, specialist
from benchmarks.suite.tasks import TASKS, missed_cost_five, off_by_a_tenth, one_minus_auc, suite_task


def _found(draw, habit, best, own, learned):
    places = [{"name": "focal", "kind": "handcrafted"}, {"name": "cross_entropy", "kind": "task"}]
    values = {"cross_entropy": habit, "focal": best, "evomal": own, "learned": learned}
    verdict = {"kind": "learned", "places": places, "rank_correlation": 0.6}
    test = {name: {"lr": 0.1, "values": [value - 0.01, value + 0.01]} for name, value in values.items()}
    return {"task": "t", "draw": draw, "variant": "evomal", "seconds": 60.0, "verdict": verdict, "test": test}


def test_a_row_follows_from_its_draws():
    found = [_found(0, 0.30, 0.25, 0.20, 0.20), _found(1, 0.32, 0.24, 0.40, 0.21)]
    one = row("t", found)
    assert one["habit"] == pytest.approx([0.30, 0.32])
    assert one["chosen"] == one["hindsight"] == pytest.approx([0.25, 0.24])
    assert one["best specialist"] == specialist(found[0]) == "focal"
    assert one["right"] == 1  # the second answer lost to all others by more than its networks' spread
    text = markdown(found)
    assert "| t | 2 | 0.3100 ± 0.0141 |" in text
    assert "1/2" in text


def test_a_training_that_failed_is_the_worst():
    found = _found(0, 0.3, 0.25, 0.2, 0.2)
    found["test"]["focal"]["values"][0] = None
    assert row("t", [found])["chosen"] == [float("inf")]


def test_metrics_of_the_suite():
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    targets = torch.tensor([1, 1, 0, 0])
    assert missed_cost_five(logits, targets) == (5 + 1) / 4
    assert one_minus_auc(logits, targets) == 0.5
    assert np.isnan(one_minus_auc(logits[:2], targets[:2]))
    assert off_by_a_tenth(torch.tensor([[0.0], [0.25]]), torch.zeros(2), 100.0, 50.0) == 0.5


def test_a_task_is_drawn_anew_and_the_same_again(tmp_path):
    first, again, other = (suite_task("noisy_targets", tmp_path, draw) for draw in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.train) + len(first.valid) + len(first.test) == 442
    assert len(TASKS) == 8
