"""The library's errors name settings; the command line puts its options in their place."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

import evomal
from evomal.cli.app import _flags, app
from evomal.cli.options import NAMED, with_flags

SOURCES = Path(evomal.__file__).parent
# One file writes pages of the manual, on options as well.
LIBRARY = sorted(
    path
    for path in SOURCES.rglob("*.py")
    if path.relative_to(SOURCES).parts[0] != "cli" and path != SOURCES / "config" / "generated.py"
)
FLAG = re.compile(r"(?<!tensorboard)[\"' (]--[a-z][a-z-]+")
POSITIONAL = {"loss", "path", "name", "source", "sources", "run", "folders", "what"}
OTHERS = {"f", "name", "result", "seconds_of", "settings", "task_type"}  # in backticks too, but nothing that is set


def _texts(tree):
    """Every text of a program but docstrings, those of names among them, a value in it as 0."""
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def test_no_file_of_the_library_speaks_of_options():
    lines = [line for path in LIBRARY for line in path.read_text().splitlines() if FLAG.search(line)]
    assert lines == []
    assert FLAG.search("give another --out")


def test_every_setting_that_an_error_names_is_an_option():
    flags = _flags()
    found = {
        name for path in LIBRARY for text in _texts(ast.parse(path.read_text())) for name, _ in NAMED.findall(text)
    }
    assert {"out", "force", "resume", "override", "methods", "seeds", "meta_steps"} <= found
    assert found - flags.keys() <= OTHERS


def test_options_are_those_that_commands_take():
    flags = _flags()
    learn = get_command(app).commands["learn"]
    for name, flag in flags.items():
        assert flag.startswith("--") or name in POSITIONAL
    assert {option.name: option.opts[0] for option in learn.params}.items() <= flags.items()
    assert flags["population_size"] == "--population"
    assert flags["lrs"] == "--lr"


@pytest.mark.parametrize(
    ("told", "typed"),
    [
        ("'`out`' is a path; give another `out`", "'--out' is a path; give another --out"),
        ("`out='a`b'`", "`out='a`b'`"),
        ("`seeds=[0, 1, 2]` and `lrs=[0.1]`", "--seeds 0 1 2 and --lr 0.1"),
        ("`workers=1`, `executor='processes'`", "--workers 1, --executor processes"),
        ("`out='two words'`", "--out 'two words'"),
        ("`force=__import__('os')`", "`force=__import__('os')`"),
        ("the attribute `result`; `evomal list`; `ray start`", "the attribute `result`; `evomal list`; `ray start`"),
        ("`nowhere=True`", "`nowhere=True`"),
    ],
)
def test_wording(told, typed):
    assert with_flags(told, _flags()) == typed
