"""A run goes on with the data, model, loss and metric that it was begun with, or not at all."""

import json

import pytest
import torch
from torch import nn

import evomal
from evomal.cli import main
from evomal.foundation.errors import RunFolderError, SettingError
from helpers import fast, forks


def _changed(kind):
    task = fast.clouds()
    x, y, valid = task.train.x.clone(), task.train.y.clone(), (task.valid.x, task.valid.y)
    same = {"name": "clouds", "model_name": "linear"}
    if kind == "value":
        x[7, 2] += 1e-3
    elif kind == "label":
        y[7] = (y[7] + 1) % 3
    elif kind == "rows":
        x, y = x[:-1], y[:-1]
    factory = (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh())) if kind == "model" else (lambda: nn.Linear(4, 3))
    if kind == "loss":
        return fast.clouds(task_loss="focal")
    if kind == "metric":

        def error_rate(outputs, targets):  # another one under the old name
            return 2 * float((outputs.argmax(1) != targets).float().mean())

        return fast.clouds(metric=error_rate, task_type="classification")
    return type(task)(factory, (x, y), valid, **same)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return fast.whole(tmp_path_factory.mktemp("data") / "a")


@pytest.fixture
def stopped(reference, tmp_path):
    return fast.lay(tmp_path / "a", reference.but(b"".join(reference.lines[:6]), reference.checkpoints[1]))


@pytest.fixture
def finished(reference, tmp_path):
    return fast.lay(tmp_path / "a", reference.end)


@pytest.mark.parametrize("state", ["stopped", "finished"])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("value", "data_fingerprint was"),
        ("label", "data_fingerprint was"),
        ("rows", "data_fingerprint was"),
        ("model", "network was"),
        ("loss", "task_loss was 'cross_entropy', now 'focal'"),
        ("metric", "metric on some data was"),
    ],
)
def test_another_task_is_refused_in_one_sentence(request, state, kind, what):
    folder = request.getfixturevalue(state)
    before = fast.files(folder)
    with pytest.raises(RunFolderError) as caught:
        fast.learn(folder, task=_changed(kind), resume=True)
    text = str(caught.value)
    assert text.startswith(f"'{folder}' was begun on another task (")
    assert what in text
    assert text.endswith("; bring back the data and the model of then, or start another run")
    assert "\n" not in text
    assert fast.files(folder) == before


def test_a_finished_run_tells_its_result_for_the_same_task_and_writes_nothing(finished, reference):
    result = fast.learn(finished, task=_changed("nothing"), resume=True)
    assert fast.files(finished) == reference.end
    assert fast.told(result, finished) == reference.told


def test_a_finished_run_of_more_tasks_is_refused_too(finished):
    two = [fast.clouds(), fast.clouds(seed=1, name="others")]
    with pytest.raises(RunFolderError, match=r"was begun on another task \(there were 1 tasks, now 2\)"):
        fast.learn(finished, task=two, resume=True)


def test_another_loss_that_was_saved_over_the_best_is_not_taken_for_it(finished, reference):
    evomal.SymbolicLoss("square(sub(f, y))", task_type="classification").save(finished / "loss.json")
    result = fast.learn(finished, resume=True)
    assert fast.told(result, finished) == reference.told


def test_the_same_data_made_anew_is_the_same(stopped, reference):
    assert fast.told(fast.learn(stopped, task=_changed("nothing"), resume=True), stopped) == reference.told


def test_another_number_of_tasks(stopped):
    two = [fast.clouds(), fast.clouds(seed=1, name="others")]
    with pytest.raises(RunFolderError, match=r"was begun on another task \(there were 1 tasks, now 2\)"):
        fast.learn(stopped, task=two, resume=True)


def test_other_settings_are_refused_whatever_is_overridden(stopped):
    for override in (False, True):
        with pytest.raises(SettingError, match=r"which may not change \(lr was 0.05, now 0.1\)"):
            fast.learn(stopped, fast.settings(lr=0.1), resume=True, override=override)


def test_global_generators_do_not_matter(stopped, reference):
    torch.manual_seed(5)
    assert fast.told(fast.learn(stopped, task=fast.clouds(), resume=True), stopped) == reference.told


def _changed_line(reference, place, **entries):
    """A stopped run in whose journal one record has other entries; its checkpoints are those of then."""
    records = [json.loads(line) for line in reference.lines[:11]]
    (one,) = (record for record in records if (record["generation"], record["index"]) == place)
    one |= entries
    journal = "".join(json.dumps(record) + "\n" for record in records).encode()
    return reference.but(journal, reference.checkpoints[1])


