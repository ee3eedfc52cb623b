"""What is written down in two places says the same in both."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml

import evomal

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _yaml(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_the_workflow_tests_every_python_that_the_package_names():
    job = _yaml(".github/workflows/test.yml")["jobs"]["test"]
    named = [c.rpartition(":: ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert job["strategy"]["matrix"]["python"] == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"
    assert job["steps"][-1]["run"].startswith("make test ")


def test_the_workflow_builds_the_manual():
    job = _yaml(".github/workflows/test.yml")["jobs"]["manual"]
    assert "make docs PYTHON=python" in [step.get("run") for step in job["steps"]]
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text()


def test_hooks_check_what_make_checks():
    ((hook,),) = (repo["hooks"] for repo in _yaml(".pre-commit-config.yaml")["repos"])
    makefile = (ROOT / "Makefile").read_text()
    assert hook["entry"] == "make check"
    assert re.search(r"^test:.*\n.* check pytest$", makefile, re.M)
    assert re.findall(r"^\t\$\(BIN\)/(.*)$", makefile.partition("\ncheck:")[2].partition("\n\n")[0], re.M) == [
        "ruff format --check .",
        "ruff check .",
        "mypy",
    ]


def test_the_version_has_one_source():
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == str(Path(evomal.__file__).relative_to(ROOT))
    assert metadata.version("evomal") == evomal.__version__
    assert f"## {evomal.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert "version" not in _yaml("CITATION.cff")


def test_files_that_the_guide_names_are_there():
    guides = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "docs" / "extending.md").read_text()
    named = re.findall(r"`((?:src|tests|examples)/[\w/]+(?:\.py)?)`", guides)  # links: tests/test_manual.py
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).exists()] == []
