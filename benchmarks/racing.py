"""What `--racing` does to the fitness that a search ends with, over seeds; target 3."""

import json
import os
import shlex
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import command, plain_step_seconds, show
from benchmarks.search import stage_seconds
from evomal.config import learn_settings
from evomal.evaluation.statistics import paired_test
from evomal.foundation.files import write_atomically
from evomal.store import read_journal
from evomal.tasks import named_task

SIDES = {"plain": "without racing", "racing": "with racing"}
RATES = (0.3, 1.0, 3.0)  # multiples of the base learning rate, of which validation chooses
RUN = "config.yaml"


def racing(
    dataset: str = "digits",
    model: str = "mlp",
    preset: str = "quick",
    generations: int | None = None,
    population: int | None = None,
    effort: float | None = None,
    keep: float | None = None,
    extra: str = "",
    steps: int | None = None,
    seeds: int = 5,
    at_once: int = 2,
    out: Path = Path("runs/racing"),
) -> list[list[str]]:
    """Search with and without racing for each seed, and train one fresh network a seed with what comes out.

    Every search is an `evomal learn` with one worker at nice 19; further options of it go into `extra`, as one text.
    The same command goes on where it was stopped: what is finished lies in the folder `out`. The test metric is at the
    learning rate, of 0.3, 1 and 3 times the base rate, that is best on validation. Seconds are those of the stages in
    the journals; with others on the machine they are too long for both sides alike, so their ratio says more.
    """
    plan = _Plan(dataset, model, preset, generations, population, effort, keep, extra, steps)
    plan.claim(out)
    pairs = [(seed, side) for seed in range(seeds) for side in SIDES]
    _all_at_once(at_once, lambda pair: _learn(plan, out, *pair), pairs)
    _all_at_once(at_once, lambda seed: _train(plan, out, seed), range(seeds))
    step = plain_step_seconds(named_task(dataset, model), plan.base)
    found = {side: [_found(out, seed, side) for seed in range(seeds)] for side in SIDES}
    _show_seeds(found, seeds)
    rows = [[SIDES[side], *_summary(found[side], step)] for side in SIDES]
    rows.append(["gain by racing [95 %]", *_gains(found["plain"], found["racing"])])
    columns = ["", "fitness", "test metric", "seconds of stages", "plain steps"]
    show(f"Racing on {dataset}/{model}, mean ± sd of {seeds} seeds (target: half the steps)", columns, rows)
    return rows


@dataclass(frozen=True)
class _Plan:
    """What all runs in a folder have in common; None is the preset's."""

    dataset: str
    model: str
    preset: str
    generations: int | None
    population: int | None
    effort: float | None
    keep: float | None
    extra: str
    steps: int | None

    @property
    def base(self) -> Any:
        return learn_settings(self.preset).base

    @property
    def task(self) -> list[str]:
        return ["--dataset", self.dataset, "--model", self.model, "--preset", self.preset]

    def claim(self, out: Path) -> None:
        """Make the folder, or go on in it if its runs are of this plan."""
        file = out / "plan.json"
        if file.exists() and json.loads(file.read_text()) != asdict(self):
            raise SystemExit(f"'{out}' holds runs with other settings, see {file}; give another --out")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(asdict(self)) + "\n")

    def learn(self, seed: int, side: str) -> list[str]:
        given = {"--generations": self.generations, "--population": self.population, "--seed": seed, "--workers": 1}
        if side == "racing":
            given |= {"--racing-effort": self.effort, "--racing-keep": self.keep}
        named = [text for name, value in given.items() if value is not None for text in (name, str(value))]
        return ["learn", *self.task, *named, *["--racing"] * (side == "racing"), *shlex.split(self.extra)]

    def train(self, seed: int, losses: Iterable[Path]) -> list[str]:
        rates = [f"{self.base.lr * rate:g}" for rate in RATES]
        steps = [] if self.steps is None else ["--steps", str(self.steps)]
        named = [text for loss in losses for text in ("--loss", str(loss))]
        return ["train", *self.task, *named, "--seeds", str(seed), "--lr", *rates, *steps]


