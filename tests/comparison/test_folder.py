import json
import math

import pytest
import torch
import yaml

from evomal.comparison.folder import ComparisonFolder
from evomal.comparison.training_rows import FinishedTraining, training_record
from evomal.foundation.errors import RunFolderError
from evomal.tasks import named_task
from evomal.training import TrainingRun


def _snapshot(folder):
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in sorted(folder.rglob("*"))}


def _refused(message, function, *arguments, **options):
    with pytest.raises(RunFolderError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == message


@pytest.fixture
def begun(tmp_path, iris, plan_of):
    """A folder of a comparison in which nothing is finished yet."""
    folder = ComparisonFolder(tmp_path / "c")
    folder.begin(plan_of(), iris)
    folder.end()
    return folder.path


def test_nothing_is_written_before_it_begins(tmp_path, iris, plan_of):
    folder = ComparisonFolder(tmp_path / "deep" / "c")
    folder.require_same(plan_of(), iris)
    assert folder.finished_search(plan_of().contenders[1], 0) is None
    assert folder.trainings() == {}
    assert list(tmp_path.iterdir()) == []
    folder.begin(plan_of(), iris)
    folder.end()
    known = yaml.safe_load((tmp_path / "deep/c/comparison.yaml").read_text())
    assert known["format"] == "evomal-comparison"
    assert known["task"]["data_fingerprint"] == iris.fingerprint
    assert known["task"]["task_loss"] == "cross_entropy"
    assert {name: known[name] for name in ("baseline", "training", "methods")} == plan_of().as_dict()


def test_an_empty_folder_can_be_used(tmp_path, iris, plan_of):
    ComparisonFolder(tmp_path).begin(plan_of(), iris)
    assert (tmp_path / "comparison.yaml").is_file()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "mine"},
        {"config.yaml": "settings: {}\n", "loss.json": "{}"},
        {"comparison.yaml": "prices: [1, 2]\n", "trainings.jsonl": "mine"},
        {"comparison.yaml": ""},
        {"comparison.yaml": b"\xff\xfe"},
    ],
    ids=["other", "run", "other_yaml", "empty_yaml", "binary_yaml"],
)
def test_what_is_no_comparison_is_refused_even_with_force(tmp_path, files, force):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = _snapshot(tmp_path)
    message = f"'{tmp_path}' holds files that are no comparison; give another folder for `out`"
    _refused(message, ComparisonFolder, tmp_path, force)
    assert _snapshot(tmp_path) == before


@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_refused(tmp_path, force):
    (tmp_path / "a").write_text("mine")
    _refused(f"'{tmp_path / 'a'}' is a file; give a folder for `out`", ComparisonFolder, tmp_path / "a", force)
    assert _snapshot(tmp_path) == {"a": b"mine"}


def test_places_that_cannot_be_used(tmp_path, iris, plan_of):
    (tmp_path / "file").write_text("mine")
    inside = tmp_path / "file" / "c"
    _refused(
        f"'{inside}' cannot be written (Not a directory); give another `out`",
        ComparisonFolder(inside).begin,
        plan_of(),
        iris,
    )
    odd = tmp_path / "nul\0"
    _refused(
        f"'{odd}' cannot be written (embedded null byte); give another `out`",
        ComparisonFolder(odd).begin,
        plan_of(),
        iris,
    )
    long = tmp_path / ("x" * 300)
    _refused(f"'{long}' cannot be read (File name too long); give another `out`", ComparisonFolder, long)
    assert _snapshot(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it lacks task and training and methods"),
        ("task: [", "it is not complete, valid YAML"),
        ("task: {}\n", "it lacks training and methods"),
        ("task: 1\ntraining: 2\nmethods: 3\n", "it lacks task and training and methods"),
        ("- a\n", "it is not complete, valid YAML"),
        ("task: !!python/name:os.system\n", "it has a tag, 'tag:yaml.org,2002:python/name:os.system'"),
    ],
)
def test_a_damaged_document_is_replaced_by_force_only(begun, iris, plan_of, text, what):
    (begun / "comparison.yaml").write_text("format: evomal-comparison\n" + text)
    message = f"'{begun / 'comparison.yaml'}' is damaged ({what}); start anew with `force=True`, or give another `out`"
    _refused(message, ComparisonFolder, begun)
    folder = ComparisonFolder(begun, force=True)
    folder.begin(plan_of(), iris)
    folder.end()
    ComparisonFolder(begun).require_same(plan_of(), iris)


