"""Run folders and comparisons written by hand: as small as reports need, without a single training."""

import json
from types import SimpleNamespace

import pytest
import yaml

from evomal.comparison import Comparison, Contender, Origin, SearchSummary, write_tables
from evomal.losses import SymbolicLoss
from evomal.store.checkpoint import Checkpoints
from evomal.training import TrainingRun

NASTY = '<script>alert(1)</script> $x_{$ & \x1b[31m "q"'
"""A name that breaks pages, formulas and terminals that trust it."""


def line(generation, index, outcome="trained", fitness=None, expression="square(sub(y, f))", **more):
    usual = {"origin": "initial", "parents": [], "weights": None, "output_activation": "identity", "score": None}
    place = {"generation": generation, "index": index, "outcome": outcome, "fitness": fitness}
    return {**place, "expression": expression, **usual, **more}


LINES = [
    line(0, 0, fitness=0.5),
    line(0, 1, "rejected", expression="mul(y, f)", reason="improves predictions by -0.1 of what is possible"),
    line(1, 0, "elite", 0.5, origin="elite", parents=[0]),
    line(1, 1, fitness=0.25, expression="abs(log(mul(y, f)))", origin="crossover", parents=[0, 1]),
]


def write_run(folder, name="digits/mlp", ended="generations", lines=LINES, with_loss=True):
    folder.mkdir(parents=True)
    loss = SymbolicLoss("abs(log(mul(y, f)))", [1.1, 0.9, 1.2, 0.8], task_type="classification")
    loss.info = {
        "learned_on": {"task": name, "dataset": name, "model": "mlp", "metric": "error_rate"},
        **{"method": "evomal", "seed": 3, "fitness": 0.25, "baseline": {"loss": "cross_entropy", "fitness": 0.4}},
        **{"found": {"generation": 1, "index": 1}, "versions": {"torch": "2.13.0"}},
    }
    if with_loss:
        loss.save(folder / "loss.json")
    config = {
        **{"format": "evomal-run", "version": 1, "command": f"evomal learn --out {name}", "tasks": [{"task": name}]},
        "settings": {"method": "evomal", "seed": 3, "genetic": {"generations": 2}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "journal.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    Checkpoints(folder).write({"generation": 1, "baseline": 0.4, "seconds": 75.0, "ended": ended})
    return folder


def make_comparison(task="digits/mlp", names=("cross_entropy", "focal", "evomal")):
    def runs(offset):
        return tuple(
            TrainingRun(lr, seed, 0.1 + offset + lr / 10, 0.1 + offset * (1 + seed / 20) + lr / 10, 100, 1.0)
            for lr in (0.1, 0.3)
            for seed in (0, 1, 2)
        )

    search = [
        SearchSummary(seed, 9.0, 4, 8, 0.25, 0.4, "abs(log(y·f))", "x/loss.json", {"trained": 4}) for seed in (0, 1, 2)
    ]
    contenders = (
        Contender(names[0], "handcrafted", (), runs(0.05), (1.0,) * 3),
        Contender(names[1], "handcrafted", (), runs(0.06), (0.9,) * 3),
        Contender(names[2], "learned", tuple(search), runs(0.0), (2.0,) * 3, (0.1,) * 3),
    )
    origin = Origin("evomal compare", {"torch": "2.13.0"})
    return Comparison(task, "error_rate", names[0], 0.1, (0.1, 0.3), (0, 1, 2), contenders, {"steps": 100}, origin)


@pytest.fixture
def made():
    """What tests make runs and comparisons with."""
    return SimpleNamespace(line=line, lines=LINES, nasty=NASTY, write_run=write_run, make_comparison=make_comparison)


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "a")


@pytest.fixture
def comparison_folder(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    write_tables(make_comparison(), folder)
    for seed in (0, 1, 2):
        write_run(folder / "searches" / f"evomal-seed{seed}")
    return folder
