"""The examples run as they stand."""

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import evomal
from evomal.tasks import load_user_task
from helpers.tasks import quick

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(fork, tmp_path):
    """Runs a script as `python script.py` does, in an empty folder; gives what it printed."""

    def run(name):
        ended = fork(script=EXAMPLES / name, cwd=tmp_path)
        assert ended.code == 0, ended.err
        return ended.out

    return run


def _learn(fork, folder, task, *options, population):
    small = {"generations": 1, "population": population, "meta-steps": 2, "partial-steps": 10}
    small |= {"rejection-steps": 10, "rejection-lr": 0.1}
    given = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    ended = fork(
        command=["learn", "--task", f"{EXAMPLES / task}:make_task", *given, *options, "--out", "a"], cwd=folder
    )
    assert ended.code == 0, ended.err
    return json.loads((folder / "a" / "loss.json").read_text())


def test_learn_a_loss(run, tmp_path):
    out = run("learn_a_loss.py")
    assert "test error 0.0" in out
    assert "SymbolicLoss(" in out
    assert (tmp_path / "loss.json").is_file()


def test_a_task_from_the_command_line(fork, tmp_path):
    assert _learn(fork, tmp_path, "my_task.py", "--preset", "quick", population=4)["format"] == "evomal-loss"


def test_an_optimizer_of_ones_own(fork, tmp_path):
    written = _learn(fork, tmp_path, "own_optimizer.py", "--lr", "0.01", "--no-finals", population=3)
    assert written["tuned_for"]["optimizer"] == "own (optimizer)"


def test_a_model_with_several_inputs():
    script = EXAMPLES / "several_inputs.py"
    assert len(script.read_text().splitlines()) <= 30
    small = quick(
        population_size=3, generations=1, meta_steps=2, partial_steps=50, rejection_steps=10, rejection_lr=0.1, lr=1.0
    )
    result = evomal.EvoMAL(small).learn(load_user_task(f"{script}:make_task"))
    assert result.fitness < 0.2


def test_an_estimator(run):
    assert len((EXAMPLES / "estimator.py").read_text().splitlines()) <= 30
    accuracy, trained, probabilities = run("estimator.py").splitlines()
    assert float(accuracy.split()[1]) > 0.8
    assert trained.startswith("trained with ")
    assert "class_0" in probabilities


def test_losses_of_ones_own_beside_others(run):
    assert len((EXAMPLES / "own_contenders.py").read_text().splitlines()) <= 30
    out = run("own_contenders.py")
    assert out.startswith("before      (y - f)²\nafter       ")
    assert re.search(r"^best: \w+ at 0\.\d+ \(error_rate 0\.\d+\); ", out, re.M)
    rows = re.findall(r"^\| (\w+) \| 0\.3 \| (0\.\d+) ± 0\.\d+ \|", out, re.M)
    assert [name for name, _ in rows] == ["focal", "smoothed", "Margin", "SymbolicLoss"]
    assert all(float(error) < 0.4 for _, error in rows)


def test_a_table(run):
    out = run("tabular.py")
    assert "Task('customers/mlp', classification, 720 training, 80 validation instances)" in out
    scores = [float(word) for word in re.findall(r"1 - F1 on test data (\S+)", out)]
    assert len(scores) == 2
    assert all(score < 0.3 for score in scores)


def test_text(run):
    (error,) = (float(word) for word in re.findall(r"test error (\S+)", run("sequence.py")))
    assert error < 0.2


@pytest.mark.parametrize(("name", "least"), [("ask_and_tell.py", 0.2), ("lightning_module.py", 3.0)])
def test_losses_for_those_who_train_elsewhere(name, least, run):
    assert len((EXAMPLES / name).read_text().splitlines()) <= 30
    out = run(name)
    assert float(out.split("error ")[1].split()[0]) < least
    assert run(name) == out


def test_with_transformers_pieces_of_a_batch_sum_up_to_its_mean():
    """The Trainer adds the gradients of all pieces up where it is given a `compute_loss_func`."""
    tree = ast.parse((EXAMPLES / "with_transformers.py").read_text())
    code = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    file = EXAMPLES / "learned_loss.json"
    names = {"loss": evomal.load_loss(file, reduction="sum")}
    exec(compile(ast.Module(code, []), "with_transformers.py", "exec"), names)
    logits, labels = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    labels[::5] = -100
    pieces = [({"logits": logits[rows]}, labels[rows]) for rows in (slice(0, 3), slice(3, 7), slice(7, 12))]
    mean = evomal.load_loss(file)(logits, labels)
    count = int((labels != -100).sum())
    assert sum(names["compute_loss"](*piece, num_items_in_batch=count) for piece in pieces).item() == pytest.approx(
        mean.item(), rel=1e-5
    )
    assert names["compute_loss"]({"logits": logits}, labels).item() == pytest.approx(mean.item(), rel=1e-5)


NEEDS = {"transformers": ["accelerate"]}


@pytest.mark.parametrize("package", ["lightning", "skorch", "transformers", "keras"])
def test_a_learned_loss_where_people_already_train(package, run):
    """Skipped where the package is not installed: of these, only skorch is light enough for the extra `dev`."""
    missing = [name for name in (package, *NEEDS.get(package, ())) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    name = f"with_{package}.py"
    assert len((EXAMPLES / name).read_text().splitlines()) <= 30
    assert float(run(name).split("error ")[-1].split()[0]) < 0.1
