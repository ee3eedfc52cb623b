"""Files from elsewhere are data: nothing in the package can make code of them."""

import ast
from pathlib import Path

import pytest

import evomal

SOURCE = Path(evomal.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle", "runpy", "code"}
"""Never imported."""
ERRORS = {"pickle.PicklingError"}
"""But for these, which are errors."""
BUILTINS = {"eval", "exec", "compile", "__import__"}
"""Never called, nor passed on; as methods (`model.eval()`, `re.compile`) they are others."""
METHODS = {
    "sympify", "parse_expr", "lambdify", "from_string",  # SymPy and others: text is evaluated
    "unsafe_load", "full_load", "unsafe_load_all", "full_load_all",  # PyYAML
    "read_pickle", "exec_module", "load_module", "import_module", "system", "popen",
}  # fmt: skip
"""Never called, whatever they are called on."""
SAFE = {"yaml.load": "Loader", "torch.load": "weights_only", "joblib.load": None, "joblib.dump": None}
"""Calls by their whole name, with the argument that would make them safe."""
ALLOWED = {
    (
        "executors/processes.py",
        "joblib.dump",
    ): "the task, for our own worker processes, in a temporary folder of this process",
    ("executors/processes.py", "joblib.load"): "the same file, in a worker",
    (
        "foundation/serialization.py",
        "joblib.wrap_non_picklable_objects",
    ): "a user's functions, sent to our own worker processes",
    ("tasks/user.py", "exec_module"): "--task my_module.py:make_task says that it runs that file",
    ("tasks/user.py", "import_module"): "--task my_package.tasks:make_task the same",
    ("report/progress.py", "import_module"): "IPython.display by that very name, where there is a notebook",
    ("foundation/later_rooms.py", "import_module"): "rooms of the package, from a table in that file",
    ("__init__.py", "import_module"): "names of the package, from a table in that file, imported when they are used",
}


def _names(tree):
    """What names in a file stand for: ``from yaml import load as read`` makes `read` mean `yaml.load`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _whole_name(node, names):
    """``yaml.load`` of such an expression, whatever yaml is called here; empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_whole_name(node.value, names)}.{node.attr}"
    return ""


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    names = [name for alias in node.names if (name := f"{node.module}.{alias.name}") not in ERRORS]
    return [node.module or "", *names] if names else []


def _is_safe(call, argument):
    given = {keyword.arg: keyword.value for keyword in call.keywords}.get(argument)
    if argument == "weights_only":
        return isinstance(given, ast.Constant) and given.value is True
    return argument == "Loader" and _whole_name(given, {}).rpartition(".")[2] in ("SafeLoader", "CSafeLoader")


def _found(text):
    """Everything in a file that could run code from data, with its line."""
    tree = ast.parse(text)
    names = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported(node):
                if name.partition(".")[0] in MODULES or name == "joblib.wrap_non_picklable_objects":
                    yield name, node.lineno
        elif isinstance(node, ast.Name) and node.id in BUILTINS and node.id not in names:
            yield node.id, node.lineno
        elif isinstance(node, ast.Call):
            name = _whole_name(node.func, names)
            last = name.rpartition(".")[2] or getattr(node.func, "attr", "")
            if last in METHODS:
                yield last, node.lineno
            if name in SAFE and not _is_safe(node, SAFE[name]):
                yield name, node.lineno
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg in ("allow_pickle", "shell"):
                yield keyword.arg, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_comes_from_data(path):
    place = path.relative_to(SOURCE).as_posix()
    found = [(name, line) for name, line in _found(path.read_text(encoding="utf-8")) if (place, name) not in ALLOWED]
    assert found == []


@pytest.mark.parametrize(("place", "name"), ALLOWED)
def test_every_exception_is_still_needed(place, name):
    assert name in [found for found, _ in _found((SOURCE / place).read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("from pickle import PicklingError, loads", "pickle.loads"),
        ("import numpy, dill as d", "dill"),
        ("def late():\n    import cloudpickle.cloudpickle", "cloudpickle.cloudpickle"),
        ("eval(text)", "eval"),
        ("list(map(eval, texts))", "eval"),
        ("exec(compile(text, '', 'exec'))", "compile"),
        ("__import__('os')", "__import__"),
        ("import yaml\nyaml.load(text)", "yaml.load"),
        ("import yaml as y\ny.load(text, Loader=y.Loader)", "yaml.load"),
        ("from yaml import load as read\nread(text, Loader=None)", "yaml.load"),
        ("from yaml import unsafe_load as read\nread(text)", "unsafe_load"),
        ("import yaml\nyaml.full_load(text)", "full_load"),
        ("import torch\ntorch.load(path)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=False)", "torch.load"),
        ("import torch\ntorch.load(path, weights_only=flag)", "torch.load"),
        ("import joblib\njoblib.load(path)", "joblib.load"),
        ("from joblib import load\nload(path)", "joblib.load"),
        ("import sympy\nsympy.sympify(text)", "sympify"),
        ("from sympy.parsing.sympy_parser import parse_expr\nparse_expr(text)", "parse_expr"),
        ("sympy_module().sympify(text)", "sympify"),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "allow_pickle"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "shell"),
        ("import os\nos.system(text)", "system"),
    ],
)
def test_what_runs_code_would_be_seen(text, name):
    assert name in [found for found, _ in _found(text)]


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "import re\nre.compile('x')",
        "import yaml\nyaml.safe_load(text)\nyaml.load(text, Loader=yaml.SafeLoader)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import json\njson.load(stream)",
        "'pickle'  # eval(text)",
    ],
)
def test_what_runs_no_code_is_left_alone(text):
    assert list(_found(text)) == []
