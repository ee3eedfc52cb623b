"""Imports point only upwards in the list of rooms, never in a circle: a file reads with what it imports in mind.

Imports inside functions and under ``TYPE_CHECKING`` count like all others: they spare the interpreter a circle, not the
reader.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import evomal

ROOMS = [
    "foundation",
    "config",
    "expressions",
    "losses",
    "executors",
    "tasks",
    "training",
    "local_search",
    "engines",
    "evaluation",
    "store",
    "search",
    "comparison",
    "analysis",
    "report",
    "reproduction",
    "sklearn",
    "cli",
]
TOP = {"__init__.py", "__main__.py"}  # the public names, and the command as a module
LEVEL = {room: level for level, room in enumerate(ROOMS)}
SOURCE = Path(evomal.__file__).parent
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.name not in TOP)


def _room(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def _imported(text, path):
    """What a file imports, wherever in it, as dotted names with their line."""
    package = ["evomal", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = above + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names]
        else:
            continue
        for parts in names:
            yield parts, node.lineno


def _imports(text, path):
    """Rooms that a file imports, with the line."""
    for parts, line in _imported(text, path):
        if parts[0] == "evomal" and len(parts) > 1 and not parts[1].startswith("__"):
            yield parts[1], line


def _circle(texts):
    """The modules of an import circle among files, in their order; None if there is none."""
    modules = {("evomal", *path.relative_to(SOURCE).with_suffix("").parts): path for path in texts}
    modules = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in modules.items()}

    def seen(module):
        for parts, _ in _imported(texts[modules[module]], modules[module]):
            # A name is a module, or stands in one.
            yield next((known for known in (tuple(parts), tuple(parts[:-1])) if known in modules), module)

    try:
        graphlib.TopologicalSorter({module: {*seen(module)} - {module} for module in modules}).prepare()
    except graphlib.CycleError as error:
        return [".".join(module) for module in error.args[1]]
    return None


def _wrong(text, path):
    room = _room(path)
    return [
        f"{path.relative_to(SOURCE)}:{line} ({room}) imports {other}"
        for other, line in _imports(text, path)
        if other != room and LEVEL.get(other, len(ROOMS)) > LEVEL[room]
    ]


def test_every_file_is_in_a_room():
    assert {_room(path) for path in FILES} <= set(LEVEL)
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upwards(path):
    assert _wrong(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    "line",
    [
        "import evomal.search",
        "from evomal.search import EvoMAL",
        "from evomal import search",
        "from ..search import EvoMAL",
        "from .. import search",
        "from evomal.training.fit import fit",
        "def late():\n    from evomal.cli import main",
        "if TYPE_CHECKING:\n    import evomal.report.tables as tables",
        "from evomal import EvoMAL",
    ],
)
def test_a_wrong_import_would_be_seen(line):
    assert len(_wrong(line, SOURCE / "losses" / "files.py")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "from evomal.foundation.errors import DataError",
        "from .symbolic import SymbolicLoss",
        "import evomal",
    ],
)
def test_a_right_import_is_left_alone(line):
    assert _wrong(line, SOURCE / "losses" / "files.py") == []


def test_no_imports_run_in_a_circle():
    assert _circle({path: path.read_text(encoding="utf-8") for path in FILES}) is None


@pytest.mark.parametrize(
    "line",
    [
        "from evomal.losses.b import name",
        "import evomal.losses.b",
        "from .b import name",
        "from evomal.losses import b",
        "from evomal.losses import name",  # of the room itself, which imports `b`
        "def late():\n    from evomal.losses.b import name",
        "if TYPE_CHECKING:\n    from evomal.losses.b import Name",
    ],
)
def test_a_circle_would_be_seen(line):
    room = SOURCE / "losses"
    texts = {room / "__init__.py": "from evomal.losses.b import name", room / "a.py": line, room / "b.py": ""}
    assert _circle(texts) is None
    texts[room / "b.py"] = "from evomal.losses.a import name"
    circle = _circle(texts)
    assert circle[0] == circle[-1]
    assert {"evomal.losses.a", "evomal.losses.b"} <= {*circle}


@pytest.mark.parametrize(
    "module",
    [
        "evomal",
        "evomal.config",
        "evomal.foundation.errors",
        "evomal.foundation.files",
        "evomal.expressions",
        "evomal.store",
        "evomal.store.folder",
    ],
)
def test_what_starts_a_command_is_quick_to_import(module):
    heavy = ["torch", "numpy", "sklearn", "sympy", "joblib", "pooch"]
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_of_the_package_are_there_and_others_are_not():
    assert {"EvoMAL", "SymbolicLoss", "Task", "load_loss", "meta_gradient"} <= set(dir(evomal))
    assert all(getattr(evomal, name) is not None for name in evomal.__all__)
    with pytest.raises(AttributeError, match=r"^module 'evomal' has no attribute 'nothing'$"):
        _ = evomal.nothing
