"""The examples run as they stand."""

import json
import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import evomal
from evomal.tasks import load_user_task
from helpers.tasks import quick

ROOT = Path(__file__).parents[1]


def _run(*command, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def test_learn_a_loss(tmp_path):
    ended = _run(str(ROOT / "examples" / "learn_a_loss.py"), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "test error 0.0" in ended.stdout
    assert "SymbolicLoss(" in ended.stdout
    assert (tmp_path / "loss.json").is_file()


def test_a_task_from_the_command_line(tmp_path):
    task = f"{ROOT / 'examples' / 'my_task.py'}:make_task"
    small = {"generations": 1, "population": 4, "meta-steps": 2, "partial-steps": 20, "rejection-steps": 100}
    options = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    ended = _run("-m", "evomal.cli", "learn", "--task", task, "--preset", "quick", *options, "--out", "a", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "a" / "loss.json").is_file()


def test_an_optimizer_of_ones_own(tmp_path):
    task = f"{ROOT / 'examples' / 'own_optimizer.py'}:make_task"
    small = {"generations": 1, "population": 3, "meta-steps": 2, "partial-steps": 10, "rejection-steps": 100}
    options = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    ended = _run("-m", "evomal.cli", "learn", "--task", task, "--lr", "0.01", *options, "--out", "a", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "a" / "loss.json").read_text())["tuned_for"]["optimizer"] == "own (optimizer)"


def test_a_model_with_several_inputs():
    script = ROOT / "examples" / "several_inputs.py"
    assert len(script.read_text().splitlines()) <= 30
    small = quick(population_size=3, generations=1, meta_steps=2, partial_steps=50, rejection_steps=100, lr=1.0)
    result = evomal.EvoMAL(small).learn(load_user_task(f"{script}:make_task"))
    assert result.fitness < 0.2


def test_an_estimator(capsys):
    script = ROOT / "examples" / "estimator.py"
    assert len(script.read_text().splitlines()) <= 30
    runpy.run_path(str(script), run_name="__main__")
    accuracy, trained, probabilities = capsys.readouterr().out.splitlines()
    assert float(accuracy.split()[1]) > 0.8
    assert trained.startswith("trained with ")
    assert "class_0" in probabilities


def test_a_table(tmp_path):
    ended = _run(str(ROOT / "examples" / "tabular.py"), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "Task('customers/mlp', classification, 720 training, 80 validation instances)" in ended.stdout
    scores = [float(word) for word in re.findall(r"1 - F1 on test data (\S+)", ended.stdout)]
    assert len(scores) == 2
    assert all(score < 0.3 for score in scores)


def test_text(tmp_path):
    ended = _run(str(ROOT / "examples" / "sequence.py"), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (error,) = (float(word) for word in re.findall(r"test error (\S+)", ended.stdout))
    assert error < 0.2


@pytest.mark.parametrize(("name", "least"), [("ask_and_tell", 0.2), ("lightning_module", 3.0)])
def test_losses_for_those_who_train_elsewhere(name, least, tmp_path):
    script = ROOT / "examples" / f"{name}.py"
    assert len(script.read_text().splitlines()) <= 30
    ended = _run(str(script), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split("error ")[1].split()[0]) < least
    again = _run(str(script), cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, ended.stdout), again.stderr


NEEDS = {"transformers": ["accelerate"]}


@pytest.mark.parametrize("package", ["lightning", "skorch", "transformers", "keras"])
def test_a_learned_loss_where_people_already_train(package, tmp_path):
    """Skipped where the package is not installed: of these, only skorch is light enough for the extra `dev`."""
    missing = [name for name in (package, *NEEDS.get(package, ())) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    script = ROOT / "examples" / f"with_{package}.py"
    assert len(script.read_text().splitlines()) <= 30
    ended = _run(str(script), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split("error ")[-1].split()[0]) < 0.1