def test_force_removes_what_a_comparison_writes_and_nothing_else(copied, iris, plan_of):
    (copied / "table.md").write_text("old")
    (copied / "thesis.tex").write_text("mine")
    (copied / "figures").mkdir()
    before = _snapshot(copied)
    folder = ComparisonFolder(copied, force=True)
    folder.require_same(plan_of(steps=99), iris)  # whatever it was
    assert folder.trainings() == {}
    assert folder.finished_search(plan_of().contenders[1], 0) is None
    assert _snapshot(copied) == before
    folder.begin(plan_of(steps=99), iris)
    folder.end()
    assert sorted(path.name for path in copied.iterdir()) == [".lock", "comparison.yaml", "figures", "thesis.tex"]
    assert yaml.safe_load((copied / "comparison.yaml").read_text())["training"]["steps"] == 99


def test_contenders_seeds_rates_and_baseline_may_change(begun, iris, plan_of):
    other = plan_of(("taylorglo", "focal"), (1, 2, 3), (0.2,), baseline="focal")
    folder = ComparisonFolder(begun)
    folder.require_same(other, iris)
    folder.begin(other, iris)
    folder.end()
    # What both said of methods is kept.
    assert yaml.safe_load((begun / "comparison.yaml").read_text())["methods"] == (
        plan_of().as_dict()["methods"] | other.as_dict()["methods"]
    )
    _refused_settings(begun, iris, plan_of(("ml3",), neural_steps=4), "methods: ml3: neural: neural_steps was 3, now 4")


def _refused_settings(path, task, plan, told):
    before = _snapshot(path)
    _refused(
        f"'{path}' holds a comparison with other settings ({told}); give them again, another `out`, or `force=True` to "
        "start anew",
        ComparisonFolder(path).require_same,
        plan,
        task,
    )
    assert _snapshot(path) == before


@pytest.mark.parametrize(
    ("flat", "told"),
    [
        ({"steps": 16}, "training: steps was 15, now 16"),
        (
            {"schedule": "cosine"},
            "methods: ml3: base: schedule was 'constant', now 'cosine'; methods: taylorglo: base: schedule was "
            "'constant', now 'cosine'; training: base: schedule was 'constant', now 'cosine'",
        ),
        (
            {"population_size": 4},
            "methods: taylorglo: genetic: population_size was 3, now 4",
        ),
        (
            {"lr": 0.2, "momentum": 0.5},
            "methods: ml3: base: lr was 0.1, now 0.2; methods: ml3: base: momentum was 0.0, now 0.5; "
            "methods: taylorglo: base: lr was 0.1, now 0.2; and 3 more",
        ),
    ],
)
def test_other_settings_are_refused_with_the_difference(begun, iris, plan_of, flat, told):
    _refused_settings(begun, iris, plan_of(**flat), told)


def test_another_task_is_refused_with_the_difference(begun, iris, plan_of):
    noisy = named_task("iris", "linear", label_noise=0.2)
    told = (
        f"task: data_fingerprint was '{iris.fingerprint}', now '{noisy.fingerprint}'; task: dataset was 'iris', now "
        "'iris (label noise 0.2)'; task: task was 'iris/linear', now 'iris/linear (label noise 0.2)'"
    )
    _refused_settings(begun, noisy, plan_of(), told)
    _refused_settings(
        begun,
        named_task("iris", "linear", task_loss="focal"),
        plan_of(),
        "task: task_loss was 'cross_entropy', now 'focal'",
    )
    other = named_task("iris", "linear")
    other.test = other.test.subset(torch.arange(10))
    with pytest.raises(RunFolderError, match=r"\(task: test_fingerprint was '[0-9a-f]{16}', now '[0-9a-f]{16}'\)"):
        ComparisonFolder(begun).require_same(plan_of(), other)


def test_what_an_older_version_did_not_write_down_is_no_difference(begun, iris, plan_of):
    known = yaml.safe_load((begun / "comparison.yaml").read_text())
    del known["task"]["test_fingerprint"], known["training"]["base"]["gamma"]
    (begun / "comparison.yaml").write_text(yaml.safe_dump(known, sort_keys=False))
    ComparisonFolder(begun).require_same(plan_of(), iris)
    _refused_settings(begun, iris, plan_of(steps=16), "training: steps was 15, now 16")


def test_one_process_at_a_time(begun, iris, plan_of):
    first, second = ComparisonFolder(begun), ComparisonFolder(begun, force=True)
    first.begin(plan_of(), iris)
    before = _snapshot(begun)
    message = f"another evomal is at work in '{begun}'; wait until it ends, or give another `out`"
    _refused(message, second.begin, plan_of(steps=99), iris)
    assert _snapshot(begun) == before
    first.end()
    second.begin(plan_of(steps=99), iris)
    second.end()


def _journal(begun, plan, *runs):
    folder = ComparisonFolder(begun)
    journal = folder.journal()
    for run in runs:
        journal.write(training_record("cross_entropy", FinishedTraining(run, "abc")))
    journal.close()
    return folder


