"""A search by the real command, its start-up included, in units of plain training steps; target 3."""

import hashlib
import json
import os
import resource
import shlex
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import command, machine, plain_step_seconds, show
from evomal.config import learn_settings
from evomal.store import comparable, read_journal
from evomal.tasks import named_task

TARGET = 400_000  # plain steps for 25 × 50 on two cores; half of it with racing


def search(
    generations: int = 50,
    population: int = 25,
    workers: int = 2,
    racing: bool = False,
    seed: int = 0,
    max_time: str | None = None,
    dataset: str = "fashion-mnist",
    model: str = "lenet5",
    preset: str = "paper-mnist",
    extra: str = "",
    out: Path | None = None,
    record: Path | None = None,
) -> list[list[str]]:
    """Run `evomal learn` once, and time a plain one-thread step before and after it.

    Further options of the command go into `extra`, as one text. The run folder is kept if `out` names it. Of two runs
    whose journals have the same digest every candidate is equal to the bit, so the digest of one worker must be that of
    two. `record` is a file to which all numbers are added as a line of JSON.
    """
    task, base = named_task(dataset, model), learn_settings(preset).base
    arguments = ["learn", "--dataset", dataset, "--model", model, "--preset", preset, "--seed", str(seed)]
    arguments += ["--generations", str(generations), "--population", str(population), "--workers", str(workers)]
    arguments += ["--racing"] * racing + (["--max-time", max_time] if max_time else []) + shlex.split(extra)
    load = os.getloadavg()[0]  # of others: nothing of ours has run yet
    before = plain_step_seconds(task, base)
    with _folder(out) as folder:
        found = _timed(command(*arguments, "--out", str(folder), "--quiet", "--json"))
        records = read_journal(folder)
    after = plain_step_seconds(task, base)
    found |= {
        "command": "evomal " + shlex.join(arguments),
        "machine": machine(),
        "load_before": load,
        "plain_step": [before, after],
        "plain_steps": found["wall"] / ((before + after) / 2),
        "candidates": len(records),
        "of": generations * population,
        "outcomes": dict(Counter(each["outcome"] for each in records).most_common()),
        "stages": stage_seconds(records),
        "digest": hashlib.sha256(json.dumps(comparable(records), sort_keys=True).encode()).hexdigest()[:16],
    }
    if record is not None:
        with record.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(found) + "\n")
    rows = _rows(found)
    target = TARGET // 2 if racing else TARGET
    print(found["command"])
    show(f"One search (target for 50 × 25: ≤ {target:,} plain steps)", ["start-up included", ""], rows)
    return rows


def stage_seconds(records: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of each stage over all candidates of a journal."""
    total: Counter[str] = Counter()
    for each in records:
        total.update(each["seconds"])
    return {stage: round(seconds, 2) for stage, seconds in total.items()}


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Where the run lies: a folder to keep, or one that goes."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "run"


def _timed(arguments: list[str]) -> dict[str, Any]:
    """Wall time, CPU time of the command and all its workers, and what it says of its result."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(f"evomal learn ended with exit code {ended.returncode}; its message is above")
    told = json.loads(ended.stdout)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {"wall": wall, "cpu": cpu, **{name: told[name] for name in ("fitness", "baseline", "ended", "formula")}}


def _rows(found: dict[str, Any]) -> list[list[str]]:
    before, after = found["plain_step"]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
    return [
        ["wall seconds", f"{found['wall']:.1f}"],
        ["CPU seconds of all processes", f"{found['cpu']:.1f}"],
        ["plain step before and after, ms", f"{1e3 * before:.3f}, {1e3 * after:.3f}"],
        ["wall ÷ plain step", f"{found['plain_steps']:,.0f}"],
        ["candidates", f"{found['candidates']} of {found['of']}: {counts}"],
        ["seconds of each stage", ", ".join(f"{stage} {value:.0f}" for stage, value in found["stages"].items())],
        ["fitness, and the task loss's", ", ".join(map(_number, (found["fitness"], found["baseline"])))],
        ["ended by", found["ended"]],
        ["digest of the journal", found["digest"]],
    ]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