def _all_at_once(count: int, function: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Run a function for all items, so many at a time; Ctrl-C leaves out those that have not begun."""
    pool = ThreadPoolExecutor(count)
    try:
        list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)


def _learn(plan: _Plan, out: Path, seed: int, side: str) -> None:
    """A search, unless it is finished; one that was stopped goes on."""
    folder = out / f"seed{seed}-{side}"
    how = (
        ["learn", "--resume", str(folder)]
        if (folder / RUN).exists()
        else [*plan.learn(seed, side), "--out", str(folder)]
    )
    _kept(out / f"{folder.name}.json", how)


def _train(plan: _Plan, out: Path, seed: int) -> None:
    _kept(out / f"seed{seed}-test.json", plan.train(seed, [out / f"seed{seed}-{side}" / "loss.json" for side in SIDES]))


def _kept(file: Path, arguments: Sequence[str]) -> None:
    """The JSON document of a command, written to a file once it is whole."""
    if file.exists():
        return
    full = ["nice", "-n", "19", *command(*arguments, "--quiet", "--json")]
    ended = subprocess.run(full, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if ended.returncode:
        raise SystemExit(f"evomal {shlex.join(arguments)} ended with exit code {ended.returncode}")
    write_atomically(file, ended.stdout)


def _found(out: Path, seed: int, side: str) -> dict[str, Any]:
    """Fitness, test metric and seconds of a search; None for what there is none of."""
    test = json.loads((out / f"seed{seed}-test.json").read_text())["results"][list(SIDES).index(side)]
    seconds = stage_seconds(read_journal(out / f"seed{seed}-{side}"))
    fitness = json.loads((out / f"seed{seed}-{side}.json").read_text())["fitness"]
    return {"fitness": fitness, "test": test["mean"], "lr": test["lr"], "seconds": sum(seconds.values())}


def _show_seeds(found: dict[str, list[dict[str, Any]]], seeds: int) -> None:
    rows = [
        [
            str(seed),
            SIDES[side],
            _number(each["fitness"]),
            f"{_number(each['test'])} ({each['lr']:g})",
            f"{each['seconds']:.1f}",
        ]
        for seed in range(seeds)
        for side, each in ((side, found[side][seed]) for side in SIDES)
    ]
    show("Each seed", ["seed", "", "fitness", "test metric (its rate)", "seconds of stages"], rows)


def _summary(found: list[dict[str, Any]], step: float) -> list[str]:
    seconds = statistics.fmean(each["seconds"] for each in found)
    spreads = [_spread([each[name] for each in found]) for name in ("fitness", "test")]
    return [*spreads, f"{seconds:.1f}", f"{seconds / step:,.0f}"]


def _gains(plain: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    """Paired over seeds: without minus with, so that what is positive speaks for racing."""
    ratio = sum(each["seconds"] for each in other) / sum(each["seconds"] for each in plain)
    gains = [_gain([each[name] for each in plain], [each[name] for each in other]) for name in ("fitness", "test")]
    return [*gains, f"× {ratio:.2f}", f"× {ratio:.2f}"]


def _gain(plain: list[float | None], other: list[float | None]) -> str:
    both = [(a, b) for a, b in zip(plain, other, strict=True) if a is not None and b is not None]
    test = paired_test([a for a, _ in both], [b for _, b in both])
    if test is None:
        return "no test"
    left = f" ({len(plain) - len(both)} left out)" if len(both) < len(plain) else ""
    if test.low is None or test.high is None or test.p is None:
        return f"{test.gain:+.4f}, the same at every seed{left}"
    return f"{test.gain:+.4f} [{test.low:+.4f}, {test.high:+.4f}], p {test.p:.3f}{left}"


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return _number(known[0] if known else None)
    missing = f" ({len(values) - len(known)} without)" if len(known) < len(values) else ""
    return f"{statistics.fmean(known):.4f} ± {statistics.stdev(known):.4f}{missing}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
