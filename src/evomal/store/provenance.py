"""Where a loss came from and what it was tuned for: what its file says beside the formula."""

from typing import Any

import torch

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.foundation.serialization import finite_or_none
from evomal.losses import LearnedLoss, SavedLoss
from evomal.tasks import Task, TaskSet
from evomal.training.step_size import mean_norm_ratio


def provenance(
    loss: LearnedLoss, candidate: Candidate, tasks: TaskSet, settings: LearnSettings, baseline: float
) -> dict[str, Any]:
    """The entries of a loss file that tell its history, as plain values."""
    if not tasks:
        return _trained_elsewhere(candidate, tasks, settings)
    # The loss was chosen for what it does at this rate.
    fitness_rate = {} if candidate.fitness_lr == 1 else {"lr": settings.base.lr * candidate.fitness_lr}
    return {
        "learned_on": described_all(tasks),
        "method": settings.method,
        "seed": settings.seed,
        "fitness": candidate.own_fitness,
        "baseline": {"loss": tasks.task_loss_name, "fitness": finite_or_none(baseline)},
        "found": {"generation": candidate.generation, "index": candidate.index},
        "tuned_for": tuned_for(loss, tasks, settings) | fitness_rate,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import platform

    import evomal

    return {"evomal": evomal.__version__, "torch": torch.__version__, "python": platform.python_version()}


def chosen(loss: SavedLoss, tasks: TaskSet, settings: LearnSettings, baseline: float) -> dict[str, Any]:
    """The entries of the file of a loss that the search did not find, but that its finals chose."""
    entries = {
        "learned_on": described_all(tasks),
        "method": settings.method,
        "seed": settings.seed,
        "baseline": {"loss": tasks.task_loss_name, "fitness": finite_or_none(baseline)},
        "tuned_for": {"optimizer": "sgd", **settings.base.model_dump()},
    }
    return entries | {"versions": _versions()}


def _trained_elsewhere(candidate: Candidate, tasks: TaskSet, settings: LearnSettings) -> dict[str, Any]:
    """What is known where somebody else trains: nothing of the task, and the metric that was told."""
    return {
        "learned_on": {"task": tasks.name},
        "method": settings.method,
        "seed": settings.seed,
        "fitness": candidate.own_fitness,
        "found": {"generation": candidate.generation, "index": candidate.index},
        "versions": _versions(),
    }


def described(task: Task) -> dict[str, Any]:
    """What a loss file says of a task."""
    return {
        "task": task.name,
        "dataset": task.dataset,
        "model": task.model_name,
        "metric": task.metric.name,
        "data_fingerprint": task.fingerprint,
    }


def described_all(tasks: TaskSet) -> dict[str, Any]:
    """What a loss file says of the tasks that a loss was learned on."""
    if len(tasks) == 1:
        return described(tasks[0])
    each = [described(task) for task in tasks]
    together = {name: " + ".join(dict.fromkeys(entry[name] for entry in each)) for name in each[0]}
    return together | {"task": tasks.name, "tasks": each}


def tuned_for(loss: LearnedLoss, tasks: Task | TaskSet, settings: LearnSettings) -> dict[str, Any]:
    """The base training that a loss's coefficients were tuned for; of several tasks, the mean ratio in the log."""
    base, seed, tasks = settings.base, settings.seed, TaskSet.of(tasks)
    return {
        **base.known(),
        **tasks[0].own.names(),
        "meta_steps": settings.tuning.meta_steps,
        "gradient_norm_ratio": _ratio(loss, tasks, base.batch_size, seed),
    }


def _ratio(loss: LearnedLoss, tasks: TaskSet, batch_size: int, seed: int) -> float | None:
    """The ratio, or None: what a model does on a bad day must not cost a loss that is found."""
    try:
        return mean_norm_ratio(loss, tasks, batch_size, seed)
    except Exception:
        return None
