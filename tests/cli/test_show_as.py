"""`evomal show --as`: text on standard output, files where there is no text, and what is refused."""

import json
import subprocess
import sys

import pytest
import torch

from evomal.losses import HandcraftedLoss, NeuralLoss, SymbolicLoss


@pytest.fixture
def loss(tmp_path):
    loss = SymbolicLoss("abs(log(mul(y, f)))", [1.1, 0.9, 1.2, 0.8], task_type="classification", scale=0.5)
    loss.save(tmp_path / "loss.json")
    return loss


def test_python_can_be_pasted(run, loss):
    ended = run("show", "loss.json", "--as", "python")
    assert (ended.code, ended.err) == (0, "")
    names = {}
    exec(ended.out, names)
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    torch.testing.assert_close(names["learned_loss"](outputs, labels), loss(outputs, labels))


def test_a_file_and_json(run, loss, tmp_path):
    assert run("show", "loss.json", "--as", "numpy", "--out", "out/mine.py").out == "written to out/mine.py\n"
    shown = json.loads(run("show", "loss.json", "--as", "numpy", "--json").out)
    assert shown == {"format": "numpy", "text": (tmp_path / "out/mine.py").read_text()}
    again = run("show", "loss.json", "--as", "numpy", "--out", "out/mine.py")
    assert (again.code, again.err) == (
        2,
        "evomal: error: 'out/mine.py' exists; give another --out, or --force to replace it\n",
    )
    written = json.loads(run("show", "loss.json", "--as", "latex", "--out", "out/mine.py", "--force", "--json").out)
    assert written == {"format": "latex", "file": "out/mine.py"}


@pytest.mark.parametrize(("form", "file"), [("numpy", "loss.py"), ("latex", "loss.tex"), ("torchscript", "loss.pt")])
def test_a_folder_means_a_file_in_it(run, loss, tmp_path, form, file):
    (tmp_path / "out").mkdir()
    assert run("show", "loss.json", "--as", form, "--out", "out").out == f"written to out/{file}\n"
    again = run("show", "loss.json", "--as", form, "--out", "out")
    assert again.err == f"evomal: error: 'out/{file}' exists; give another --out, or --force to replace it\n"


def test_torchscript_is_a_file(run, loss, tmp_path):
    refused = run("show", "loss.json", "--as", "torchscript")
    assert (refused.code, refused.err) == (
        2,
        "evomal: error: torchscript is no text; say where it shall go, such as --out loss.pt\n",
    )
    assert run("show", "loss.json", "--as", "torchscript", "--out", "loss.pt").code == 0
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    torch.testing.assert_close(torch.jit.load(tmp_path / "loss.pt")(outputs, labels), loss(outputs, labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss.json", "--as", "jx"], "unknown format 'jx'; did you mean 'jax'? (known: jax, keras, latex, numpy, "),
        (["loss.json", "--out", "x.py"], "--out is the file that --as writes; say a format, such as --as python"),
        (
            ["focal", "--as", "jax"],
            "'focal' is no learned loss, and jax is made of those alone; PyTorch has most others",
        ),
        (["focal"], "'focal' is a handcrafted loss, of which `evomal list` says what there is; add --audit"),
        (
            ["neural.json", "--as", "latex"],
            "a neural loss has no formula for latex; export it as python, numpy or onnx",
        ),
        (["loss.json", "--as", "jax", "--out", "loss.json/x"], "'loss.json/x' cannot be written ("),
    ],
)
def test_what_is_refused(run, loss, tmp_path, arguments, message):
    NeuralLoss(task_type="regression", hidden=2).save(tmp_path / "neural.json")
    ended = run("show", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"evomal: error: {message}")
    assert ended.err.count("\n") == 1


def test_a_run_that_handed_out_a_handcrafted_loss_has_a_learned_one_beside_it(run, loss, tmp_path):
    (tmp_path / "a").mkdir()
    HandcraftedLoss("cross_entropy").save(tmp_path / "a" / "loss.json")
    alone = run("show", "a/loss.json", "--as", "python").err
    assert alone.endswith(
        "'cross_entropy' is no learned loss, and python is made of those alone; PyTorch has most others\n"
    )
    loss.save(tmp_path / "a" / "learned.json")
    for path in ("a", "a/loss.json"):
        ended = run("show", path, "--as", "python")
        assert (ended.code, ended.err) == (
            2,
            "evomal: error: 'cross_entropy' is no learned loss, and python is made of those alone; the best learned "
            "one of this search is 'a/learned.json': name that\n",
        )
    assert run("show", "a/learned.json", "--as", "python").code == 0


def test_a_saved_loss_needs_torch_alone(loss, tmp_path):
    """Neither our own requirements beside torch's, nor NumPy."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)
BLOCKED = {"numpy", "scipy", "sklearn", "pydantic", "yaml", "typer", "rich", "pooch", "psutil", "joblib", "cma"}
BLOCKED |= {"matplotlib", "ray"}
sys.meta_path.insert(0, Refuse())
import evomal
before = sorted(name.partition(".")[0] for name in sys.modules)
assert "torch" not in before
loss = evomal.load_loss("loss.json")
import torch
print(loss(torch.zeros(2, 3), torch.tensor([0, 1])).item())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(loss(torch.zeros(2, 3), torch.tensor([0, 1])).item())
