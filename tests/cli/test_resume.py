"""`evomal learn` with limits and losses to begin with, and how a run goes on."""

import itertools
import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

import evomal
from evomal.cli import main
from evomal.cli.source import TaskSource
from evomal.config import PRESETS
from evomal.engines.warm_start import FORMULAS
from evomal.expressions import canonical, parse
from evomal.store import Journal, comparable, read_journal

IRIS = [
    *("--dataset", "iris", "--model", "linear", "--generations", "3", "--population", "6", "--meta-steps", "2"),
    *("--partial-steps", "5"),
    *("--rejection-steps", "6", "--rejection-lr", "0.1", "--rejection-threshold", "0.05", "--batch-size", "16"),
    *("--lr", "0.1", "--seed", "1", "--preset", "paper-mnist"),
]
MOST = 8  # evaluations, after which a run stops in its second generation


def _made(folder, *more):
    assert main(["learn", *IRIS, *more, "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished run; tests read it and leave it as it is."""
    return _made(tmp_path_factory.mktemp("whole") / "a")


@pytest.fixture(scope="module")
def _limited(tmp_path_factory) -> Path:
    return _made(tmp_path_factory.mktemp("limited") / "a", "--max-evaluations", str(MOST))


@pytest.fixture
def limited(_limited, tmp_path) -> Path:
    """A copy of a run that ended at its limit of evaluations."""
    return Path(shutil.copytree(_limited, tmp_path / "a"))


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _same(folder, other):
    """Whether two runs came to the same, but for times and the limits that they had on the way."""
    journals = [comparable(read_journal(each)) for each in (folder, other)]
    return journals[0] == journals[1] and (folder / "loss.json").read_bytes() == (other / "loss.json").read_bytes()


def _error(ended):
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("evomal: error: ")
    return ended.err.removeprefix("evomal: error: ").removesuffix("\n")


def test_a_finished_run_prints_its_result_and_does_nothing(run, whole, tmp_path, monkeypatch):
    place = Path(shutil.copytree(whole, tmp_path / "a"))
    monkeypatch.setattr("evomal.search.method.make_executor", lambda *where: pytest.fail("something is done again"))
    ended = run("learn", "--resume", "a")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    best = min((r for r in read_journal(whole) if r["outcome"] == "trained"), key=lambda r: r["fitness"])
    assert lines[0] == f"formula    {evomal.load_loss(whole).short()}"
    assert lines[1] == f"fitness    {best['fitness']:.4g} (error_rate on validation data after 5 base steps)"
    assert lines[3].endswith(" (18 in all)")
    assert lines[5] == "loss file  a/loss.json"
    assert run("learn", "--resume", "a", "--quiet") == ended
    assert _files(place) == _files(whole)


@pytest.mark.parametrize("which", ["whole", "limited"])
def test_a_run_is_refused_if_its_data_has_changed_finished_or_not(limited, whole, run, which, monkeypatch):
    place = limited
    if which == "whole":
        shutil.rmtree(place)
        shutil.copytree(whole, place)
    before, more = _files(place), [] if which == "whole" else ["--override", "--max-evaluations", "100"]
    load = TaskSource.load

    def changed(self):
        task = load(self)
        task.train.x[3, 1] += 1
        task._fingerprint = None
        return task

    monkeypatch.setattr("evomal.cli.source.TaskSource.load", changed)
    message = _error(run("learn", "--resume", "a", *more))
    assert message.startswith("'a' was begun on another task (data_fingerprint was ")
    assert message.endswith("; bring back the data and the model of then, or start another run")
    assert _files(place) == before


def test_a_finished_run_as_json(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "a")
    ended = run("learn", "--resume", "a", "--json")
    document, loss = json.loads(ended.out), evomal.load_loss(whole)
    assert (ended.code, ended.err) == (0, "")
    assert (document["out"], document["loss"]) == ("a", "a/loss.json")
    assert (document["ended"], document["interrupted"]) == ("generations", False)
    assert (document["fitness"], document["weights"]) == (loss.info["fitness"], loss.coefficients)
    assert document["formula"] == loss.formula(digits=4)
    assert document["task"]["dataset"] == "iris"
    assert sum(document["outcomes"].values()) == 18
    fresh = run("learn", *IRIS, "--out", "b", "--json")
    times = {"seconds": None, "out": None, "loss": None}
    assert json.loads(fresh.out) | times == document | times


@pytest.mark.parametrize("given", [[], IRIS, ["--dataset", "iris"], ["--out", "a"], ["--seed", "1", "--data-dir", "x"]])
def test_what_is_given_again_may_be_what_it_was(run, whole, tmp_path, given):
    shutil.copytree(whole, tmp_path / "a")
    assert run("learn", "--resume", "a", *given, "--quiet").code == 0
    assert _same(tmp_path / "a", whole)


def test_a_limit_is_kept_and_its_run_is_finished(run, limited, whole):
    assert len(read_journal(limited)) < 12
    before = _files(limited)
    document = json.loads(run("learn", "--resume", "a", "--json").out)
    assert (document["ended"], document["interrupted"]) == ("evaluations", False)
    assert document["message"].endswith(
        f", stopped at its limit of evaluations after {len(read_journal(limited))} candidates"
    )
    outcomes = document["outcomes"]
    assert sum(outcomes.values()) - outcomes.get("elite", 0) - outcomes.get("archived", 0) == MOST
    assert _files(limited) == before
    config = yaml.safe_load((limited / "config.yaml").read_text())
    assert config["settings"]["limits"]["max_evaluations"] == MOST


def test_with_override_it_goes_on_and_says_where(run, limited, whole):
    count = len(read_journal(limited))
    best = evomal.load_loss(limited).info["fitness"]
    ended = run("learn", "--resume", "a", "--override", "--max-evaluations", "100")
    assert (ended.code, ended.err) == (0, "")
    first, second, third, *rest = ended.out.splitlines()
    assert first == f"going on with generation 2/3  best {best:.4g}  {count} candidates are finished"
    assert second.startswith("generation 2/3  best ")
    assert third.startswith("generation 3/3  best ")
    assert rest[0].startswith("formula    ")
    assert rest[3].endswith(" (18 in all)")
    assert _same(limited, whole)


def test_progress_of_a_run_that_goes_on_is_not_part_of_a_json_document(run, limited):
    ended = run("learn", "--resume", "a", "--override", "--max-evaluations", "9", "--json")
    assert json.loads(ended.out)["ended"] == "evaluations"
    assert ended.err.startswith("going on with generation 2/3  best ")
    assert "going on" not in run("learn", "--resume", "a", "--override", "--max-evaluations", "10", "--quiet").out


def test_without_override_nothing_changes(run, limited):
    before = _files(limited)
    message = _error(run("learn", "--resume", "a", "--max-evaluations", "100"))
    assert message == (
        f"'a' was begun with other settings (max_evaluations was {MOST}, now 100); give those of then, or add "
        "--override"
    )
    assert _files(limited) == before
    message = _error(run("learn", "--resume", "a", "--seed", "2", "--override"))
    assert message == (
        "'a' was begun with other settings, which may not change (seed was 1, now 2); give those of then, or start "
        "another run"
    )
    assert _files(limited) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--dataset", "wine"],
            "'a' was begun with other options (dataset was 'iris', now 'wine'); leave them out, or ",
        ),
        (["--model", "mlp"], "'a' was begun with other options (model was 'linear', now 'mlp'); leave them out, or "),
        (["--method", "glo"], "'a' was begun with other options (method was 'evomal', now 'glo'); leave them out, or "),
        (
            ["--also", "wine/linear"],
            "'a' was begun with other options (also was [], now ['wine/linear']); leave them out",
        ),
        (["--force"], "--resume goes on in 'a'; leave out --force"),
        (["--out", "b"], "--resume goes on in 'a'; leave out --out"),
        (["--dry-run"], "--dry-run prices a run that is yet to begin; leave out --resume"),
        (["--population", "1"], "setting 'population_size': input should be greater than or equal to 2 (got 1)"),
        (["--preset", "quik"], f"unknown preset 'quik'; did you mean 'quick'? (known: {', '.join(sorted(PRESETS))})"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_given_to_a_run_that_goes_on(run, limited, given, message):
    before = _files(limited)
    assert _error(run("learn", "--resume", "a", *given)).startswith(message)
    assert _files(limited) == before
    assert run("learn", "--resume", "a", "--quiet").code == 0  # nobody is at work there any more


def test_override_is_for_a_run_that_goes_on(run, tmp_path):
    message = _error(run("learn", *IRIS, "--override"))
    assert message == "--override is for a run that goes on; give --resume DIR, or leave it out"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("mine")])
