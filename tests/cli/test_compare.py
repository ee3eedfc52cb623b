import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

import evomal

SEARCH = [
    *("--population", "3", "--generations", "2", "--neural-steps", "3", "--meta-steps", "1", "--partial-steps", "8"),
    *(
        "--rejection-steps",
        "6",
        "--rejection-lr",
        "0.1",
        "--rejection-threshold",
        "0.05",
        "--batch-size",
        "32",
        "--lr",
        "0.1",
    ),
    "--no-finals",
]
IRIS = ["compare", "--dataset", "iris", "--model", "linear", *SEARCH]
SMALL = [*IRIS, "--methods", "ml3", "taylorglo", "--seeds", "0", "1", "--lr-grid", "0.1", "0.5", "--steps", "15"]
GONE_ON = "stopped by Ctrl-C; what is finished is in {}, and the same command goes on from there"
REMARKS = [
    "ml3 does not use population_size, generations, meta_steps, rejection_steps, rejection_lr, rejection_threshold",
    "setting 'meta_steps': taylorglo always has 0, so 1 does not hold for it",
    "taylorglo does not use neural_steps",
]
UNLIKE = ("seconds", "workers", "command")
TASKS = """
import os
import time
from pathlib import Path

import torch
from torch import nn

import evomal

MAIN, HERE = os.getpid(), Path.cwd()

class Fragile(nn.Linear):
    # In a worker all but the first few end their process, once something is finished.

    def __init__(self, *sizes):
        super().__init__(*sizes)
        if os.getpid() != MAIN:
            (HERE / f"made-{os.getpid()}-{time.monotonic_ns()}").touch()
        self.number = len(list(HERE.glob("made-*")))

    def forward(self, x):
        if os.getpid() != MAIN and self.number > 4 and (HERE / "die").exists():
            done = HERE / "c/trainings.jsonl"
            while not done.exists() or done.read_text().count("\\n") < 2:
                time.sleep(0.01)
            os._exit(9)
        return super().forward(x)

def data():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    return 2 * torch.randn(3, 4, generator=draw)[y] + torch.randn(90, 4, generator=draw), y

def fragile():
    return evomal.Task(lambda: Fragile(4, 3), data(), test=data(), name="own", model_name="fragile")

def rooted(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets).sqrt()

def own_loss():
    return evomal.Task(
        lambda: nn.Linear(4, 3), data(), test=data(), task_loss=rooted, task_type="classification", name="own"
    )
"""


