"""One loss for several tasks: the sums and means of Algorithms 1 and 2."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy, mse_loss

import evomal
from evomal.cli import main
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.engines.genome import Formula
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import gradient_signature, improvement, make_probe
from evomal.evaluation.stages import judge_stage, train_stage, tune_stage
from evomal.executors import InProcess
from evomal.foundation.seeds import derive
from evomal.local_search import tune
from evomal.search import Candidate, EvoMAL, Watcher
from evomal.store import comparable, read_journal
from evomal.tasks import Batches, TaskSet
from helpers import oracles, tasks

BASE = BaseSettings(lr=0.3, batch_size=16, momentum=0.5)


@pytest.fixture(scope="module")
def both():
    """Two tasks that differ in data and in the number of classes."""
    return TaskSet((tasks.blobs(), tasks.blobs(classes=4, seed=5, name="others")))


def _loss(formula="sub(tanh(mul(f, add(y, 1))), mul(y, f))"):
    return evomal.SymbolicLoss(formula, task_type="classification", ignore_index=None)


def _double_backward(loss, task, step, seed):
    """One task's meta-gradient at a meta step, differentiated through everything."""
    train = Batches(len(task.train), 16, seed, task.key, "tune", "train")
    valid = Batches(len(task.valid), 16, seed, task.key, "tune", "valid")
    model = task.make_model(derive(seed, task.key, "tune", "init", step))
    batches = [task.train.take(train.index(step))], task.valid.take(valid.index(step))
    (gradient,) = oracles.double_backward(loss, model, *batches, cross_entropy, lr=0.3, momentum=0.5)
    return gradient


def test_the_meta_gradient_is_the_sum_over_the_tasks(both, monkeypatch):
    seen = []

    class Watched(torch.optim.Adam):
        def step(self):
            seen.extend(p.grad.clone() for group in self.param_groups for p in group["params"])
            super().step()

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    loss = _loss()
    tune([loss], both, LocalSearchSettings(meta_steps=1), BASE, seed=3)
    first, second = (_double_backward(_loss(), task, 0, 3) for task in both)
    torch.testing.assert_close(seen[0], first + second, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(first, second, rtol=0.1)


def test_tuning_is_adam_on_the_summed_meta_gradients(both):
    ours, reference = _loss(), _loss()
    tune([ours], both, LocalSearchSettings(meta_steps=3, meta_lr=0.05), BASE, seed=3)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.05)
    for step in range(3):
        reference.weights.grad = sum(_double_backward(reference, task, step, 3) for task in both)
        optimizer.step()
    torch.testing.assert_close(ours.weights, reference.weights, rtol=1e-4, atol=1e-5)
    alone = _loss()
    tune([alone], both[0], LocalSearchSettings(meta_steps=3, meta_lr=0.05), BASE, seed=3)
    assert not torch.allclose(ours.weights, alone.weights, atol=1e-3)


def _infinite(outputs, targets):
    return cross_entropy(outputs, targets) * torch.inf


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_task_without_a_finite_meta_gradient_ends_the_tuning_of_all(order):
    pair = tasks.blobs(), tasks.blobs(name="broken", task_loss=_infinite, task_type="classification")
    loss = _loss()
    (outcome,) = tune([loss], TaskSet(tuple(pair[i] for i in order)), LocalSearchSettings(meta_steps=3), BASE, seed=1)
    assert (outcome.steps, outcome.note) == (0, "the meta-gradient was not finite")
    assert torch.equal(loss.weights, _loss().weights)


def test_a_loss_that_fails_on_the_second_task_leaves_the_others_alone():
    plain = tasks.line()
    far = evomal.Task(plain.factory, (1e5 * plain.train.x, plain.train.y), task_loss="mse", name="far")
    pair = TaskSet((plain, far))

    def losses():
        formulas = ("square(tanh(sub(y, f)))", "add(y, square(square(square(square(f)))))")
        return [evomal.SymbolicLoss(f, task_type="regression") for f in formulas]

    base, settings = BaseSettings(lr=1e-3, batch_size=16), LocalSearchSettings(meta_steps=4)
    together, alone = losses(), losses()[:1]
    healthy, broken = tune(together, pair, settings, base, seed=1)
    tune(alone, pair, settings, base, seed=1)
    assert (healthy.steps, healthy.reason, healthy.note) == (4, None, None)
    assert (broken.steps, broken.reason) == (0, "the loss or its gradient is not finite")
    assert torch.equal(together[0].weights, alone[0].weights)
    assert not torch.equal(together[0].weights, losses()[0].weights)
    assert torch.equal(together[1].weights, losses()[1].weights)


def test_the_fitness_is_the_mean_over_the_tasks(both):
    settings, loss = tasks.quick(seed=7, partial_steps=2), _loss("square(sub(y, f))")
    partial = train_stage(both, settings, loss)
    each = [train_stage(TaskSet((task,)), settings, loss) for task in both]
    assert partial.fitness == (each[0].fitness + each[1].fitness) / 2
    assert each[0].fitness != each[1].fitness
    assert (partial.trainings, [alone.trainings for alone in each]) == (2, [1, 1])
    baseline = train_stage(both, settings, None).fitness
    assert baseline == sum(train_stage(TaskSet((task,)), settings, None).fitness for task in both) / 2


NEVER = "metric 'never' on outputs [120, 3] and targets [120] fails: KeyError: 'mood'"