def test_there_must_be_a_run_to_go_on_with(run, tmp_path, make):
    make(tmp_path / "a")
    before = _files(tmp_path)
    assert _error(run("learn", "--resume", "a")) == "'a' holds no run to go on with; start one with --out a"
    assert _files(tmp_path) == before


def test_a_target_is_met(run, tmp_path):
    document = json.loads(run("learn", *IRIS, "--out", "a", "--target-fitness", "1", "--json").out)
    records = read_journal(tmp_path / "a")
    assert document["ended"] == "target"
    assert [record["outcome"] for record in records].count("trained") == 1
    assert document["fitness"] <= 1
    assert document["message"].startswith(f"fitness {document['fitness']:.4f}")
    assert document["message"].endswith(f", stopped at its target fitness after {len(records)} candidates")
    assert json.loads((tmp_path / "a" / "checkpoint" / "state.json").read_text())["ended"] == "target"


def test_patience_ends(run, whole, tmp_path):
    document = json.loads(run("learn", *IRIS, "--out", "a", "--patience", "1", "--json").out)
    best = [
        min(
            (r["fitness"] for r in read_journal(whole) if r["outcome"] == "trained" and r["generation"] == g), default=9
        )
        for g in range(3)
    ]
    assert best[1] >= best[0]  # the second generation has nothing better
    assert (document["ended"], sum(document["outcomes"].values())) == ("patience", 12)
    assert comparable(read_journal(tmp_path / "a")) == comparable(read_journal(whole))[:12]


