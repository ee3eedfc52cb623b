"""The benchmarks run, at tiny sizes, and their tables hold what they say; how long anything takes is not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

# `benchmarks` lies beside the package, like `fuzz`, and is installed with nothing.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import __main__ as command_line
from benchmarks.generation import Watched, _table, generation
from benchmarks.memory import over_generations, shared
from benchmarks.racing import _gain, _spread, racing
from benchmarks.rejection import rejection
from benchmarks.search import search

from evomal.config import learn_settings
from evomal.executors import InProcess
from evomal.losses import HANDCRAFTED
from evomal.losses.handcrafted_entries import HandcraftedTable
from evomal.store import read_journal
from evomal.tasks import Task, named_task

SMALL = {"dataset": "iris", "model": "linear", "preset": "quick"}
FEW = "--meta-steps 2 --partial-steps 20 --rejection-steps 10 --rejection-lr 0.1 --no-finals"


def number(text):
    return float(text.replace(",", ""))


def test_a_generation_and_a_search_with_finals_by_one_worker_and_by_two(monkeypatch):
    losses = HandcraftedTable({name: HANDCRAFTED[name] for name in ("focal", "generalised_cross_entropy")})
    monkeypatch.setattr("evomal.search.finalists.HANDCRAFTED", losses)
    short = {"rejection_steps": 10, "rejection_lr": 0.1}
    monkeypatch.setattr(
        "benchmarks.generation.learn_settings", lambda preset, **flat: learn_settings(preset, **{**short, **flat})
    )
    few = {"meta_steps": 2, "partial_steps": 5, "population": 4, "generations": 1, "steps": 5, "finals_budget": 200}
    tables = generation(rounds=1, **few, **SMALL)
    assert list(tables) == ["generation", "search with finals"]
    for rows in tables.values():
        assert [row[0] for row in rows] == ["one worker", "two workers"]
        assert (rows[0][2], rows[0][4]) == ("1.00", "1.00")
        assert all(number(row[2]) > 0 and number(row[4]) > 0 for row in rows)
        assert all(0 < float(row[3].rstrip("%")) <= 100 for row in rows)


def test_rates_are_of_medians_over_rounds():
    one, two = Watched(InProcess()), Watched(InProcess())
    two.workers = 2
    one.rounds = [(10.0, 9.0, 8.0), (12.0, 12.0, 10.0), (11.0, 5.5, 9.0)]
    two.rounds = [(6.0, 9.0, 11.0), (5.0, 9.0, 9.5), (5.5, 9.9, 9.0)]
    assert _table("generation", {"one worker": one, "two workers": two}, "tiny") == [
        ["one worker", "11.0", "1.00", "90.0%", "1.00"],
        ["two workers", "5.5", "2.00", "90.0%", "1.06"],
    ]


def test_two_workers_with_other_outcomes_are_no_measurement(monkeypatch):
    module = sys.modules["benchmarks.generation"]
    evaluated = module._evaluated

    def differing(executor, tasks, settings):
        return [*evaluated(executor, tasks, settings), executor.workers]

    monkeypatch.setattr(module, "_evaluated", differing)
    with pytest.raises(SystemExit, match="seed 0: two workers came to other outcomes than one"):
        generation(meta_steps=1, partial_steps=1, population=2, rounds=1, only="generation", **SMALL)


def test_a_search_by_the_real_command(tmp_path):
    record, out = tmp_path / "record.jsonl", tmp_path / "run"
    rows = dict(search(generations=2, population=4, extra=FEW, workers=1, out=out, record=record, **SMALL))
    (line,) = map(json.loads, record.read_text().splitlines())
    records = read_journal(out)
    assert rows["candidates"].startswith("8 of 8: ")
    assert sum(line["outcomes"].values()) == len(records) == 8
    assert line["stages"]["tune"] == pytest.approx(sum(r["seconds"].get("tune", 0.0) for r in records), abs=0.01)
    assert line["plain_steps"] == pytest.approx(line["wall"] / (sum(line["plain_step"]) / 2))
    assert number(rows["wall ÷ plain step"]) == pytest.approx(line["plain_steps"], abs=1)
    assert line["cpu"] > 0
    assert line["ended"] == rows["ended by"] == "generations"
    assert rows["digest of the journal"] == line["digest"]


def test_a_search_that_fails_is_no_measurement(capfd):
    with pytest.raises(SystemExit, match="ended with exit code 2"):
        search(extra="--momentum -1", **SMALL)
    assert "momentum" in capfd.readouterr().err


def test_memory_over_generations():
    few = {
        "generations": 5,
        "population_size": 4,
        "meta_steps": 1,
        "partial_steps": 5,
        "rejection_steps": 5,
        "rejection_lr": 0.1,
        "finals": False,
    }
    rows = over_generations(named_task("iris", "linear"), learn_settings("quick", **few))
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert all(number(row[1]) > 50 for row in rows)
    assert rows[-1][2] == "+0.0"


def test_workers_share_their_data():
    x = torch.randn(150_000, 64, generator=torch.Generator().manual_seed(0))  # 37 MiB
    y = torch.arange(len(x)) % 2
    rows = shared(Task(lambda: nn.Linear(64, 2), (x, y), (x[:100], y[:100]), name="large"), meta_steps=0)
    by_name = {row[0]: row[1:] for row in rows}
    assert list(by_name) == ["mapped, as evomal does", "a copy in each", "the data themselves"]
    data = number(by_name["the data themselves"][0])
    assert data == pytest.approx((64 * 4 + 8) * 150_100 / 2**20, abs=0.1)
    mapped, copied = (number(by_name[name][2]) for name in ("mapped, as evomal does", "a copy in each"))
    assert copied - mapped > 0.4 * data  # other processes' share of libraries comes and goes between the two


def test_racing_goes_on_where_it_was_stopped(tmp_path, monkeypatch, fork):
    def run(full, **options):  # nice -n 19 python -m evomal.cli …
        ended = fork(command=full[full.index("evomal.cli") + 1 :])
        return subprocess.CompletedProcess(full, ended.code, ended.out, ended.err)

    monkeypatch.setattr(subprocess, "run", run)
    given = {**SMALL, "generations": 2, "population": 4, "extra": FEW, "steps": 20, "seeds": 1, "out": tmp_path / "out"}
    rows = racing(**given)
    assert [row[0] for row in rows] == ["without racing", "with racing", "gain by racing [95 %]"]
    assert rows[2][1:3] == ["no test", "no test"]  # of one seed
    config = (tmp_path / "out/seed0-racing/config.yaml").read_text()
    assert "racing: true" in config
    assert "racing: true" not in (tmp_path / "out/seed0-plain/config.yaml").read_text()
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda full, **options: asked.append(full))  # what is finished is not run
    assert [row[:4] for row in racing(**given)] == [row[:4] for row in rows]
    assert asked == []
    with pytest.raises(SystemExit, match="holds runs with other settings"):
        racing(**given | {"generations": 3})
    (tmp_path / "out/seed0-plain.json").unlink()
    with pytest.raises(AttributeError):  # nothing came of the command
        racing(**given)
    assert asked[0][-4:] == ["--resume", str(tmp_path / "out/seed0-plain"), "--quiet", "--json"]


def test_verdicts_part_of_the_way_and_at_the_end():
    rows = rejection(count=8, meta_steps=4, parts="0 0.5 1", **SMALL)
    assert [row[0] for row in rows] == [f"{step} of 4 meta steps" for step in (0, 2, 4)]
    assert rows[-1][1:4] == ["100%", "0", "0"]
    assert 0 < int(rows[0][4]) < 8


def test_lanes_against_one_at_a_time(monkeypatch):
    module = command_line.import_module("benchmarks.lanes")
    asked = []

    def seconds(call, steps, device):  # of a clock that tells 3 ms a step, and 40 ms for what happens once
        call(steps)
        asked.append(steps)
        return 0.04 + 0.003 * steps

    monkeypatch.setattr(module, "_seconds", seconds)
    rows = module.lanes(steps=1, most=2, rounds=1, subjects="digits/mlp")
    assert [row[:3] for row in rows] == [
        ["digits/mlp", step, count] for count in ("1", "2") for step in ("training", "meta")
    ]
    assert [row[3:] for row in rows] == 2 * [["3.00", "3.00", "1.00"]] + 2 * [["1.50", "1.50", "1.00"]]
    assert set(asked) == {5, 6}


def test_parts_of_the_gpu_in_a_process_of_their_own(tmp_path):
    module = command_line.import_module("benchmarks.gpu.run")
    found = module.gpu(device="cpu", parts="memory", out=tmp_path, limit=100)
    assert found["parts"]["memory"]["status"] == "done"
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["memory"]["found"] == {"dry run": 3}
    assert "## memory: done" in (tmp_path / "gpu.md").read_text()
    with pytest.raises(SystemExit, match="unknown part 'nothing'; known: card, base_step"):
        module.gpu(parts="nothing")


def test_a_part_that_fails_or_takes_too_long_leaves_the_others(tmp_path):
    module = command_line.import_module("benchmarks.gpu.run")
    worker, noted = module.Worker(module.Given("cpu", True)), []
    try:
        parts = {}
        for name, seconds in (("nothing", 60.0), ("base_step", 3.5), ("memory", 60.0), ("card", 1.0)):
            parts[name] = {"found": {}}
            worker.run(name, seconds, parts[name], lambda: noted.append(1))
    finally:
        worker.end()
    assert [part["status"] for part in parts.values()] == ["failed", "out of time", "done", "no time left"]
    assert "AttributeError" in parts["nothing"]["error"]
    assert parts["memory"]["found"] == {"dry run": 3}
    text = module.markdown({"given": "x", "parts": parts})
    assert "AttributeError" in text
    assert "| dry run | 3 |" in text


def test_a_gain_is_paired_over_seeds():
    plain, other = [0.30, 0.28, 0.33], [0.21, 0.20, 0.22]
    assert _gain(plain, other) == "+0.0933 [+0.0554, +0.1313], p 0.009"
    assert _gain([*plain, 0.5], [*other, None]) == "+0.0933 [+0.0554, +0.1313], p 0.009 (1 left out)"
    assert _gain([0.5, 0.25], [0.25, 0.0]) == "+0.2500, the same at every seed"
    assert _spread([0.25, 0.75, None]) == "0.5000 ± 0.3536 (1 without)"


@pytest.mark.parametrize("name", command_line.MODULES)
def test_every_benchmark_has_its_options(name):
    function = command_line.benchmark(name)
    assert function.__name__ == name
    command_line.options(function, [])


def test_options_are_arguments():
    function = command_line.benchmark("search")
    given = command_line.options(
        function, ["--racing", "--max-time", "2h", "--generations", "5", "--record", "a.jsonl"]
    )
    assert given["racing"] is True
    assert given["generations"] == 5
    assert given["max_time"] == "2h"
    assert given["record"] == Path("a.jsonl")
    assert given["out"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nothing"], "unknown benchmark 'nothing'; known: single_call"), (["--seed", "1"], "belong to one benchmark")],
)
def test_what_the_command_line_refuses(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit, match=message):
        command_line.main()
