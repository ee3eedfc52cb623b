"""Models that raise at random and losses that become NaN: candidates fail, the search goes on."""

import json
import math
import os

import pytest
import torch
from torch import nn

from evomal.foundation.errors import EvomalError
from evomal.store import read_journal
from helpers import fast


class Fragile(nn.Linear):
    """Raises in training now and then, by a draw from PyTorch's seeded generator or from the system's."""

    def __init__(self, share, seeded):
        super().__init__(4, 3)
        self.share, self.seeded = share, seeded

    def forward(self, x):
        draw = torch.rand(()).item() if self.seeded else int.from_bytes(os.urandom(4), "big") / 2**32
        if self.training and draw < self.share:
            raise RuntimeError("the model had a bad day")
        return super().forward(x)


def _gplfl(**flat):
    # Without tuning, each candidate's training draws for itself.
    return fast.settings("gplfl", **flat)


def _strict(path):
    def refuse(name):
        raise AssertionError(f"{name} in a journal")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def _goes_on(tmp_path, settings, task, lines):
    """The finished run, and the same run gone on with from some lines of its journal."""
    first = fast.learn(tmp_path / "a", settings, task)
    whole = fast.files(tmp_path / "a")
    kept = b"".join(whole["journal.jsonl"].splitlines(keepends=True)[:lines])
    folder = fast.lay(tmp_path / "b", {"config.yaml": whole["config.yaml"], "journal.jsonl": kept})
    again = fast.learn(folder, settings, task, resume=True)
    return fast.told(first, tmp_path / "a"), fast.told(again, folder)


@pytest.fixture
def fine(monkeypatch):
    """The task loss itself is said to be fine, so that the search begins."""
    monkeypatch.setattr("evomal.search.method._baseline", lambda tasks, settings: 0.5)


def test_a_model_that_raises_by_seeded_draws_is_the_same_when_it_goes_on(fine, tmp_path):
    # Draws belong to (seed, stage), so candidates meet the same bad day: at this seed in training only.
    task = fast.clouds(lambda: Fragile(0.12, seeded=True))
    for seed in range(40):
        try:
            one, other = _goes_on(tmp_path / str(seed), _gplfl(seed=seed), task, 4)
        except EvomalError:  # the probe before the search met it
            continue
        if any(record["outcome"] == "failed" for record in one.journal):
            break
    failed = [record for record in one.journal if record["outcome"] == "failed"]
    assert failed
    assert {record["reason"] for record in failed} == {"RuntimeError: the model had a bad day"}
    assert one == other


def test_a_model_that_raises_by_chance_ends_no_search(tmp_path):
    lucky = 0
    for number in range(30):
        try:
            result = fast.learn(tmp_path / str(number), _gplfl(), fast.clouds(lambda: Fragile(0.05, seeded=False)))
        except EvomalError:  # the probe before the search met it
            continue
        lucky += 1
        records = _strict(tmp_path / str(number) / "journal.jsonl")
        assert len(records) == len(result.members) == 15
        if any(record["outcome"] == "failed" for record in records):
            break
    assert lucky
    assert any("the model had a bad day" in (record["reason"] or "") for record in records)


def test_a_metric_that_is_nan_fails_the_candidate_and_never_reaches_a_file(tmp_path):
    def picky(outputs, targets):
        wrong = float((outputs.argmax(1) != targets).float().mean())
        # Trained networks are confident; what a filter looks at is not.
        return math.nan if len(targets) == 30 and wrong > 0.3 else wrong

    task = fast.clouds(metric=picky, task_type="classification")
    one, other = _goes_on(tmp_path, _gplfl(rejection=False), task, 6)
    records = _strict(tmp_path / "a" / "journal.jsonl")
    assert {record["fitness"] for record in records if record["outcome"] == "failed"} == {None}
    assert any("gives nan" in (record["reason"] or "") for record in records)
    assert one == other


def test_a_task_loss_that_becomes_nan_in_tuning(fine, tmp_path):
    calls = []

    def sick(outputs, targets):
        calls.append(1)
        loss = nn.functional.cross_entropy(outputs, targets)
        return loss * math.nan if len(calls) > 8 else loss

    result = fast.learn(tmp_path / "a", fast.settings(rejection=False), fast.clouds(task_loss=sick))
    records = _strict(tmp_path / "a" / "journal.jsonl")
    assert len(records) == len(result.members) == len(read_journal(tmp_path / "a")) == 15
    assert any("not finite" in (record["reason"] or "") for record in records)


@pytest.mark.parametrize("when", [10, 14])
def test_a_factory_that_breaks_in_the_middle_fails_candidates(tmp_path, when):
    made = []

    def factory():
        made.append(1)
        if len(made) > when:
            raise RuntimeError("no more networks today")
        return nn.Linear(4, 3)

    result = fast.learn(tmp_path / "a", _gplfl(generations=12), fast.clouds(factory))
    assert "failed" in result.outcomes
    assert any("no more networks today" in (member.reason or "") for member in result.members)
    assert len(_strict(tmp_path / "a" / "journal.jsonl")) == 60
