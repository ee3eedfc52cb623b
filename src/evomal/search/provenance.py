"""Where a loss came from and what it was tuned for: what its file says beside the formula."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from evomal.config import LearnSettings
from evomal.losses import SymbolicLoss
from evomal.search.candidate import Candidate
from evomal.seeds import derive
from evomal.tasks import Batches, Task
from evomal.tasks.rng import seeded
from evomal.training import one_thread


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
        "fitness": candidate.fitness if math.isfinite(candidate.fitness) else None,
        "baseline": {"loss": task.task_loss_name, "fitness": baseline if math.isfinite(baseline) else None},
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


def gradient_norm_ratio(loss: SymbolicLoss, task: Task, batch_size: int, seed: int) -> float | None:
    r"""How much longer a loss's gradient is than the task loss's on a first batch.

    :math:`\|\nabla_\theta\mathcal{M}_\phi\| / \|\nabla_\theta\mathcal{L}_T\|` at a fresh initialisation. A ratio far
    from 1 says that the loss changes the step size as well: compare with the task loss at its own best learning rate.

    Returns:
        The ratio, or None where it is not finite.
    """
    key = task.key
    index = Batches(len(task.train), batch_size, seed, key, "partial", "batches").index(0)
    with one_thread(), seeded(derive(seed, key, "ratio", "noise")):
        model = task.make_model(derive(seed, key, "partial", "init")).train()
        parameters = [p for p in model.parameters() if p.requires_grad]
        x, y = task.train.take(index)

        def norm(criterion: Callable[[Tensor, Tensor], Tensor]) -> float:
            gradients = torch.autograd.grad(criterion(model(x), y), parameters, materialize_grads=True)
            return float(torch.cat([g.flatten() for g in gradients]).norm())

        try:
            ratio = norm(loss) / norm(task.task_loss)
        except (RuntimeError, ZeroDivisionError):
            return None
    return ratio if math.isfinite(ratio) else None
