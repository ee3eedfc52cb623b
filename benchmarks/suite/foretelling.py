"""How well a fitness foretells what a loss is worth in full: python -m benchmarks foretelling."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch

from benchmarks.measuring import show
from benchmarks.suite.run import Job, searcher
from benchmarks.suite.tasks import suite_task
from evomal.config import LearnSettings
from evomal.evaluation.filters import make_probe
from evomal.evaluation.finals.shapes import shape_of, unlike
from evomal.evaluation.finals.training import train_final
from evomal.evaluation.statistics import rank_correlation
from evomal.foundation.seeds import derive
from evomal.losses import LearnedLoss
from evomal.search.finalists import points_of
from evomal.tasks import TaskSet

FULL = 1_000
RATES = (0.25, 1.0, 4.0)
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Fitness:
    """A way to measure a candidate.

    Args:
        steps: Of the training.
        trial: Of the trainings that choose the rate; 0 takes the base rate.
        folds: Of a cross-validation with so many folds …
        splits: … so many are looked at.
    """

    steps: int
    trial: int = 60
    folds: int = 3
    splits: int = 1

    @property
    def cost(self) -> int:
        """Base steps for a candidate."""
        return self.splits * self.steps + (len(RATES) * self.trial if self.trial else 0)

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        rate = f"rate by {self.trial} steps" if self.trial else "base rate"
        return f"{self.steps} steps, {self.splits} of {self.folds} folds, {rate}"


WAYS = (
    Fitness(300),  # the preset
    Fitness(300, trial=0),
    Fitness(300, trial=150),
    Fitness(100, trial=20),
    Fitness(1000),
    Fitness(300, splits=2),
    Fitness(300, splits=3),
    Fitness(150, trial=30, splits=3),
    Fitness(300, folds=5, splits=3),
)


def foretelling(
    data: Path = Path("data"),
    out: Path = Path("foretelling"),
    searches: Path = Path("suite"),
    tasks: str = "rare_classes uneven_classes wrong_labels ranking noisy_targets",
    draws: str = "0 1",
    members: int = 16,
    scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Spearman's ρ between fitnesses of several kinds and the metric in full, over candidates of a search.

    Candidates are drawn from the trained ones of a suite's search, whose runs lie in `searches` (one that lacks is made
    first), all that do something different with equal chances: not the best ones, as their fitness chose them. In full:
    `FULL` steps, five folds that no fitness sees, at the rate that was best on five others. The last line is ρ between
    two such measurements on different folds: more no fitness can have.
    """
    found = []
    out.mkdir(parents=True, exist_ok=True)
    for draw in draws.split():
        for name in tasks.split():
            job = Job(name, int(draw), "evomal", data, searches, scale)
            file = out / f"{job.file.stem}.json"
            if not file.exists():
                file.write_text(json.dumps(measured(job, members), indent=1), encoding="utf-8")
            found.append(json.loads(file.read_text(encoding="utf-8")))
            print(f"{file.stem}: measured", flush=True)
    return _table(found)


def measured(job: Job, members: int) -> dict[str, Any]:
    """Every kind of fitness of some candidates of one search, and their metric in full, twice."""
    torch.set_num_threads(1)
    tasks = TaskSet.of(suite_task(job.task, job.data, job.draw))
    result = searcher(job).learn(tasks[0], out=job.out / "runs" / job.file.stem, resume=True)
    settings = result.settings
    losses = _different(tasks, settings, result.members, members)
    others = settings.model_copy(update={"seed": derive(settings.seed, "foretelling") % 2**31})
    full = [_in_full(tasks, settings, loss) for loss in losses]
    return {
        "task": job.task,
        "draw": job.draw,
        "formulas": [loss.formula(digits=4) for loss in losses],
        "full": [first for first, _ in full],
        "again": [second for _, second in full],
        "fitness": {way.name: [_fitness(tasks, others, loss, way) for loss in losses] for way in WAYS},
    }


def _different(tasks: TaskSet, settings: LearnSettings, members: Any, number: int) -> list[LearnedLoss]:
    trained = [member for member in members if member.outcome == "trained"]
    Random(settings.seed).shuffle(trained)
    probes = [make_probe(task, settings.filters.rejection_instances, settings.seed) for task in tasks]
    points = points_of(probes)
    losses = [member.finished_loss(tasks, settings) for member in trained]
    return list(unlike((loss, shape_of(loss, points)) for loss in losses))[:number]


def _in_full(tasks: TaskSet, settings: LearnSettings, loss: LearnedLoss) -> tuple[float, float]:
    """The metric in full on two times five folds, at the rate that was best on five others."""

    @cache
    def mean(rate: float, first: int) -> float:
        return fmean(_trained(tasks, settings, loss, rate, split, FULL, FOLDS) for split in range(first, first + FOLDS))

    best = min(RATES, key=lambda rate: mean(rate, 0))
    return mean(best, FOLDS), mean(best, 2 * FOLDS)


def _fitness(tasks: TaskSet, settings: LearnSettings, loss: LearnedLoss, way: Fitness) -> float:
    rate = 1.0
    if way.trial:
        rate = min(RATES, key=lambda each: _trained(tasks, settings, loss, each, 0, way.trial, way.folds))
    return fmean(_trained(tasks, settings, loss, rate, split, way.steps, way.folds) for split in range(way.splits))


def _trained(
    tasks: TaskSet, settings: LearnSettings, loss: LearnedLoss, rate: float, split: int, steps: int, folds: int
) -> float:
    finals = settings.finals.model_copy(update={"folds": folds})
    return train_final(
        tasks, settings.model_copy(update={"finals": finals}), loss, settings.base.lr * rate, split, steps
    ).value


def _table(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(each["task"] for each in found))

    def correlations(values: str | None) -> dict[str, float]:
        by_task: dict[str, list[float]] = {name: [] for name in names}
        for each in found:
            rho = rank_correlation(each["again"] if values is None else each["fitness"][values], each["full"])
            by_task[each["task"]] += [] if rho is None else [rho]
        return {name: fmean(rhos) for name, rhos in by_task.items() if rhos}

    costs: list[tuple[str | None, str, int]] = [(way.name, way.name, way.cost) for way in WAYS]
    ways = [*costs, (None, f"in full on other folds, {FOLDS} × {FULL} steps", FOLDS * FULL)]
    rows = [{"way": shown, "steps": cost, "rho": correlations(values)} for values, shown, cost in ways]
    lines = [
        [row["way"], f"{row['steps']:,}", *(f"{rho:.2f}" for rho in (*row["rho"].values(), fmean(row["rho"].values())))]
        for row in rows
    ]
    show(f"Spearman's ρ with the metric in full, {len(found)} searches", ["fitness", "steps", *names, "mean"], lines)
    return rows
