"""What is fuzzed: one function a target, from bytes to nothing, raising on whatever should not be.

A file is read, or refused by one sentence. What is read holds what is promised of it.
"""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from evomal.cli import main
from evomal.cli.output import as_json_text, printable
from evomal.comparison.folder import FIRST_LINE, ComparisonFolder
from evomal.comparison.plan import Plan, make_plan
from evomal.comparison.running import run_comparison
from evomal.config import LearnSettings, learn_settings
from evomal.executors import InProcess
from evomal.expressions import parse, to_formula, to_latex, to_text
from evomal.foundation.errors import EvomalError, ExpressionError, LossFileError, RunFolderError, StorageError
from evomal.foundation.plain_yaml import read_yaml, yaml_text
from evomal.foundation.serialization import cleaned
from evomal.losses import LearnedLoss, load_loss
from evomal.report.tables import print_table, table_of_comparison
from evomal.search import EvoMAL
from evomal.store import RunFolder
from evomal.store.resuming import PreviousRun
from evomal.tasks import Task, named_task
from fuzz import samples

LONGEST = 1000  # characters of a sentence, paths included


@lru_cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="evomal-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _one_sentence(text: str) -> None:
    assert "\n" not in text, text
    assert len(text) < LONGEST, text[:LONGEST]


def loss_file(data: bytes) -> None:
    """A loss file is refused, or is a loss that computes, prints, and comes back the same from a second file."""
    path = _file("loss.json", data)
    try:
        loss = load_loss(path)
    except LossFileError as error:
        _one_sentence(str(error))
        return
    _computes(loss)
    _one_line(loss.formula(), loss.formula(digits=4))
    again = _folder() / "again.json"
    loss.save(again)
    other = load_loss(again)
    # As text, in which -0.0 and 0.0 differ.
    assert json.dumps(other.all_entries()) == json.dumps(loss.all_entries())
    assert json.dumps(other.info) == json.dumps(loss.info)


def _computes(loss: LearnedLoss) -> None:
    if loss.task_type == "classification":
        outputs, targets = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 0])
    else:
        outputs, targets = torch.tensor([0.5, -3.0]), torch.tensor([1.0, 0.0])
    outputs.requires_grad_()
    loss.requires_grad_()
    with contextlib.suppress(EvomalError):
        value = loss(outputs, targets)
        assert value.shape == ()
        if value.requires_grad:
            value.backward()
    loss.requires_grad_(False)


def _one_line(*texts: str) -> None:
    assert all(text and text.isprintable() for text in texts), texts


def expression(data: bytes) -> None:
    """A text is refused, or is a formula whose own text is read back as the same formula."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        formula = parse(text)
    except ExpressionError as error:
        _one_sentence(str(error))
        return
    assert parse(to_text(formula)) == formula
    assert to_text(parse(to_text(formula))) == to_text(formula)
    _one_line(to_formula(formula), to_formula(formula, [-2.5] * formula.edges, digits=2), to_latex(formula))


def journal(data: bytes) -> None:
    """`evomal show RUN --top 3` lists what a journal holds, or says in a line what is wrong with it."""
    run = _file("run/journal.jsonl", data).parent
    code, out = _command("show", str(run), "--top", "3")
    if code == 0:
        assert all(line.isprintable() for line in out.splitlines()), out
    as_json, out = _command("show", str(run), "--top", "3", "--json")
    assert as_json == code
    if code == 0:
        json.loads(out, parse_constant=_no_constant)


def show(data: bytes) -> None:
    """`evomal show FILE` shows a loss, or says in a line what is wrong with it."""
    as_json = ("--json",) if len(data) % 2 else ()  # one of the two: SymPy takes seconds
    code, out = _command("show", str(_file("shown.json", data)), *as_json)
    if code == 0 and as_json:
        json.loads(out, parse_constant=_no_constant)
    elif code == 0:
        assert all(line.isprintable() for line in out.splitlines()), out


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _command(*arguments: str) -> tuple[int, str]:
    """The exit code and the output of a command, which must be 0, or 2 with one line."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    said = err.getvalue().splitlines()
    assert code in (0, 2), (code, said)
    assert len(said) == (code == 2), said
    assert code == 0 or (said[0].startswith("evomal: error: ") and said[0].isprintable()), said
    return code, out.getvalue()


def yaml_file(data: bytes) -> None:
    """A YAML file is refused, or is plain data that is read back the same from a second file."""
    try:
        entries = read_yaml(_file("config.yaml", data))
    except RunFolderError as error:
        _one_sentence(str(error))
        return
    plain = json.dumps(entries, allow_nan=False)
    with contextlib.suppress(UnicodeEncodeError):  # half a pair of surrogates is text in Python, not in a file
        again = read_yaml(_file("again.yaml", yaml_text(entries).encode()))
        assert json.dumps(again) == plain