def test_time_is_over_and_a_run_goes_on_without_override(run, whole, tmp_path, monkeypatch):
    looks = itertools.count()
    monkeypatch.setattr("evomal.evaluation.limits.perf_counter", lambda: next(looks) / 8)  # each look takes a while
    document = json.loads(run("learn", *IRIS, "--out", "a", "--max-time", "1s", "--json").out)
    assert (document["ended"], document["interrupted"]) == ("time", False)
    assert 0 < len(read_journal(tmp_path / "a")) < 18
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert config["settings"]["limits"]["max_time"] == 1.0
    for _ in range(10):
        ended = run("learn", "--resume", "a", "--max-time", "1", "--json")
        assert ended.code == 0
        if json.loads(ended.out)["ended"] != "time":
            break
    assert json.loads(ended.out)["ended"] == "generations"
    assert _same(tmp_path / "a", whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--max-time", "soon"], "setting 'max_time': 'soon' is no time; write seconds, or such as 45m or 2h30m"),
        (["--max-time", "0s"], "setting 'max_time': input should be greater than 0 (got '0s')"),
        (["--max-evaluations", "0"], "setting 'max_evaluations': input should be greater than or equal to 1 (got 0)"),
        (["--patience", "0"], "setting 'patience': input should be greater than or equal to 1 (got 0)"),
        (["--target-fitness", "nan"], "setting 'target_fitness': input should be a finite number (got nan)"),
    ],
)
def test_limits_that_cannot_be(run, tmp_path, given, message):
    assert _error(run("learn", *IRIS, *given)) == message
    assert list(tmp_path.iterdir()) == []


TASK = """
import torch
import evomal

def make(shift=0.0):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=draw)
    return evomal.Task(lambda: torch.nn.Linear(4, 2), (x + shift, (x[:, 0] > 0).long()), name="mine")

def other():
    return make(1.0)
"""
SMALL = IRIS[4:]


def test_a_users_task_is_what_it_makes_not_how_it_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    for place in (tmp_path / "t.py", tmp_path / "elsewhere" / "copy.py"):
        place.write_text(TASK)
    assert run("learn", "--task", "t.py:make", *SMALL, "--max-evaluations", 4, "--quiet", "--out", "r").code == 0
    assert run("learn", "--task", "t.py:make", *SMALL, "--quiet", "--out", "whole").code == 0
    for folder, spec in [
        (".", "./t.py:make"),
        (".", f"{tmp_path}/t.py:make"),
        ("elsewhere", "../t.py:make"),
        ("elsewhere", "copy.py:make"),
    ]:
        monkeypatch.chdir(tmp_path / folder)
        ended = run("learn", "--resume", tmp_path / "r", "--task", spec, "--quiet")
        assert (ended.code, ended.err) == (0, "")
        shutil.copytree(tmp_path / "r", tmp_path / "again")
        more = ("--override", "--max-evaluations", 100, "--quiet")
        assert run("learn", "--resume", tmp_path / "again", "--task", spec, *more).code == 0
        assert _same(tmp_path / "again", tmp_path / "whole")
        shutil.rmtree(tmp_path / "again")
    message = _error(run("learn", "--resume", "../r", "--task", "copy.py:other"))
    assert message.startswith("'../r' was begun on another task (data_fingerprint was ")
    message = _error(run("learn", "--resume", "../r", *IRIS[:4]))
    assert message.startswith("'../r' was begun with other options (dataset was None, now 'iris'; ")
    message = _error(run("learn", "--resume", "../r"))
    named = f"--task {tmp_path}/t.py:make"
    assert message == f"'../r' was begun with {named}, whose code is run only where it is named; add {named}"
    assert run("learn", "--resume", "../r", *shlex.split(named), "--quiet").code == 0


