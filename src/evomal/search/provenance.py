"""Where a loss came from and what it was tuned for: what its file says beside the formula."""

from typing import Any

import torch

from evomal.config import LearnSettings
from evomal.losses import SymbolicLoss
from evomal.plain import finite_or_none
from evomal.search.candidate import Candidate
from evomal.tasks import Task
from evomal.training.step_size import gradient_norm_ratio


def provenance(
    loss: SymbolicLoss, candidate: Candidate, task: Task, settings: LearnSettings, baseline: float
) -> dict[str, Any]:
    """The entries of a loss file that tell its history, as plain values."""
    import platform

    import evomal

    return {
        "learned_on": described(task),
        "method": settings.method,
        "seed": settings.seed,
        "fitness": finite_or_none(candidate.fitness),
        "baseline": {"loss": task.task_loss_name, "fitness": finite_or_none(baseline)},
        "found": {"generation": candidate.generation, "index": candidate.index},
        "tuned_for": tuned_for(loss, task, settings),
        "versions": {
            "evomal": evomal.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
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


def tuned_for(loss: SymbolicLoss, task: Task, settings: LearnSettings) -> dict[str, Any]:
    """The base training that a loss's coefficients were tuned for."""
    return {
        "optimizer": "sgd",
        **settings.base.model_dump(),
        "meta_steps": settings.local_search.meta_steps,
        "gradient_norm_ratio": gradient_norm_ratio(loss, task, settings.base.batch_size, settings.seed),
    }
