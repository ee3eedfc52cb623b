"""Tasks from a user's own file: found, blamed precisely, and sent to workers that cannot import it."""

import pickle
import sys

import pytest

from evomal.foundation.errors import DataError, SettingError
from evomal.tasks import Task, load_user_task, probe

GOOD = """
from dataclasses import dataclass

import torch
from torch import nn
from layers import width

import evomal


@dataclass
class Net:
    outputs: "int" = 2

    def __call__(self):
        return Layered(self.outputs)


class Layered(nn.Sequential):
    def __init__(self, outputs):
        super().__init__(nn.Linear(3, width), nn.Linear(width, outputs))


def my_metric(outputs, targets):
    return (outputs.argmax(1) != targets).double().mean()


def make_task():
    x, y = torch.linspace(-1, 1, 60).reshape(20, 3), torch.arange(20) % 2
    return evomal.tasks.Task(Net(), (x, y), metric=my_metric, name="own")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "layers.py").write_text("width = 5\n")
    (tmp_path / "my_module.py").write_text(GOOD.replace("import evomal\n", "import evomal.tasks\n"))
    yield tmp_path
    for name in ("layers", "my_module"):
        sys.modules.pop(name, None)


def written(folder, text):
    (folder / "other.py").write_text(text)
    return "other.py:make_task"


@pytest.mark.parametrize("spec", ["my_module.py:make_task", "{folder}/my_module.py:make_task", "my_module:make_task"])
def test_a_function_of_a_file_or_module(folder, spec):
    task = load_user_task(spec.format(folder=folder))
    assert isinstance(task, Task)
    assert (task.name, task.metric.name, task.model_name) == ("own", "my_metric", "Net")
    probe(task)


def test_a_file_named_like_a_library_leaves_the_library_alone(folder):
    (folder / "json.py").write_text(GOOD.replace("import evomal\n", "import evomal.tasks\n"))
    import json

    assert load_user_task("json.py:make_task").name == "own"
    assert sys.modules["json"] is json
    assert not [name for name in sys.modules if name.startswith("evomal_user_task")]


def test_a_process_without_the_file_can_use_the_task(folder, tmp_path_factory, fork):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "layers.py").write_text("width = 5\n")
    task = load_user_task("my_module.py:make_task")
    (elsewhere / "task").write_bytes(pickle.dumps(task))
    program = (
        "import pickle, evomal.tasks\n"
        "task = pickle.load(open('task', 'rb'))\n"
        "evomal.tasks.probe(task)\n"
        "print(task.key, next(task.make_model(1).parameters())[0, 0].item())"
    )
    (elsewhere / "program.py").write_text(program)
    done = fork(script=elsewhere / "program.py", cwd=elsewhere)
    assert done.code == 0, done.err
    key, weight = done.out.split()
    assert key == task.key
    assert float(weight) == next(task.make_model(1).parameters())[0, 0].item()


@pytest.mark.parametrize("spec", ["my_module.py", "my_module.py:", ":make_task", "C:\\my_module.py", "a.py:make task"])
def test_a_spec_without_a_function(folder, spec):
    with pytest.raises(SettingError, match=r"names no function; write it as .*:make_task"):
        load_user_task(spec)


def test_a_missing_file(folder):
    with pytest.raises(SettingError) as caught:
        load_user_task("mymodule.py:make_task")
    assert str(caught.value) == (
        f"task 'mymodule.py:make_task': there is no Python file mymodule.py; check the path from {folder.name}/"
    )


def test_a_missing_module(folder):
    with pytest.raises(
        SettingError, match=r"task 'mymodule:make_task' cannot be imported: ModuleNotFoundError: No module"
    ):
        load_user_task("mymodule:make_task")


def test_a_missing_function(folder):
    with pytest.raises(SettingError) as caught:
        load_user_task("my_module.py:maketask")
    assert str(caught.value) == (
        "task 'my_module.py:maketask': there is no function maketask in it; did you mean 'make_task'?"
    )
    with pytest.raises(
        SettingError, match=r"no function make_task in it; define it, so that it returns an evomal.Task"
    ):
        load_user_task(written(folder, "x = 3\n"))


def test_code_that_fails(folder):
    with pytest.raises(SettingError) as caught:
        load_user_task(written(folder, "def make_task():\n    import math\n    return math.sqrt('2')\n"))
    assert str(caught.value) == (
        "task 'other.py:make_task' fails in make_task at line 3: TypeError: must be real number, not str"
    )
    with pytest.raises(
        SettingError, match=r"task 'other.py:make_task' cannot be imported at line 2: ZeroDivisionError"
    ):
        load_user_task(written(folder, "\n1 / 0\n"))
    with pytest.raises(SettingError, match=r"cannot be imported: SyntaxError: .* \(other.py, line 1\)"):
        load_user_task(written(folder, "def make_task(:\n"))
    with pytest.raises(SettingError, match=r"fails in make_task: TypeError: make_task\(\) missing 1 required"):
        load_user_task(written(folder, "def make_task(size):\n    pass\n"))


def test_errors_of_this_package_pass_through(folder):
    spec = written(
        folder,
        "from evomal.foundation import errors\n\ndef make_task():\n    raise errors.DataError('as said')\n",
    )
    with pytest.raises(DataError, match=r"^as said$"):
        load_user_task(spec)


def test_a_function_that_returns_something_else(folder):
    with pytest.raises(
        SettingError, match=r"task 'other.py:make_task': make_task returned a NoneType; return an evomal"
    ):
        load_user_task(written(folder, "def make_task():\n    pass\n"))
