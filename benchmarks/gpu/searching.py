"""A search by the real command, and what single stages of it cost."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.given import BASE, Given, Note, batches
from benchmarks.measuring import command
from benchmarks.search import stage_seconds
from evomal.config import learn_settings
from evomal.evaluation.batched_stages import judge_in_lanes, train_in_lanes, tune_in_lanes
from evomal.evaluation.filters import make_probe
from evomal.evaluation.lane_count import choose_lanes
from evomal.evaluation.probing import probed
from evomal.evaluation.stages import train_stage
from evomal.losses.batched_families import stack
from evomal.search.methods import EvoMAL
from evomal.store import read_journal
from evomal.tasks import TaskSet


def search(given: Given, note: Note) -> None:
    """25 × 2 candidates by `evomal learn`, and what 25 × 50 would take at that rate."""
    options: list[str] = []
    if given.quick:
        few = ("4", "10", "20") if not given.cuda else ("50", "100", "200")
        options += ["--meta-steps", few[0], "--partial-steps", few[1], "--rejection-steps", few[2]]
        options += ["--rejection-threshold", "0"]
    wall, evaluated = _searched(given, note, 2, options, 42 if given.quick and given.cuda else 115)
    note("50 generations at this rate, seconds", wall - evaluated + 25 * evaluated)


def whole_search(given: Given, note: Note) -> None:
    """25 × 50 candidates by `evomal learn`, as the paper's; target: 180 s."""
    generations = 50 if given.cuda else 2
    _searched(given, note, generations, [] if given.cuda else ["--meta-steps", "2", "--partial-steps", "2"], 195)


def _searched(given: Given, note: Note, generations: int, options: list[str], longest: float) -> tuple[float, float]:
    """Run the command; gives its seconds, and those of all stages."""
    given.task()
    arguments = ["learn", "--dataset", "fashion-mnist", "--model", "lenet5", "--preset", "paper-mnist"]
    arguments += ["--device", given.device, "--generations", str(generations)]
    arguments += ["--population", str(given.many), "--lanes", str(given.many), *options]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        call = command(*arguments, "--out", str(out), "--quiet", "--json")
        note("command", " ".join(call[1:]))
        start = time.perf_counter()
        try:
            ended = subprocess.run(call, capture_output=True, text=True, timeout=longest, env=os.environ)
        except subprocess.TimeoutExpired:
            note("out of time after candidates", len(read_journal(out)))
            raise
        wall = time.perf_counter() - start
        note("wall seconds", wall)
        if ended.returncode:
            raise RuntimeError(f"exit code {ended.returncode}: {ended.stderr[-3000:]}")
        told = json.loads(ended.stdout)
        records = read_journal(out)
    stages = stage_seconds(records)
    note("stages, seconds", stages)
    note("outcomes", _counted(records))
    note("fitness, baseline", [told["fitness"], told["baseline"]])
    evaluated = sum(stages.values())
    note("outside the stages (imports, data, probes), seconds", wall - evaluated)
    if ended.stderr.strip():
        note("standard error", ended.stderr[-1500:])
    return wall, evaluated


def _counted(records: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        found[record["outcome"]] = found.get(record["outcome"], 0) + 1
    return found


def where(given: Given, note: Note) -> None:
    """Stages of one generation in this process, twice (the second time libraries are warm), and single costs."""
    task = given.task()
    tasks, count = TaskSet.of(task), given.many
    few: dict[str, Any] = (
        {} if not given.quick else {"meta_steps": 50 if given.cuda else 4, "partial_steps": 100 if given.cuda else 5}
    )
    few |= {"population_size": count, "lanes": count, "rejection_steps": 1000 if given.cuda else 20}
    settings = learn_settings("paper-mnist", **few)
    start = time.perf_counter()
    fingerprint = task.fingerprint
    note(f"fingerprint {fingerprint}, seconds", time.perf_counter() - start)
    note("all that is probed before a search, seconds", given.seconds(lambda: probed(tasks, settings)))
    probe: list[Any] = []
    note("a probe for the filters, seconds", given.seconds(lambda: probe.append(make_probe(task, 100, 0))))
    note("a fresh network, ms", 1e3 * given.per_step(lambda n: task.make_model(n), 20))
    genomes = [each.genome for each in EvoMAL(settings).engine(tasks, probe).ask()]
    for turn in ("first", "second"):
        done: list[Any] = []
        seconds = given.seconds(lambda done=done: done.extend(tune_in_lanes(tasks, settings, genomes)))
        note(f"{turn}: tune {count} candidates, {settings.tuning.meta_steps} meta steps, seconds", seconds)
        losses = [loss for loss, outcome in done if outcome.reason is None]
        seconds = given.seconds(lambda losses=losses: judge_in_lanes(tasks, settings, probe, losses))
        note(f"{turn}: filters of {len(losses)}, seconds", seconds)
        seconds = given.seconds(lambda losses=losses: train_in_lanes(tasks, settings, losses))
        note(f"{turn}: train {len(losses)}, {settings.partial_steps} steps, and the metric, seconds", seconds)
    note("task loss alone, seconds", given.seconds(lambda: train_stage(tasks, settings, None)))
    trained = _trained(given, losses)
    trained.evaluate(task.valid, task.metric)
    note("metric of all lanes, ms", 1e3 * given.seconds(lambda: trained.evaluate(task.valid, task.metric)))
    if given.cuda:
        free = learn_settings("paper-mnist")
        note("choosing lanes, seconds", given.seconds(lambda: note("lanes chosen", choose_lanes(tasks, free))))
    stacked = stack(losses)
    outputs = torch.randn(len(losses), BASE.batch_size, 10, device=given.place)
    y, phi = task.train.y[: BASE.batch_size], stacked.coefficients()
    note("formulas: values and slopes, eager, ms", 1e3 * given.per_step(lambda n: stacked.slopes(outputs, y, phi)))
    note("a whole epoch's order, ms", 1e3 * given.per_step(lambda n: torch.randperm(len(task.train)), 5))


def _trained(given: Given, losses: list[Any]) -> Any:
    from evomal.training.batched_fit import fit_lanes

    task = given.task()
    return fit_lanes(task.make_model(0), stack(losses), task.train, batches(task), 5, BASE, 0)