def test_trainings_come_back_as_they_were(begun, plan_of):
    good = TrainingRun(0.1, 0, 0.25, 0.3, 15, 1.5)
    diverged = TrainingRun(0.5, 1, math.nan, math.nan, 3, 0.5, "the loss is not finite at step 3")
    found = _journal(begun, plan_of(), good, diverged).trainings()
    assert found["cross_entropy", 0.1, 0] == FinishedTraining(good, "abc")
    run = found["cross_entropy", 0.5, 1].run
    assert math.isnan(run.valid)
    assert math.isnan(run.test)
    assert (run.reason, run.steps) == (diverged.reason, 3)
    assert len(found) == 2


def test_of_a_training_that_was_done_again_the_last_counts(begun, plan_of):
    first, second = (TrainingRun(0.1, 0, 0.25, test, 15, 1.5) for test in (0.3, 0.2))
    found = _journal(begun, plan_of(), first, second).trainings()
    assert found == {("cross_entropy", 0.1, 0): FinishedTraining(second, "abc")}


@pytest.mark.parametrize("line", ["{}", '{"contender": "a"}', "[]", "oops", '{"valid": []}'])
def test_a_damaged_line_is_named(begun, plan_of, line):
    folder = _journal(begun, plan_of(), TrainingRun(0.1, 0, 0.25, 0.3, 15, 1.5))
    file = begun / "trainings.jsonl"
    file.write_text(file.read_text() + line + "\n")
    _refused(f"'{file}' is damaged in line 2; delete that line to read the others", folder.trainings)


def _spoiled(**changes):
    return lambda known: json.dumps(known | changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda known: json.dumps(known)[:-5],
        lambda known: "[]",
        lambda known: "[" * 50_000,
        lambda known: json.dumps({"seed": 0}),
        _spoiled(more=1),
        _spoiled(seed=1),
        _spoiled(seconds="long"),
        _spoiled(evaluations=None),
        _spoiled(fitness="good"),
        _spoiled(formula=3),
        _spoiled(outcomes=[]),
        _spoiled(workers="two"),
    ],
)
def test_a_damaged_summary_is_no_finished_search(copied, plan_of, spoil):
    contender = plan_of().contenders[1]
    folder = ComparisonFolder(copied)
    assert folder.finished_search(contender, 0).seed == 0
    file = copied / "searches/ml3-seed0/search.json"
    file.write_text(spoil(json.loads(file.read_text())))
    assert folder.finished_search(contender, 0) is None
    assert folder.finished_search(contender, 1).seed == 1


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_search_without_its_loss_is_not_finished(copied, plan_of, content):
    file = copied / "searches/ml3-seed0/loss.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert ComparisonFolder(copied).finished_search(plan_of().contenders[1], 0) is None


def test_what_another_process_did_before_the_lock_was_taken_is_seen(tmp_path, iris, plan_of):
    late = ComparisonFolder(tmp_path / "c")  # looks while nothing is there
    first = ComparisonFolder(tmp_path / "c")
    first.begin(plan_of(), iris)
    journal = first.journal()
    journal.write(training_record("cross_entropy", FinishedTraining(TrainingRun(0.1, 0, 0.25, 0.3, 15, 1.5), None)))
    journal.close()
    first.end()
    before = _snapshot(tmp_path)
    with pytest.raises(RunFolderError, match=r"\(training: steps was 15, now 16\)"):
        late.begin(plan_of(steps=16), iris)
    assert _snapshot(tmp_path) == before
    late.begin(plan_of(), iris)  # the lock was given back
    late.end()
    assert len(late.trainings()) == 1


def test_the_lock_is_given_back_if_nothing_can_be_written(begun, iris, plan_of, monkeypatch):
    from evomal.comparison import folder as module

    def full(path, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", full)
        message = f"'{begun}' cannot be written (No space left on device); give another `out`"
        _refused(message, ComparisonFolder(begun).begin, plan_of(), iris)
    folder = ComparisonFolder(begun)
    folder.begin(plan_of(), iris)
    folder.end()


def test_force_clears_once(begun, iris, plan_of):
    folder = ComparisonFolder(begun, force=True)
    folder.begin(plan_of(), iris)
    folder.journal().close()
    folder.end()
    folder.begin(plan_of(), iris)
    folder.end()
    assert (begun / "trainings.jsonl").exists()


def test_the_command_is_written_down(tmp_path, iris, plan_of):
    folder = ComparisonFolder(tmp_path)
    folder.begin(plan_of(), iris, "evomal compare --methods ml3")
    folder.end()
    assert yaml.safe_load((tmp_path / "comparison.yaml").read_text())["command"] == "evomal compare --methods ml3"
    assert folder.origin.command == "evomal compare --methods ml3"