NO_RECORD = "is no record of this run; delete its line to have it evaluated anew"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"index": 5}, f"'{{run}}/journal.jsonl' is damaged: candidate 5 of generation 1 {NO_RECORD}"),
        ({"index": -1}, f"'{{run}}/journal.jsonl' is damaged: candidate -1 of generation 1 {NO_RECORD}"),
        ({"outcome": "lucky"}, f"'{{run}}/journal.jsonl' is damaged: candidate 1 of generation 1 {NO_RECORD}"),
        ({"expression": "mul(y"}, f"'{{run}}/journal.jsonl' is damaged: candidate 1 of generation 1 {NO_RECORD}"),
        (
            {"expression": "tanh(sub(y, f))", "weights": None, "outcome": "trained", "fitness": 0.0},
            "'{run}' cannot go on: in its journal, candidate 1 of generation 1 is 'tanh(sub(y, f))', but this evomal "
            "proposes '{key}'; go on with the versions that config.yaml names",
        ),
    ],
    ids=["beyond", "below", "outcome", "formula", "another genome"],
)
def test_a_journal_that_is_not_of_this_run_is_refused_and_kept(tmp_path, reference, entries, message):
    folder = fast.lay(tmp_path / "a", _changed_line(reference, (1, 1), **entries))
    before = fast.files(folder)
    key = next(each for each in reference.told.journal if (each["generation"], each["index"]) == (1, 1))["expression"]
    with pytest.raises(RunFolderError) as caught:
        fast.learn(folder, resume=True)
    assert str(caught.value) == message.format(run=folder, key=key)
    kept = [name for name in before if name != "loss.json"]  # which is what the journal says is the best
    assert [name for name in kept if fast.files(folder)[name] != before[name]] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[]\n", "is damaged in line 4; delete that line to read the others"),
        (b"mine\n", "is damaged in line 4; delete that line to read the others"),
        (b'{"loss": "focal", "seed": 3}\n', "is damaged in line 4; delete that line to read the others"),
        (b"\n", "is damaged in line 4; delete that line to read the others"),
    ],
    ids=["a list", "text", "of a training", "empty"],
)
def test_a_foreign_line_is_named_by_its_number_and_can_be_deleted(tmp_path, reference, line, message):
    lines = reference.lines[:8]
    left = reference.but(b"".join([*lines[:3], line, *lines[3:]]), reference.checkpoints[2])
    folder = fast.lay(tmp_path / "a", left)
    with pytest.raises(RunFolderError) as caught:
        fast.learn(folder, resume=True)
    assert str(caught.value) == f"'{folder / 'journal.jsonl'}' {message}"
    assert fast.files(folder) == left
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    assert fast.told(fast.learn(folder, resume=True), folder) == reference.told


def test_a_journal_that_goes_beyond_the_end_is_not_cut(tmp_path, reference):
    record = json.loads(reference.lines[-1]) | {"generation": 7}
    journal = b"".join(reference.lines) + json.dumps(record).encode() + b"\n"
    folder = fast.lay(tmp_path / "a", reference.but(journal, reference.checkpoints[-2]))
    with pytest.raises(SettingError) as caught:
        fast.learn(folder, resume=True)
    assert str(caught.value) == f"setting 'generations': '{folder}' has 8 already, not 3; give more"


