"""What TensorBoard itself reads of a search; the journals of the run are the oracle."""

import json
import sys

import pytest

from evomal.cli import main
from evomal.report.tensorboard import TensorBoard
from evomal.search import Watcher, Watchers
from evomal.store import read_journal
from helpers import fast

FINALS = {"finals": True, "steps": 20, "folds": 3, "retests": 1, "finals_budget": 700, "finalists": 2}


def read(folder):
    """All scalars by tag as (step, value), and the steps and texts of the formula."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    texts = [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors("formula/text_summary")]
    return scalars, texts


class Stop(Watcher):
    def generation(self, number, best):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was stopped after its first generation and went on to its finals: result, folder, what was logged."""
    pytest.importorskip("tensorboard")
    out = tmp_path_factory.mktemp("tensorboard") / "a"
    settings = fast.settings(generations=2, **FINALS)
    fast.learn(out, settings, watcher=Watchers(TensorBoard(out / "tensorboard"), Stop()))
    result = fast.learn(out, settings, watcher=Watchers(TensorBoard(out / "tensorboard")), resume=True)
    return result, out, *read(out / "tensorboard")


def test_each_candidate_is_there_once(run):
    result, out, scalars, texts = run
    lines = list(read_journal(out))
    trained = sorted(line["fitness"] for line in lines if line["outcome"] == "trained")
    assert sorted(value for _, value in scalars["fitness/candidate"]) == pytest.approx(trained)
    steps = [step for step, _ in scalars["fitness/candidate"]]
    assert steps == sorted(set(steps))
    assert scalars["fitness/best"][-1] == (len(lines), pytest.approx(min(trained)))
    assert [value for _, value in scalars["fitness/task loss"]] == [pytest.approx(result.baseline)] * 2
    for outcome in {line["outcome"] for line in lines}:
        count = sum(line["outcome"] == outcome for line in lines)
        assert scalars[f"outcomes/{outcome}"][-1] == (len(lines), count)
    assert texts[-1][1] in {f"`{member.short}`" for member in result.members if member.own_fitness == min(trained)}


def test_finals_are_there_by_split(run):
    _, out, scalars, _ = run
    lines = [json.loads(line) for line in (out / "finals.jsonl").read_text().splitlines()]
    full = sorted((line["split"], line["value"]) for line in lines if line["steps"] == FINALS["steps"])
    assert 10 < len(full) < len(lines)
    points = sorted(point for tag, points in scalars.items() if tag.startswith("finals/") for point in points)
    assert points == [(split, pytest.approx(value)) for split, value in full]
    assert any(tag.startswith("finals/cross_entropy at 0.") for tag in scalars)


def test_the_command_line_logs_into_the_run_folder(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    small = "--preset quick --generations 1 --population 3 --meta-steps 1 --partial-steps 5 --rejection-steps 9"
    command = ["learn", "--dataset", "iris", "--model", "linear", *small.split(), "--rejection-threshold", "0.0"]
    assert main([*command, "--out", str(tmp_path / "a"), "--tensorboard", "--quiet"]) == 0
    more = ["--override", "--generations", "2", "--quiet"]
    assert main(["learn", "--resume", str(tmp_path / "a"), *more]) == 0  # goes on logging by itself
    scalars, _ = read(tmp_path / "a" / "tensorboard")
    assert [step for step, _ in scalars["fitness/task loss"]] == [3, 6]
    assert main([*command, "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert not (tmp_path / "b" / "tensorboard").exists()


def test_where_nothing_can_be_written_the_search_goes_on(tmp_path, caplog):
    pytest.importorskip("tensorboard")
    (tmp_path / "logs").write_text("a file")
    result = fast.learn(None, fast.settings(generations=1), watcher=TensorBoard(tmp_path / "logs"))
    assert result.ended == "generations"
    (record,) = [record for record in caplog.records if "TensorBoard" in record.message]
    assert record.message == f"logs for TensorBoard in '{tmp_path / 'logs'}' end here (File exists); the search goes on"


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    for name in ("tensorboard.compat.proto.event_pb2", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    command = ["learn", "--dataset", "iris", "--model", "linear", "--tensorboard", "--out", str(tmp_path / "a")]
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "evomal: error: logs for TensorBoard need the package tensorboard; run pip install 'evomal[tensorboard]'\n"
    )
    assert not (tmp_path / "a").exists()