def timeless(value):
    """Plain values without times, and without how many workers and which command there were."""
    if isinstance(value, dict):
        return {name: timeless(entry) for name, entry in value.items() if name not in UNLIKE}
    if isinstance(value, list):
        return [timeless(entry) for entry in value if "on the machine at a time" not in str(entry)]
    return value


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """The folder of a finished comparison; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("compared") / "c"
    assert evomal.cli.main([*SMALL, "--out", str(folder), "--quiet"]) == 0
    return folder


def document(folder):
    return json.loads((folder / "table.json").read_text())


def test_progress_then_the_table_then_where_it_is(run, compared, tmp_path):
    ended = run(*SMALL)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[:4] == [
        "to be done: 4 of 4 searches (at most 14 partial trainings), 12 of 12 trainings of 15 steps",
        *REMARKS,
    ]
    searches = [line for line in lines if re.match(r"(ml3|taylorglo)  seed [01]: fitness [01]\.\d{4}  \(", line)]
    assert [line.split(":")[0] for line in searches] == [
        "taylorglo  seed 0", "taylorglo  seed 1", "ml3  seed 0", "ml3  seed 1",
    ]  # fmt: skip
    trainings = [
        line for line in lines if re.search(r"  seed [01]  lr 0\.[15]: validation [01]\.\d+, test [01]\.", line)
    ]
    assert len(trainings) == 12
    folder = tmp_path / "runs/compare-iris-linear"
    assert timeless(document(folder)) == timeless(document(compared))
    command = f"evomal {' '.join(SMALL)}"
    assert document(folder)["command"] == command
    assert yaml.safe_load((folder / "comparison.yaml").read_text())["command"] == command
    assert lines[-1] == "written to runs/compare-iris-linear/table.md, table.csv and table.json"
    table = lines[lines.index(trainings[-1]) + 1 :]
    assert [line.split()[0] for line in table[:4]] == ["loss", "cross_entropy", "ml3", "taylorglo"]
    assert table[4] == "a paired t over 2 seeds detects only large effects; five or more are better"


def test_the_three_files_say_the_same(run, compared):
    told = document(compared)
    by_name = {contender["name"]: contender for contender in told["contenders"]}
    with (compared / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["loss"], row["rates"]) for row in rows] == [
        (name, rates) for name in ("cross_entropy", "ml3", "taylorglo") for rates in ("fixed", "best")
    ]
    markdown = (compared / "table.md").read_text()
    for row in rows:
        cell = by_name[row["loss"]][row["rates"]]
        for name in ("lr", "mean", "sd"):
            assert float(row[name]) == cell[name]
        for name, key in (("gain", "gain"), ("gain_low", "low"), ("d_z", "effect"), ("p_holm", "p_holm")):
            number = cell["test"] and cell["test"][key]
            assert row[name] == ("" if number is None else str(number))
        assert f"{cell['mean']:.4f} ± {cell['sd']:.4f}" in markdown
    searches = by_name["taylorglo"]["searches"]
    assert float(rows[-1]["evaluations"]) == sum(search["evaluations"] for search in searches) / 2
    assert all((compared / search["loss_file"]).is_file() for search in searches)
    assert told["notes"][0] in markdown


def test_json_is_one_document_and_nothing_is_done_twice(run, compared):
    ended = run(*SMALL, "--out", compared, "--json")
    assert json.loads(ended.out) == document(compared)
    assert ended.err.splitlines() == ["to be done: nothing, everything is finished", *REMARKS]
    assert run(*SMALL, "--out", compared, "--json", "--quiet").err == ""


def test_dry_run_says_the_plan_and_writes_nothing(run, compared, tmp_path):
    ended = run(*SMALL, "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert [re.split(r"  +", line) for line in ended.out.splitlines()] == [
        ["loss", "searches left", "partial trainings each, at most", "trainings left"],
        ["cross_entropy (baseline)", "4 of 4"],
        ["ml3", "2 of 2", "1", "4 of 4"],
        ["taylorglo", "2 of 2", "6", "4 of 4"],
        ["to be done: 4 of 4 searches (at most 14 partial trainings), 12 of 12 trainings of 15 steps"],
        *([remark] for remark in REMARKS),
    ]
    assert list(tmp_path.iterdir()) == []
    # Of a comparison that is begun, what is left; and what would be refused, is.
    more = [*SMALL, "--methods", "focal", "--seeds", "2", "--out", compared, "--dry-run"]
    plan = json.loads(run(*more, "--json").out)
    left = {row["name"]: (row["searches_left"], row["trainings_left"]) for row in plan["contenders"]}
    assert left == {"cross_entropy": (0, 2), "ml3": (1, 2), "taylorglo": (1, 2), "focal": (0, 6)}
    assert plan["remarks"] == REMARKS
    refused = run(*more, "--steps", "99")
    assert refused.code == 2
    assert "training: steps was 15, now 99" in refused.err
    assert document(compared)["seeds"] == [0, 1]


def _refused(run, folder, *arguments):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("evomal: error: ")
    assert ended.err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return ended.err.removeprefix("evomal: error: ").rstrip("\n")


TWO = ["--seeds", "0", "1"]


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([*TWO], "missing option '--methods'"),
        (["--methods", "ml3"], "missing option '--seeds'"),
        (["--methods", "evomel", *TWO], "unknown method or loss 'evomel'; did you mean 'evomal'? "),
        (["--methods", "evomal+scal", *TWO], "unknown variant 'scal'; did you mean 'scale-control'? "),
        (["--methods", "ml3", "ml3", *TWO], "'ml3' is there twice among the methods; give each once"),
        (["--methods", "ml3", "--seeds", "0"], "a paired test over seeds needs at least 2 of them, "),
        (["--methods", "ml3", "--seeds", "0", "0"], "a paired test over seeds needs at least 2 of them, "),
        (["--methods", "ml3", "--seeds", "0", "-1"], "invalid value for '--seeds': "),
        (["--methods", "glo", *TWO, "--generations", "0"], "setting 'generations': input should be greater "),
        (["--methods", "glo", *TWO, "--population", "2"], "setting 'population_size': method glo needs 3 members or "),
        (["--methods", "glo", *TWO, "--population", "0"], "setting 'population_size': input should be greater "),
        (["--methods", "ml3", *TWO, "--steps", "0"], "setting 'steps': input should be greater "),
        (["--methods", "ml3", *TWO, "--lr-grid", "nan"], "setting 'lr_grid': nan is no learning rate; give "),
        (["--methods", "ml3", *TWO, "--lr-grid", "0.1", "-2"], "setting 'lr_grid': -2.0 is no learning rate; "),
        (["--methods", "mse", *TWO], "'mse' cannot be compared here: loss 'mse' is for regression, but task "),
        (["--methods", "no.json", *TWO], "'no.json' cannot be compared here: loss file 'no.json': it cannot be "),
        (["--methods", "ml3", *TWO, "--baseline", "cross"], "unknown method or loss 'cross'; did you mean 'cross_"),
        (["--methods", "ml3", *TWO, "--workers", "0"], "invalid value for '--workers': "),
        (["--methods", "ml3", *TWO, "--out", "file"], "'file' is a file; give a folder for --out"),
        (["--methods", "ml3", *TWO, "--out", "file/c"], "'file/c' cannot be written (Not a directory); "),
        (["--methods", "ml3", *TWO, "--out", ".", "--force"], "'.' holds files that are no comparison; give another "),
        (["--methods", "taylorglo", *TWO, "--rejection-threshold", "50"], "'taylorglo' cannot be compared here: the "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(run, tmp_path, arguments, start):
    (tmp_path / "file").write_text("mine")
    assert _refused(run, tmp_path, *IRIS, "--steps", "9", *arguments).startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_other_settings_are_refused_and_force_starts_anew(run, tmp_path):
    quick = [*IRIS, "--methods", "focal", *TWO, "--out", "c", "--quiet"]
    assert run(*quick, "--steps", 5).code == 0
    assert _refused(run, tmp_path, *quick, "--steps", 6) == (
        "'c' holds a comparison with other settings (training: steps was 5, now 6); give them again, another --out, or "
        "--force to start anew"
    )
    assert run(*quick, "--steps", 6, "--force").code == 0
    assert yaml.safe_load((tmp_path / "c/comparison.yaml").read_text())["training"]["steps"] == 6
    assert len((tmp_path / "c/trainings.jsonl").read_text().splitlines()) == 4


def test_a_task_loss_of_the_users_own_is_the_baseline_in_workers_too(run, tmp_path):
    (tmp_path / "my.py").write_text(TASKS)
    command = ["compare", "--task", "my.py:own_loss", "--methods", "taylorglo", "cross_entropy", *TWO, *SEARCH]
    numbers = []
    for workers in (1, 2):
        ended = run(*command, "--steps", 5, "--no-rejection", "--workers", workers, "--json", "--out", f"w{workers}")
        assert ended.code == 0
        numbers.append(json.loads(ended.out))
    assert numbers[0]["baseline"] == "rooted"
    assert [contender["name"] for contender in numbers[0]["contenders"]] == ["rooted", "taylorglo", "cross_entropy"]
    assert timeless(numbers[0]) == timeless(numbers[1])


def test_a_killed_worker_is_one_line_and_what_is_finished_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr("evomal.executors.processes.BREAKS", 1)  # starting workers anew is what the time goes into
    (tmp_path / "my.py").write_text(TASKS)
    (tmp_path / "die").touch()
    command = ["compare", "--task", "my.py:fragile", "--methods", "focal", *TWO, "--lr-grid", "0.1", "0.2", "0.3"]
    ended = run(*command, "--steps", 200, "--workers", 2, "--out", "c")
    assert ended.code == 1
    assert ended.err == (
        "evomal: error: one of 2 worker processes was killed 1 times in a row, perhaps for want of memory; what is "
        "finished is kept, go on with fewer workers\n"
    )
    kept = len((tmp_path / "c/trainings.jsonl").read_text().splitlines())
    assert 2 <= kept < 16
    (tmp_path / "die").unlink()
    again = run(*command, "--steps", 200, "--out", "c")
    assert again.code == 0
    assert again.out.splitlines()[0] == (
        f"to be done: 0 of 0 searches (at most 0 partial trainings), {16 - kept} of 16 trainings of 200 steps"
    )


def _group(leader):
    """Living processes of a process group."""
    told = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in told.splitlines()]
    return [pair for pair in pairs if pair[0] == str(leader) and not pair[1].startswith("Z")]


def _wait_for(condition, seconds=120.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


LONG = [*IRIS, "--methods", "taylorglo", "--seeds", "0", "1", "--lr-grid", "0.1", "0.5", "--steps", "500"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "c"
    assert evomal.cli.main([*LONG, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_ctrl_c_with_workers_and_going_on(run, tmp_path, uninterrupted, fork):
    files = [tmp_path / name for name in ("out", "err")]
    process = fork.start([*LONG, "--workers", "2", "--out", "c"], tmp_path, *files, {})
    file = tmp_path / "c/trainings.jsonl"
    try:
        assert _wait_for(lambda: file.exists() and len(file.read_text().splitlines()) >= 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does; tests/cli/test_interrupt.py tells one process
        process.wait(120)
        assert _wait_for(lambda: not _group(process.pid))
    finally:
        process.kill()
    assert process.returncode == 130
    assert files[1].read_text() == f"evomal: {GONE_ON.format('c')}\n"
    assert not (tmp_path / "c/table.json").exists()
    done = len(file.read_text().splitlines())
    assert 2 <= done < 8
    again = run(*LONG, "--out", "c")
    assert again.out.splitlines()[0] == (
        f"to be done: 0 of 2 searches (at most 0 partial trainings), {8 - done} of 8 trainings of 500 steps"
    )
    assert timeless(document(tmp_path / "c")) == timeless(document(uninterrupted))


def test_ctrl_c_in_a_search_keeps_the_searches_before_it(run, tmp_path, monkeypatch):
    from evomal.evaluation.evaluator import Evaluator

    true_evaluate, calls = Evaluator.evaluate, []

    def evaluate(self, members, done):
        calls.append(members)
        if len(calls) == 4:  # the second generation of the second search
            raise KeyboardInterrupt
        return true_evaluate(self, members, done)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    ended = run(*SMALL, "--out", "c", "--quiet")
    assert (ended.code, ended.out, ended.err) == (130, "", f"evomal: {GONE_ON.format('c')}\n")
    assert [path.parent.name for path in Path("c").rglob("search.json")] == ["taylorglo-seed0"]
    monkeypatch.undo()


def test_help_names_the_methods_and_the_variants(run):
    shown = " ".join(run("compare", "--help").out.split())
    for part in ("evomal+scale-control", "loss files or run folders", "goes on after it was stopped", "--dry-run"):
        assert part in shown
