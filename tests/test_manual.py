"""The manual: every page is reached, every link leads somewhere, all code runs, every public name is in the reference.

Code blocks marked `python` and `console` are run from the top of their page to its end, with presets of a hundredth of
the work. Of commands elsewhere the options are looked up.
"""

import re
import runpy
import shlex
import shutil
import zlib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml

import evomal
from evomal.cli import main
from evomal.cli.app import app
from evomal.config import PRACTICE, PRESETS
from test_rooms import ROOMS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
RUN = [page for page in PAGES if page in ("tutorial.md", "maths.md", "notebook.md") or page.startswith("how-to/")]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!\!)\[[^\]\[]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
SMALL = {
    "population_size": 4,
    "generations": 1,
    "meta_steps": 1,
    "partial_steps": 6,
    "rejection": False,
    "steps": 8,
}
LESS = {"--population": "4", "--generations": "2", "--finals-budget": "400"}
FINALS = {"folds": 3, "retests": 1, "finals_budget": 400, "finalists": 2, "fitness_lrs": (1.0,)}


def _text(page):
    return (DOCS / page).read_text(encoding="utf-8")


def _in_nav(entries):
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [value] if isinstance(value, str) else _in_nav(value)


def test_the_way_through_the_manual_covers_all_pages_and_no_others():
    named = list(_in_nav(SITE["nav"]))
    apart = SITE["not_in_nav"].split()
    assert len(named) == len(set(named))
    assert sorted(named) == [page for page in PAGES if not any(fnmatch(page, pattern) for pattern in apart)]


def _anchors(text):
    """Anchors of headings as mkdocs makes them, and those that are written out."""
    prose = FENCE.sub("", text)
    heads = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)]
    slugs = [re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads]
    return {*slugs, *re.findall(r'<a id="([^"]+)">', text)}


@pytest.mark.parametrize("page", [*(f"docs/{page}" for page in PAGES), "README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in (first or second for first, second in LINK.findall(text)):
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        assert not page.startswith("docs/") or there.is_relative_to(DOCS), f"{link} is outside of the site"
        if anchor:
            assert anchor in _anchors(there.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("how-to/")])
def test_measured_numbers_stand_among_the_results_alone(page):
    # Copies on other pages stayed as they were when the suite was run anew.
    assert "±" not in (DOCS / page).read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference():
    index = _text("reference/index.md")
    for name, home in evomal._HOMES.items():
        assert f"[`{name}`][{home}.{name}" in index
    shown = {room for page in PAGES for room in re.findall(r"^::: evomal\.(\w+)", _text(page), re.MULTILINE)}
    assert shown == set(ROOMS) - {"cli"}


def test_the_built_reference_has_every_public_name():
    """`make docs` runs this after it has built the site."""
    inventory = ROOT / SITE["site_dir"] / "objects.inv"
    if not inventory.exists():
        pytest.skip("the manual is not built; make docs builds it")
    lines = zlib.decompress(inventory.read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    shown = {line.split(" ")[0] for line in lines}
    for room in ROOMS[:-1]:
        names = getattr(import_module(f"evomal.{room}"), "__all__", ())
        wanted = {f"evomal.{room}.{name}" for name in names}
        # A function in a file of its own name is shown as that file's.
        assert {
            name for name in wanted if name not in shown and f"{name}.{name.rpartition('.')[2]}" not in shown
        } == set()


def test_every_example_is_shown():
    shown = re.findall(r'^--8<-- "(.*)"$', _text("examples.md"), re.MULTILINE)
    assert sorted(shown) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").glob("*.py"))


def test_pages_that_are_made_are_up_to_date():
    rooms, notebook = runpy.run_path(str(DOCS / "img" / "rooms.py")), runpy.run_path(str(DOCS / "notebook.py"))
    assert rooms["order"]() == ROOMS
    assert rooms["drawn"]() + "\n" == (DOCS / "img" / "rooms.svg").read_text(encoding="utf-8")
    assert notebook["page"]() == _text("notebook.md")


COMMANDS = typer.main.get_command(app).commands


def _commands(text):
    """Every command of evomal in a code block, without its comment, as words."""
    blocks = [body for _, kind, body in FENCE.findall(text) if kind in ("console", "bash", "text")]
    blocks += re.findall(r"(?:^    .*\n)+", FENCE.sub("", text), re.MULTILINE)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if line.strip().startswith("evomal "):
            words = shlex.split(line.strip(), comments=True)[1:]
            yield words[2:] if words[0] == "--import" else words


@pytest.mark.parametrize("page", [*(f"docs/{page}" for page in PAGES), "README.md"])
def test_commands_are_there_with_their_options(page):
    for name, *words in _commands((ROOT / page).read_text(encoding="utf-8")):
        assert name in COMMANDS, name
        known = {
            option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, (name, given - known)


def _less(words):
    """The same command with smaller numbers."""
    return [LESS.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """An empty folder with a loss and a table, and presets of little work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "quick", PRESETS["quick"] | SMALL)
    monkeypatch.setitem(PRESETS, PRACTICE, PRESETS[PRACTICE] | SMALL | FINALS)
    shutil.copy(ROOT / "examples" / "learned_loss.json", "loss.json")
    rows = [f"{i % 7},{i * 31 % 11},{'yes' if i % 7 + i * 31 % 11 > 11 else 'no'}" for i in range(120)]
    Path("table.csv").write_text("\n".join(["months,bill,left", *rows]), encoding="utf-8")


@pytest.mark.parametrize("page", RUN)
def test_all_code_of_the_page_runs(page, small):
    space = {"__name__": "page"}
    for indent, kind, body in FENCE.findall(_text(page)):
        code = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        if kind == "python":
            exec(compile(code, page, "exec"), space)
        elif kind == "console":
            for line in code.replace("\\\n", " ").splitlines():
                words = shlex.split(line)
                assert words[0] == "evomal", line
                assert main(_less(words[1:])) == 0, line