@lru_cache
def _comparison() -> tuple[Task, Plan]:
    small = {"neural_steps": 1, "partial_steps": 1, "steps": 1, "batch_size": 8}
    return named_task("iris", "linear"), make_plan(["focal", "ml3"], "cross_entropy", [0, 1], "quick", **small)


COMPARED = ("comparison.yaml", "trainings.jsonl", "searches/ml3-seed0/search.json")


@lru_cache
def _finished() -> tuple[bytes, ...]:
    """What is in the folder of a finished comparison, which stays for `_compared`."""
    path = _folder() / "comparison"
    run_comparison(*_comparison(), ComparisonFolder(path), InProcess())
    return tuple((path / part).read_bytes() for part in COMPARED)


def comparison(data: bytes) -> None:
    """The document of a comparison is refused, or the comparison goes on and can go on once more."""
    _compared(FIRST_LINE + data, *_finished()[1:])


def trainings(data: bytes) -> None:
    """The trainings of a comparison are refused, or are taken, and those that lack are done."""
    document, _, summary = _finished()
    _compared(document, data, summary)


def search(data: bytes) -> None:
    """The summary of a search is taken, or the search is done again."""
    document, trained, _ = _finished()
    _compared(document, trained, data)


def _compared(*texts: bytes) -> None:
    for part, text in zip(COMPARED, texts, strict=True):
        _file(f"comparison/{part}", text)
    path = _folder() / "comparison"
    try:
        result = run_comparison(*_comparison(), ComparisonFolder(path), InProcess())
    except RunFolderError as error:
        _one_sentence(printable(str(error)))
        return
    as_json_text(result.as_dict())
    _one_line(*map(cleaned, result.notes()))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print_table(table_of_comparison(result), out)
    assert all(line.isprintable() for line in out.getvalue().splitlines()), out.getvalue()
    ComparisonFolder(path).require_same(*reversed(_comparison()))


PARTS = ("config.yaml", "journal.jsonl", "checkpoint/state.json")
BETWEEN = b"\n=====\n"


@lru_cache
def _run() -> tuple[LearnSettings, tuple[bytes, ...]]:
    """The settings of a small search, and what is in its folder: finished, and stopped in its last generation."""
    settings = learn_settings(
        population_size=3, generations=3, meta_steps=1, partial_steps=4, rejection_threshold=0.0, rejection_steps=5,
        batch_size=16,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as path:
        EvoMAL(settings).learn(_comparison()[0], out=f"{path}/run")
        config, journal, state = ((Path(path) / "run" / part).read_bytes() for part in PARTS)
        stopped = b"".join(journal.splitlines(keepends=True)[:-2])
        before = (Path(path) / "run/checkpoint/previous.json").read_bytes()
        return settings, (BETWEEN.join([config, journal, state]), BETWEEN.join([config, stopped, before]))


def run_folder(data: bytes) -> None:
    """What is left of a search is refused, or the search goes on from it to its end."""
    path = _folder() / "search"
    shutil.rmtree(path, ignore_errors=True)
    for part, text in zip(PARTS, data.split(BETWEEN), strict=False):
        _file(f"search/{part}", text)
    settings, _ = _run()
    try:
        folder = RunFolder(path, resume=True)
        try:
            same = PreviousRun(folder).settings == settings
        finally:
            folder.discard()
        # Other settings may be those of a search of years.
        if same:
            result = EvoMAL(settings).learn(_comparison()[0], out=path, resume=True)
            assert len(result.members) == settings.evaluations
            json.dumps(result.as_dict())
            load_loss(path)
    except StorageError:
        raise
    except EvomalError as error:
        _one_sentence(printable(str(error)))


@dataclass(frozen=True, slots=True)
class Target:
    """Something to fuzz.

    Args:
        check: Takes any bytes; raises only if something is wrong in evomal.
        samples: Valid bytes.
    """

    check: Callable[[bytes], None]
    samples: Callable[[], list[bytes]]


def _documents() -> list[bytes]:
    return [_finished()[0].removeprefix(FIRST_LINE), json.dumps(_as_dict()).encode(), *samples.yaml_files()]


def _as_dict() -> dict[str, Any]:
    entries = read_yaml(_file("whole.yaml", _finished()[0]))
    return {name: value for name, value in entries.items() if name != "format"}


TARGETS = {
    "loss_file": Target(loss_file, samples.loss_files),
    "expression": Target(expression, lambda: [text.encode() for text in samples.FORMULAS]),
    "journal": Target(journal, samples.journals),
    "yaml_file": Target(yaml_file, samples.yaml_files),
    "comparison": Target(comparison, _documents),
    "trainings": Target(trainings, lambda: [_finished()[1]]),
    "search": Target(search, lambda: [_finished()[2]]),
    "run_folder": Target(run_folder, lambda: list(_run()[1])),
    "show": Target(show, samples.loss_files),
}
"""Every target by name."""