def test_a_line_that_is_there_twice_counts_once(tmp_path, reference):
    lines = reference.lines[:9]
    folder = fast.lay(tmp_path / "a", reference.but(b"".join([*lines, lines[4]]), reference.checkpoints[2]))
    again = fast.learn(folder, resume=True)
    assert (folder / "loss.json").read_bytes() == reference.told.loss
    plain = {name: value for name, value in again.as_dict().items() if name != "seconds"}
    assert plain == reference.told.result


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder of its own; its exit code, and what it says on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOMAL_TRACEBACK", raising=False)

    def command(*arguments):
        code = main(list(arguments))
        return code, capsys.readouterr().err

    return command


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of the command, the half of it."""
    folder = tmp_path_factory.mktemp("begun") / "a"
    assert main(["learn", *forks.IRIS, "--out", str(folder), "--quiet"]) == 0
    whole = fast.files(folder)
    return whole | {"journal.jsonl": b"".join(whole["journal.jsonl"].splitlines(keepends=True)[:7])}


ANEW = "start anew with --force"
CONFIGS = {
    "of the future": (
        lambda text: text.replace("version: 1\n", "version: 2\n"),
        "'a' comes from the future (version 2; this evomal reads 1); update evomal",
    ),
    "of an older evomal": (
        lambda text: text.replace("format: evomal-run\nversion: 1\n", ""),
        "'a/config.yaml' is not of format evomal-run: it is no run, or one of an evomal that could not resume; " + ANEW,
    ),
    "torn": (
        lambda text: text[: text.index("settings:")],
        f"'a/config.yaml' is damaged; {ANEW}, or give another --out",
    ),
    "no YAML": (
        lambda text: "{" + text,
        "'a/config.yaml' is damaged (it is not complete, valid YAML); give a folder as evomal wrote it",
    ),
    "a setting that cannot be": (
        lambda text: text.replace("  seed: 0\n", "  seed: -1\n"),
        "'a/config.yaml' is damaged (setting 'seed': input should be greater than or equal to 0 (got -1)); " + ANEW,
    ),
    "code": (
        lambda text: text + "more: !!python/object/apply:os.mkdir [pwned]\n",
        "'a/config.yaml' is damaged (it has a tag, 'tag:yaml.org,2002:python/object/apply:os.mkdir'); give a folder as "
        "evomal wrote it",
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_settings_that_cannot_be_read_are_refused_in_one_line(command, begun, tmp_path, kind):
    stopped = fast.lay(tmp_path / "a", begun)
    change, message = CONFIGS[kind]
    text = (stopped / "config.yaml").read_text()
    assert change(text) != text
    (stopped / "config.yaml").write_text(change(text))
    before = fast.files(stopped)
    assert command("learn", "--resume", "a") == (2, f"evomal: error: {message}\n")
    assert fast.files(stopped) == before
    assert [path.name for path in stopped.parent.iterdir()] == ["a"]


MINE = """
import torch
from evomal import Task

def make():
    y = torch.arange(90) % 3
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=draw)[y] + torch.randn(90, 4, generator=draw)
    return Task(lambda: torch.nn.Linear(4, 3), (x, y), name="mine")
"""


def test_a_file_that_only_the_folder_names_is_not_run(command, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    task = ("--task", "mine.py:make")
    assert command("learn", *task, *forks.IRIS[4:], "--out", "a", "--quiet") == (0, "")
    whole = fast.files(tmp_path / "a")
    journal = b"".join(whole["journal.jsonl"].splitlines(keepends=True)[:7])
    fast.lay(tmp_path / "a", whole | {"journal.jsonl": journal})
    (tmp_path / "mine.py").write_text("raise AssertionError('this file is run')")
    refused = (
        "'a' was begun with --task mine.py:make, whose code is run only where it is named; add --task mine.py:make"
    )
    assert command("learn", "--resume", "a") == (2, f"evomal: error: {refused}\n")
    (tmp_path / "mine.py").write_text(MINE.replace("manual_seed(0)", "manual_seed(1)"))
    code, err = command("learn", "--resume", "a", *task, "--quiet")
    assert code == 2
    assert err.startswith("evomal: error: 'a' was begun on another task (data_fingerprint was ")
    assert (tmp_path / "a" / "journal.jsonl").read_bytes() == journal
    (tmp_path / "mine.py").write_text(MINE)
    assert command("learn", "--resume", "a", *task, "--quiet") == (0, "")
    assert fast.files(tmp_path / "a")["loss.json"] == whole["loss.json"]


def test_data_may_lie_elsewhere_and_what_may_change_changes(command, begun, tmp_path):
    stopped = fast.lay(tmp_path / "a", begun)
    code, err = command("learn", "--resume", "a", "--generations", "4", "--patience", "9")
    assert (code, err) == (
        2,
        "evomal: error: 'a' was begun with other settings (generations was 3, now 4; patience was None, now 9); give "
        "those of then, or add --override\n",
    )
    for name, value in (("--seed", "1"), ("--lr", "0.5")):
        code, err = command("learn", "--resume", "a", name, value, "--override")
        assert code == 2
        assert "was begun with other settings, which may not change" in err
    assert command("learn", "--resume", "a", "--data-dir", "elsewhere", "--quiet") == (0, "")
    assert fast.files(stopped)["loss.json"] == begun["loss.json"]
    assert command("learn", "--resume", "a", "--generations", "4", "--override", "--quiet") == (0, "")
    assert command("learn", *forks.IRIS, "--generations", "4", "--out", "b", "--quiet") == (0, "")
    assert fast.files(stopped)["loss.json"] == fast.files(tmp_path / "b")["loss.json"]
