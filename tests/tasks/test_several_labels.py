"""Tasks of several labels, any of which may be true: losses, metrics, tasks and searches."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.autograd import grad, gradcheck

import evomal
from evomal.analysis import audit
from evomal.cli.app import main
from evomal.config import BaseSettings
from evomal.evaluation.batched_filters import improvements, signatures
from evomal.evaluation.filters import gradient_signature, improvement, make_probe
from evomal.foundation.errors import DataError, ModelError, SettingError
from evomal.local_search import tune
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import HandcraftedLoss, NeuralLoss, SymbolicLoss, TaylorLoss, load_loss
from evomal.losses.batched_families import stack
from evomal.losses.exports import export
from evomal.losses.slopes import Predictions, slope, slope_gradient
from evomal.search import EvoMAL
from evomal.tasks import Batches, file_task, get_metric
from evomal.tasks.kinds import perfect_outputs
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.chance import bounds
from helpers import stops
from helpers.oracles import double_backward
from helpers.tasks import line, quick

KIND = {"task_type": "multilabel"}
ENTROPY = "mul(-1, mul(y, log(f)))"
EXAMPLE = Path(__file__).parents[2] / "examples" / "several_labels.py"


def batch(count=12, labels=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    outputs = 2 * torch.randn(count, labels, generator=draw, dtype=dtype)
    return outputs, (torch.rand(count, labels, generator=draw) < 0.4).to(dtype)


def data(count=160, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=draw)
    return x, (x @ torch.randn(6, 3, generator=draw) + 0.3 * torch.randn(count, 3, generator=draw) > 0.5).long()


@pytest.fixture(scope="module")
def task():
    x, y = data()
    model = lambda: nn.Linear(6, 3)  # noqa: E731
    return evomal.Task(model, (x[:80], y[:80]), (x[80:120], y[80:120]), (x[120:], y[120:]), **KIND, name="labels",
                       task_loss="binary_cross_entropy")  # fmt: skip


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets_of", [lambda t: t, lambda t: t.long(), lambda t: t.bool(), lambda t: 0.8 * t + 0.1])
def test_binary_cross_entropy_is_torchs(targets_of):
    outputs, targets = batch()
    targets = targets_of(targets)
    oracle = nn.BCEWithLogitsLoss()(outputs, targets.double())
    torch.testing.assert_close(HandcraftedLoss("binary_cross_entropy")(outputs, targets), oracle)
    learned = SymbolicLoss(ENTROPY, **KIND).double()
    torch.testing.assert_close(learned(outputs, targets), oracle, rtol=1e-5, atol=0)
    total = nn.BCEWithLogitsLoss(reduction="sum")(outputs, targets.double())
    torch.testing.assert_close(HandcraftedLoss("binary_cross_entropy", "sum")(outputs, targets), total)
    each = nn.BCEWithLogitsLoss(reduction="none")(outputs, targets.double())
    torch.testing.assert_close(HandcraftedLoss("binary_cross_entropy", "none")(outputs, targets), each)


def test_focal_and_asymmetric_as_their_papers_have_them():
    outputs, t = batch()
    p = outputs.sigmoid()
    focal = -(t * (1 - p) ** 2 * p.log() + (1 - t) * p**2 * (1 - p).log()).mean()
    torch.testing.assert_close(HandcraftedLoss("binary_focal")(outputs, t), focal)
    q = (p - 0.05).clamp(min=0)
    asymmetric = -(t * p.log() + (1 - t) * q**4 * (1 - q).log()).mean()
    torch.testing.assert_close(HandcraftedLoss("asymmetric")(outputs, t), asymmetric)
    plain = HandcraftedLoss("asymmetric(gamma_false=0, margin=0)")
    torch.testing.assert_close(plain(outputs, t), nn.BCEWithLogitsLoss()(outputs, t))
    large = 1e4 * outputs.clone().requires_grad_()
    for name in ("binary_cross_entropy", "binary_focal", "asymmetric"):
        (slopes,) = grad(HandcraftedLoss(name)(large, t), large)
        assert slopes.isfinite().all(), name


@pytest.mark.parametrize("loss", [
    SymbolicLoss("square(sub(y, tanh(f)))", [1.1, 0.9, 1, 1.2], **KIND),
    SymbolicLoss("mul(add(progress, y), log(f))", output_activation="softplus", scale=0.5, **KIND),
    TaylorLoss([0.1, 0.2, 0.3, -1.0, 0.5, -2.0, 0.1, 0.2], **KIND),
    NeuralLoss(hidden=3, generator=torch.Generator().manual_seed(0), **KIND),
], ids=str)  # fmt: skip
def test_a_learned_loss_is_the_mean_over_labels_of_that_of_two_classes(loss):
    outputs, targets = batch()
    loss = loss.double()
    entries = loss.all_entries() | {"task_type": "classification"}
    binary = evomal.losses.loss_from_entries(entries).double()
    alone = torch.stack([binary(outputs[:, k], targets[:, k]) for k in range(3)])
    torch.testing.assert_close(loss(outputs, targets), alone.mean())
    leaf = outputs.clone().requires_grad_()
    assert gradcheck(lambda z: loss(z, targets), (leaf,))
    torch.testing.assert_close(slope(loss, outputs, targets)[1], grad(loss(leaf, targets), leaf)[0])
    lanes = stack([loss, loss])
    if not loss.sees_progress:
        values, slopes = lanes.slopes(outputs.expand(2, 12, 3), targets, lanes.coefficients())
        torch.testing.assert_close(values[1], loss(outputs, targets).detach())
        torch.testing.assert_close(slopes[1], slope(loss, outputs, targets)[1])


def test_the_mixed_derivative_and_the_meta_gradient_are_those_of_double_backward():
    loss = SymbolicLoss("mul(sub(y, tanh(f)), log(add(f, y)))", **KIND).double()
    outputs, targets = batch()
    leaf = outputs.clone().requires_grad_()
    (first,) = grad(loss(leaf, targets), leaf, create_graph=True)
    direction = torch.randn_like(outputs)
    (expected,) = grad((first * direction).sum(), loss.weights)
    torch.testing.assert_close(slope_gradient(loss, Predictions.of(loss, outputs, targets), direction), expected)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    pairs = [(torch.randn(8, 4, dtype=torch.float64), batch(8)[1]) for _ in range(2)]
    arguments = loss, model, pairs[:1], pairs[1], nn.BCEWithLogitsLoss()
    torch.testing.assert_close(evomal.meta_gradient(*arguments, lr=0.5), double_backward(*arguments, lr=0.5))


def test_shapes_and_targets_that_do_not_fit():
    loss = SymbolicLoss(ENTROPY, **KIND)
    outputs, targets = batch(dtype=torch.float32)
    with pytest.raises(DataError, match="several labels need targets in the outputs' shape"):
        loss(outputs, targets[:, 0].long())
    with pytest.raises(DataError, match=r"targets hold 2 \(in row 0.*a yes-or-no answer is 0, 1 or a probability"):
        loss(outputs, 2.0 + 0 * targets)
    with pytest.raises(DataError, match="labels must lie in 0…1"):
        loss(outputs, 2 + targets.long())
    with pytest.raises(DataError, match=r"soft labels sum to 3 .* over the classes, not to 1"):
        HandcraftedLoss("cross_entropy")(outputs, torch.ones(12, 3))
    with pytest.raises(DataError, match="targets hold -1"):
        SymbolicLoss(ENTROPY, task_type="classification")(outputs[:, 0], -torch.ones(12))
    ignored = targets.long()
    ignored[0, 0] = -100
    left = torch.ones(12, 3, dtype=torch.bool)
    left[0, 0] = False
    torch.testing.assert_close(loss(outputs, ignored), loss(outputs[left], targets[left]))
    with pytest.raises(SettingError, match="use 'classification', 'regression' or 'multilabel'"):
        SymbolicLoss(ENTROPY, task_type="labels")


def test_files_and_exports(tmp_path):
    loss = SymbolicLoss("mul(add(y, square(f)), log(f))", [1, 1.2, 0.9, 1, 1.1, 1], **KIND)
    loss.save(tmp_path / "loss.json")
    assert json.loads((tmp_path / "loss.json").read_text())["version"] == 2
    outputs, targets = batch(dtype=torch.float32)
    expected = loss(outputs, targets)
    torch.testing.assert_close(load_loss(tmp_path / "loss.json")(outputs, targets), expected)
    names = {}
    for form in ("python", "numpy"):
        exec(export(loss, form), names)
        given = (outputs, targets) if form == "python" else (outputs.numpy(), targets.numpy())
        torch.testing.assert_close(torch.as_tensor(names["learned_loss"](*given)), expected)
    program = torch.jit.load(io.BytesIO(export(loss, "torchscript")))
    torch.testing.assert_close(program(outputs, targets), expected)
    onnx = pytest.importorskip("onnx.reference")
    model = onnx.ReferenceEvaluator(export(loss, "onnx"))
    (value,) = model.run(None, {"outputs": outputs.numpy(), "targets": targets.numpy()})
    assert value == pytest.approx(expected.item(), rel=1e-5)


def test_the_keras_export(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    loss, names = SymbolicLoss(ENTROPY, **KIND), {}
    exec(export(loss, "keras"), names)
    outputs, targets = batch(dtype=torch.float32)
    torch.testing.assert_close(names["learned_loss"](targets, outputs).mean(), loss(outputs, targets))


# --- metrics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_is_that_of_scikit_learn(average):
    metric = get_metric(f"{average}_f1_of_labels")
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        outputs, targets = torch.randn(9, 4, generator=draw), (torch.rand(9, 4, generator=draw) < 0.4).float()
        score = f1_score(targets.numpy(), outputs.numpy() > 0, average=average, zero_division=np.nan)
        assert metric(outputs, targets).item() == pytest.approx(1 - score)
    assert metric(20 * targets - 10, targets).item() == 0
    assert metric(torch.full((3, 2), -1.0), torch.zeros(3, 2)).item() == 0
    deep = outputs.reshape(3, 3, 4).movedim(2, 1), targets.reshape(3, 3, 4).movedim(2, 1)
    assert metric(*deep).item() == pytest.approx(metric(outputs, targets).item())
    with pytest.raises(DataError, match="give both one shape"):
        metric(outputs, targets[:, 0])


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_what_kind_a_task_is_of(task):
    x, y = data()
    assert (task.task_type, task.metric.name, task.train.y.dtype) == ("multilabel", "micro_f1_of_labels", torch.float32)
    model = lambda: nn.Linear(6, 3)  # noqa: E731
    kinds = [
        evomal.Task(model, (x, y), task_loss="binary_cross_entropy"),
        evomal.Task(model, (x, y.float()), task_loss=nn.BCEWithLogitsLoss()),
        evomal.Task(model, (x, y), task_loss=nn.BCEWithLogitsLoss(), **KIND),
    ]
    assert {kind.task_type for kind in kinds} == {"multilabel"}
    one = evomal.Task(lambda: nn.Linear(6, 1), (x, y[:, :1].float()), task_loss=nn.BCEWithLogitsLoss())
    assert one.task_type == "classification"
    assert task.class_counts is None
    with pytest.raises(
        SettingError, match=r"say task_type='multilabel' \(outputs are logits\) or task_type='regression'"
    ):
        evomal.Task(model, (x, y.float()), task_loss=lambda outputs, targets: outputs.sum())
    with pytest.raises(
        DataError, match=r"soft labels that sum to .*; for several labels at once say task_type='multilabel'"
    ):
        evomal.Task(model, (x, y.float()), task_loss="cross_entropy")
    with pytest.raises(DataError, match="for several labels give 0 or 1 for each label"):
        evomal.Task(model, (x, y + 1), task_loss="binary_cross_entropy")
    with pytest.raises(DataError, match=r"has shape \[160\]; for several labels give \[N, C\]"):
        evomal.Task(model, (x, y[:, 0]), task_loss="binary_cross_entropy")
    with pytest.raises(DataError, match="holds 0 alone; a loss is learned on labels that differ"):
        evomal.Task(model, (x, 0 * y), task_loss="binary_cross_entropy")
    with pytest.raises(SettingError, match="metric 'error_rate' is for classification, but task 'task' is multilabel"):
        evomal.Task(model, (x, y), metric="error_rate", **KIND, task_loss="binary_cross_entropy")
    narrow = evomal.Task(lambda: nn.Linear(6, 2), (x, y), task_loss="binary_cross_entropy")
    with pytest.raises(ModelError, match="give one logit for each label"):
        EvoMAL(stops.tiny()).learn(narrow)


def test_perfect_and_constant_predictions(task):
    outputs, targets = torch.zeros(40, 3), task.valid.y
    assert float(task.metric(perfect_outputs(outputs, targets, "multilabel"), targets)) == 0
    chance, perfect = bounds(task, task.valid)
    often = (targets.mean(0) > 0.5).float().expand(40, 3)
    assert chance == pytest.approx(1 - f1_score(targets, often, average="micro", zero_division=0))
    assert perfect == 0


def test_in_lanes_as_alone(task):
    losses = lambda: [SymbolicLoss(text, **KIND) for text in ("mul(y, sub(1, sqrt(f)))", "square(sub(y, f))")]  # noqa: E731
    base, batches = BaseSettings(lr=0.3, batch_size=16), Batches(len(task.train), 16, 0)
    trained = fit_lanes(task.make_model(0), stack(losses()), task.train, batches, 10, base, 0)
    for lane, loss in enumerate(losses()):
        model = task.make_model(0)
        fit(model, loss, task.train, batches, 10, base, 0)
        for own, many in zip(model.parameters(), trained.lanes.parameters, strict=True):
            torch.testing.assert_close(many[lane], own, rtol=1e-4, atol=1e-5)
    settings = quick(meta_steps=3, meta_lr=0.01, rejection_steps=6, rejection_lr=0.1)
    alone, together = losses(), losses()
    tune(alone, task, settings.local_search, base, 0)
    tune_lanes(together, task, settings.local_search, base, 0)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other.weights, one.weights, rtol=1e-4, atol=1e-5)
        assert (one.weights != 1).any()
    probe = make_probe(task, 30, 0)
    scores = [improvement(loss, probe, settings.filters) for loss in losses()]
    assert improvements(stack(losses()), probe, settings.filters) == pytest.approx(scores, abs=0.05)
    assert scores[0] > 0.6
    assert signatures(stack(losses()), probe) == [gradient_signature(loss, probe) for loss in losses()]


# --- searches --------------------------------------------------------------------------------------------------------


def test_a_search_and_what_comes_of_it(task, tmp_path):
    settings = stops.tiny(
        generations=2, known_start=0.5, rejection_steps=6, rejection_lr=0.1, rejection_threshold=0.2, partial_steps=40
    )
    result = EvoMAL(settings).learn(task, tmp_path / "a")
    assert result.fitness < 0.5
    loss = evomal.load_loss(tmp_path / "a" / "loss.json")
    assert loss.task_type == "multilabel"
    assert audit(loss).classes == 2
    with pytest.raises(SettingError, match="is for multilabel, but task 'line' is regression"):
        line().require_kind(loss.task_type, "it")
    with pytest.raises(SettingError, match=r"terminal 'prior' .* has no class labels to count"):
        EvoMAL(stops.tiny(terminals=("y", "f", "prior"))).learn(task)


def test_on_the_command_line(tmp_path, capsys):
    x, y = data(200)
    np.savez(tmp_path / "my.npz", x=x.numpy(), y=y.numpy())
    given = ["--data", str(tmp_path / "my.npz"), "--model", "linear"]
    small = [
        "--preset",
        "quick",
        "--generations",
        "1",
        "--population",
        "3",
        "--meta-steps",
        "2",
        "--partial-steps",
        "20",
    ]
    assert main(["learn", *given, *small, "--no-rejection", "--out", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    losses = ["--loss", str(tmp_path / "a"), "--loss", "asymmetric", "--loss", "binary_cross_entropy"]
    assert main(["train", *losses, *given, "--steps", "20", "--lr", "0.1", "--json"]) == 0
    assert "micro_f1_of_labels" in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["show", str(tmp_path / "a" / "loss.json")]) == 0
    assert main(["train", "--loss", "cross_entropy", *given, "--steps", "5"]) == 2
    assert "loss 'cross_entropy' is for classification" in capsys.readouterr().err
    np.savez(tmp_path / "my.npz", x=x.numpy(), y=np.eye(3, dtype=int)[np.arange(200) % 3])
    assert main(["train", "--loss", "mse", *given, "--steps", "5"]) == 2
    assert "with a single 1 in each row, as of one label; give y.argmax(1)" in capsys.readouterr().err
    assert file_task(tmp_path / "my.npz", "linear", task_loss="binary_cross_entropy").task_type == "multilabel"
    np.savez(tmp_path / "my.npz", x=x.numpy(), y=y.numpy() + 1)
    assert main(["train", "--loss", "mse", *given, "--steps", "5"]) == 2
    assert "for several labels at once y [N, C] of 0 and 1" in capsys.readouterr().err


def test_the_example(tmp_path, fork):
    ended = fork(script=EXAMPLE, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert float(ended.out.split("micro-F1 ")[1]) > 0.6