def test_a_training_that_fails_is_the_last_and_makes_the_fitness_infinite():
    def never(outputs, targets):
        raise KeyError("mood")

    pair = tasks.blobs(metric=never, task_type="classification"), tasks.blobs(name="others", seed=5)
    partial = train_stage(TaskSet(pair), tasks.quick(), _loss("square(sub(y, f))"))
    assert (partial.fitness, partial.reason, partial.trainings) == (float("inf"), NEVER, 1)
    assert train_stage(TaskSet(pair[::-1]), tasks.quick(), _loss("square(sub(y, f))")).trainings == 2


def _sure(outputs, targets):
    """Share of instances whose class has a probability below 0.999: no loss that is flat near 1 improves it much."""
    return float((outputs.softmax(1).gather(1, targets[:, None]) < 0.999).float().mean())


def test_rejection_needs_every_task_and_equivalence_all_of_them():
    settings, loss = tasks.quick(meta_steps=0), _loss("square(sub(y, f))")
    pair = TaskSet((tasks.blobs(), tasks.blobs(name="sure", metric=_sure, task_type="classification")))
    probes = [make_probe(task, 100, 0) for task in pair]
    scores = [improvement(loss, probe, settings.filters) for probe in probes]
    assert scores[0] > 0.5 > scores[1]
    for some in (pair, TaskSet(pair.tasks[::-1])):
        judgement = judge_stage(some, settings, [make_probe(task, 100, 0) for task in some], loss)
        assert judgement.score == scores[1]
    judgement = judge_stage(pair, settings, probes, loss)
    together = " ".join(gradient_signature(loss, probe) for probe in probes)
    assert judgement.signature == hashlib.sha256(together.encode()).hexdigest()[:16]
    outcomes = []
    for some in (TaskSet(pair.tasks[:1]), pair):
        member = Candidate(0, 0, Formula(loss.expression), "initial")
        evaluator = Evaluator(some, settings, probes[: len(some)], InProcess(), Watcher())
        evaluator.evaluate([member], lambda _: None)
        outcomes.append(member.outcome)
    assert outcomes == ["trained", "rejected"]


def test_a_set_of_one_task_is_that_task_to_the_bit(tmp_path):
    task, settings = tasks.blobs(), tasks.quick(generations=2, seed=1)
    results = [
        EvoMAL(settings).learn(given, out=tmp_path / name)
        for name, given in {"plain": task, "list": [task], "set": TaskSet((task,))}.items()
    ]
    plain, *others = (comparable(read_journal(tmp_path / name)) for name in ("plain", "list", "set"))
    assert others == [plain, plain]
    assert all(result.loss.all_entries() == results[0].loss.all_entries() for result in results)
    assert all(result.loss.info == results[0].loss.info for result in results)


def test_a_search_over_two_tasks(both, tmp_path):
    settings = tasks.quick(generations=2, seed=1, partial_steps=3)
    result = EvoMAL(settings).learn(list(both), out=tmp_path / "a")
    loaded = evomal.load_loss(tmp_path / "a")
    history = loaded.info["learned_on"]
    assert history["task"] == "blobs + others"
    assert [entry["task"] for entry in history["tasks"]] == ["blobs", "others"]
    assert [entry["data_fingerprint"] for entry in history["tasks"]] == [task.fingerprint for task in both]
    assert result.fitness == train_stage(both, settings, loaded).fitness
    assert result.trainings == 2 * result.outcomes["trained"]
    ((again, _),) = tune_stage(both, settings, [Formula(loaded.expression)])
    assert again.coefficients == loaded.coefficients


def test_mixed_numbers_of_outputs_for_regression():
    wide = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    two = evomal.Task(lambda: torch.nn.Linear(4, 2), (wide, wide[:, :2]), task_loss=mse_loss, name="two")
    result = EvoMAL(tasks.quick(generations=1, seed=4)).learn([tasks.line(), two])
    assert result.fitness is not None


ALSO = [
    *(
        "learn",
        "--dataset",
        "iris",
        "--model",
        "linear",
        "--generations",
        "1",
        "--population",
        "4",
        "--meta-steps",
        "2",
    ),
    *(
        "--partial-steps",
        "5",
        "--rejection-steps",
        "6",
        "--rejection-lr",
        "0.1",
        "--rejection-threshold",
        "0.05",
        "--batch-size",
        "16",
    ),
]


def test_the_command_line_learns_on_several_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ALSO, "--also", "wine/linear", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    out = Path("runs/iris-linear+wine-linear-seed0")
    assert document["out"] == str(out)
    assert evomal.load_loss(out).info["learned_on"]["dataset"] == "iris + wine"
    assert yaml.safe_load((out / "config.yaml").read_text())["also"] == ["wine/linear"]
    assert main([*ALSO, "--also", "wine/linear", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["most_seconds"] > 0


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("wine", "'wine' names no task; write it as DATASET/MODEL or my_module.py:make_task"),
        ("wine/linear/x", "'wine/linear/x' names no task; write it as DATASET/MODEL or my_module.py:make_task"),
        ("/linear", "'/linear' names no task; write it as DATASET/MODEL or my_module.py:make_task"),
        ("iris/linear", "a task is there twice in iris/linear + iris/linear; give each once, or names that differ"),
        (
            "diabetes/linear",
            "the tasks iris/linear + diabetes/linear are for classification and regression at once; one loss cannot "
            "be learned on them",
        ),
    ],
)
def test_a_further_task_that_cannot_be(also, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*ALSO, "--also", also]) == 2
    assert capsys.readouterr().err == f"evomal: error: {message}\n"
    assert list(tmp_path.glob("runs/*")) == []
