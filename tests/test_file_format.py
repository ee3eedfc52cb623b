"""The manual's page on file formats, held to what is written and read."""

import json
import re
from pathlib import Path

import pytest
import torch

import evomal
from evomal.config import fitting, learn_settings
from evomal.expressions import EPSILON, LEAVES, MAX_DEPTH, MAX_NODES, OPERATORS, parse
from evomal.foundation.errors import LossFileError
from evomal.foundation.plain_json import MAX_NESTING, MAX_NUMBER, MAX_TEXT
from evomal.losses.files import MAX_BYTES
from evomal.losses.learned import MOST_SCALE
from evomal.losses.neural import MAX_HIDDEN
from evomal.search import METHODS as BY_NAME
from evomal.store import read_journal
from evomal.tasks import named_task

PAGE = (Path(__file__).parents[1] / "docs" / "file-format.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)]
SMALL = {
    "population_size": 3, "generations": 2, "neural_steps": 3, "meta_steps": 1, "partial_steps": 8,
    "rejection_steps": 8, "rejection_lr": 0.08, "rejection_threshold": 0.0, "batch_size": 32, "lr": 0.1,
    "finals": False,
}  # fmt: skip
METHODS = {"symbolic": "evomal", "taylor": "taylorglo", "neural": "ml3"}


def _rows(heading):
    """The first table after a heading, row by row without its head, as lists of cells."""
    after = PAGE.partition(f"{heading}\n")[2]
    table = re.search(r"^\|.*?(\n\n|\Z)", after, re.DOTALL | re.MULTILINE).group()
    return [re.split(r" \| ", line.strip("| ")) for line in table.strip().splitlines()[2:]]


def _names(cell):
    return re.findall(r"`([^`]+)`", cell)


WHAT_IT_IS = _rows("### Entries that say what the loss is")
WHENCE = {row[0].strip("`"): row[2] for row in _rows("### Entries that say where it came from")}


OF_FINALS = {"verdict"}  # runs without them have none


def _is_of(row, family):
    """Whether a row of the first table is about a family of losses."""
    return row[1] in ("all", family) or (row[1].startswith("all but ") and not row[1].endswith(family))


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory):
    """The family and the folder of a small search."""
    method = METHODS[request.param]
    folder = tmp_path_factory.mktemp("run") / method
    BY_NAME[method](learn_settings(**fitting(method, SMALL))).learn(named_task("iris", "linear"), out=folder)
    return request.param, folder


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_loads_and_comes_back_as_it_stands(tmp_path, number):
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(EXAMPLES[number]), encoding="utf-8")
    loss = evomal.load_loss(path)
    loss.save(path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved | {"weights": None} == EXAMPLES[number] | {"weights": None}
    assert saved.get("weights", []) == pytest.approx(EXAMPLES[number].get("weights", []))


def test_there_is_an_example_of_every_family_and_one_with_a_past():
    assert {example["family"] for example in EXAMPLES} == {*METHODS, "handcrafted"}
    assert any(set(WHENCE) - OF_FINALS <= set(example) for example in EXAMPLES)


def test_the_file_of_a_learned_loss_has_the_entries_of_the_page(run):
    family, folder = run
    written = json.loads((folder / "loss.json").read_text(encoding="utf-8"))
    optional = {"scale"}  # is 1
    own = {row[0].strip("`") for row in WHAT_IT_IS if _is_of(row, family)}
    assert set(written) == own - optional | set(WHENCE) - OF_FINALS
    for name, value in written.items():
        if isinstance(value, dict) and name != "versions":
            assert set(value) <= set(_names(WHENCE[name])), name
    assert set(written["versions"]) == {"evomal", "torch", "python"}
    assert set(written["tuned_for"]) == set(_names(WHENCE["tuned_for"]))
    assert set(written["learned_on"]) == set(_names(WHENCE["learned_on"])) - {"tasks"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["family"])
def test_entries_that_the_page_calls_required_are(tmp_path, example):
    rows = [row for row in WHAT_IT_IS if _is_of(row, example["family"])]
    for name, _, _, required, _ in rows:
        without = {other: value for other, value in example.items() if other != name.strip("`")}
        (tmp_path / "loss.json").write_text(json.dumps(without), encoding="utf-8")
        if required == "yes":
            with pytest.raises(LossFileError):
                evomal.load_loss(tmp_path / "loss.json")
        else:
            assert evomal.load_loss(tmp_path / "loss.json")


def test_the_lines_of_a_journal_have_the_fields_of_the_page(run):
    family, folder = run
    fields = {name: row for row in _rows("### `journal.jsonl`") for name in _names(row[0])}
    foreign = {"symbolic": {"hidden"}, "taylor": {"hidden"}, "neural": set()}[family]
    foreign |= set() if family == "symbolic" else {"expression", "output_activation"}
    seen = set()
    for record in read_journal(folder):
        assert set(record) <= set(fields) - foreign
        seen |= set(record)
    assert {name for name, row in fields.items() if "only" not in row[2]} - foreign <= seen


def test_operators_are_those_of_the_table():
    texts = [name for row in _rows("Operators are") for cell in row for name in _names(cell)]
    formulas = [parse(re.sub(r"\bb\b", "f", re.sub(r"\ba\b", "y", text))) for text in texts]
    assert {formula.symbol for formula in formulas} == set(OPERATORS)
    assert f"Leaves are {', '.join(f'`{leaf}`' for leaf in LEAVES[:-1])} and `{LEAVES[-1]}`" in PAGE
    assert float(re.search(r"log\(\\\|a\\\| \+ (\S+)\)", PAGE).group(1)) == EPSILON


def test_the_worked_example_is_what_the_loss_computes(tmp_path):
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(EXAMPLES[0]), encoding="utf-8")
    loss = evomal.load_loss(path)
    y, f = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.3, 0.7]])
    value = (1.0 * ((0.98 * (1.5 * y * 1.25 * f)).abs() + 1e-7).log()).abs()
    torch.testing.assert_close(loss.per_class(y, f), value)


def test_limits_are_those_of_the_page():
    limits = {row[0]: row[1] for row in _rows("### Limits")}
    assert limits["the file"] == f"{MAX_BYTES:,} bytes"
    assert limits["nesting"].startswith(f"{MAX_NESTING} ")
    assert limits["a text or a name"] == f"{MAX_TEXT:,} characters"
    assert limits["a number"].startswith(f"{MAX_NUMBER} characters")
    assert limits["a formula"] == f"{MAX_DEPTH} levels, {MAX_NODES:,} nodes (so {MAX_NODES - 1} weights)"
    assert limits["a network"] == f"{MAX_HIDDEN} hidden units ({3 * MAX_HIDDEN + MAX_HIDDEN**2:,} weights)"
    assert MOST_SCALE == 1e30


@pytest.mark.parametrize("version", [3, "1"])
def test_errors_about_versions_are_those_of_the_page(tmp_path, monkeypatch, version):
    monkeypatch.chdir(tmp_path)
    Path("x.json").write_text(json.dumps(EXAMPLES[0] | {"version": version}), encoding="utf-8")
    with pytest.raises(LossFileError) as caught:
        evomal.load_loss("x.json")
    assert f"`{caught.value}`" in PAGE