def test_what_is_said_after_a_stop_works_as_it_stands(run, tmp_path, monkeypatch):
    (tmp_path / "my t.py").write_text(TASK)
    write, written = Journal.write, []

    def stopped(self, record):
        write(self, record)
        written.append(record)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "write", stopped)
    also = ("--also", "my t.py:other", "--also", "iris/linear")
    for more in ((), also):
        written.clear()
        out = f"r{len(more)}"
        ended = run("learn", "--task", "my t.py:make", *more, *SMALL, "--out", out)
        assert ended.code == 130
        said = ended.err.splitlines()[-1].partition("go on with ")[2]
        assert shlex.split(said) == ["evomal", "learn", "--resume", out, "--task", "my t.py:make", *more]
        ended = run(*shlex.split(said)[1:])
        assert ended.code == 0, ended


@pytest.fixture
def other(tmp_path):
    """A loss of another run."""
    loss = evomal.SymbolicLoss("square(sub(f, y))", task_type="classification")
    loss.coefficients = [2.0, 0.5, -1.0]
    (tmp_path / "other").mkdir()
    loss.save(tmp_path / "other" / "loss.json")
    return ["cross_entropy", "abs(log(mul(y, f)))", "other/loss.json"]


def _first_generation(folder):
    return [record for record in read_journal(folder) if record["generation"] == 0]


def test_losses_to_begin_with_come_first(run, whole, tmp_path, other):
    assert run("learn", *IRIS, "--out", "a", "--generations", "1", "--start-from", *other, "--quiet").code == 0
    records = _first_generation(tmp_path / "a")
    named, written, filed = records[:3]
    assert {record["origin"] for record in records} == {"initial"}
    assert parse(named["expression"]) == canonical(parse(FORMULAS["cross_entropy"]))
    assert parse(written["expression"]) == canonical(parse("abs(log(mul(y, f)))"))
    assert parse(filed["expression"]) == canonical(parse("square(sub(f, y))"))
    assert filed["start"] == [2.0, 0.5, -1.0]
    assert all("start" not in record for record in (named, written, *records[3:]))
    assert filed["weights"] == pytest.approx([2.0, 0.5, -1.0], abs=0.05)  # tuned from there
    assert filed["weights"] != filed["start"]
    assert [record["expression"] for record in records] != [r["expression"] for r in _first_generation(whole)]


def test_a_run_remembers_losses_to_begin_with_and_needs_their_files_no_more(run, tmp_path, other):
    whole = ["learn", *IRIS, "--generations", "2", "--start-from", *other, "--quiet"]
    assert run(*whole, "--out", "b").code == 0
    assert run(*whole, "--out", "a", "--max-evaluations", "5").code == 0
    started = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())["settings"]["genetic"]["start_from"]
    assert started == ["mul(-1, mul(y, log(f)))", "abs(log(mul(y, f)))", "square(sub(f, y)) [2.0, 0.5, -1.0]"]
    again = ["learn", "--resume", "a", "--override", "--max-evaluations", "100", "--quiet"]
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    assert run(*again, "--start-from", *other).code == 0
    assert _same(tmp_path / "a", tmp_path / "b")
    (tmp_path / "other" / "loss.json").unlink()
    again[2] = "c"
    assert run(*again).code == 0
    assert _same(tmp_path / "c", tmp_path / "b")


def test_losses_to_begin_with_may_not_change(run, limited):
    message = _error(run("learn", "--resume", "a", "--override", "--start-from", "cross_entropy"))
    assert message == (
        "'a' was begun with other settings, which may not change (start_from was (), now "
        "('mul(-1, mul(y, log(f)))',)); give those of then, or start another run"
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mse", "setting 'start_from': 'mse' is for regression, but the task is classification; give another loss"),
        ("abs(f)", "setting 'start_from': 'abs(f)' lacks y; a loss needs both y and f"),
        ("sin(f)", "setting 'start_from': unknown name 'sin'; did you mean 'sign'? (position 1 of 'sin(f)')"),
        ("none.json", "loss file 'none.json': it cannot be read (No such file or directory); check the path"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_cannot_begin_a_search_is_refused_and_leaves_nothing(run, tmp_path, entry, message, dry):
    assert _error(run("learn", *IRIS, *dry, "--start-from", entry)) == message
    assert list(tmp_path.rglob("*.yaml")) == []


def test_a_dry_run_prices_losses_to_begin_with_and_writes_nothing(run, tmp_path, other):
    before = _files(tmp_path)
    ended = run("learn", *IRIS, "--dry-run", "--start-from", *other, "--json")
    assert (ended.code, json.loads(ended.out)["candidates"]) == (0, 18)
    assert _files(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]
