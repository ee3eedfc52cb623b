"""A short run of every target; long ones are run by hand, by python -m fuzz."""

import json
import random

import pytest
from fuzz.inputs import inputs
from fuzz.mutation import mutated
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings

from evomal.foundation.errors import LossFileError

INPUTS = {
    "loss_file": 300,
    "expression": 300,
    "journal": 40,
    "yaml_file": 150,
    "comparison": 15,
    "trainings": 10,
    "search": 10,
    "run_folder": 10,
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_short_run_finds_nothing(name):
    target = TARGETS[name]

    @settings(
        deadline=None, derandomize=True, database=None, max_examples=INPUTS[name],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=inputs(target))
    def check(data):
        target.check(data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_valid_samples_pass(name):
    for sample in TARGETS[name].samples()[:2]:
        TARGETS[name].check(sample)


def test_changes_are_changes_and_come_from_the_seed():
    sample = TARGETS["loss_file"].samples()[2]
    changed = [mutated(sample, random.Random(seed), rounds=2) for seed in range(200)]
    assert changed == [mutated(sample, random.Random(seed), rounds=2) for seed in range(200)]
    assert len(set(changed) - {sample}) > 150


@pytest.mark.parametrize("more", [b', "past": 1e400', b', "past": ' + b"[" * 30 + b"]" * 30], ids=["number", "depth"])
def test_a_target_that_is_wrong_would_be_seen(monkeypatch, more):
    data = TARGETS["loss_file"].samples()[0][:-1] + more + b"}"
    TARGETS["loss_file"].check(data)  # refused
    monkeypatch.setattr("evomal.losses.loading.read_document", _unlimited)
    with pytest.raises(LossFileError, match="the loss cannot be written"):
        TARGETS["loss_file"].check(data)


def _unlimited(file):
    return {name: value for name, value in json.loads(file.read_bytes()).items() if name not in ("format", "version")}
