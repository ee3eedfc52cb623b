"""Whether a loss changes the step size as well: how long its gradients are."""

import math
from collections.abc import Sequence
from statistics import fmean

import torch

from evomal.foundation.contexts import recording
from evomal.foundation.seeds import derive, seeded
from evomal.losses.criterion import LossFunction, told_progress
from evomal.tasks import Batches, Task
from evomal.training.fit import one_thread


@recording()
def gradient_norm_ratio(loss: LossFunction, task: Task, batch_size: int, seed: int) -> float | None:
    r"""How much longer a loss's gradient is than the task loss's on a first batch.

    :math:`\|\nabla_\theta\mathcal{M}_\phi\| / \|\nabla_\theta\mathcal{L}_T\|` at a fresh initialisation and progress 0.
    A ratio far from 1 says that the loss changes the step size as well: compare with the task loss at its best rate.

    Args:
        loss: The loss.
        task: The task.
        batch_size: Instances in the batch.
        seed: Of initialisation and batch.

    Returns:
        The ratio, or None where it is not finite.
    """
    key = task.key
    index = Batches.of(task.train, batch_size, seed, key, "partial", "batches").index(0)
    with one_thread(), seeded(derive(seed, key, "ratio", "noise")), told_progress(loss) as tell:
        tell(0.0)
        model = task.make_model(derive(seed, key, "partial", "init")).train()
        parameters = [p for p in model.parameters() if p.requires_grad]
        x, y = task.train.take(index)
        outputs = model(x)  # one pass for both: the same dropout mask

        def norm(criterion: LossFunction) -> float:
            value = criterion(outputs, y)
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
            return float(torch.cat([g.flatten() for g in gradients]).norm())

        try:
            ratio = norm(loss) / norm(task.task_loss)
        except (RuntimeError, ZeroDivisionError):
            return None
    return ratio if math.isfinite(ratio) else None


def mean_norm_ratio(loss: LossFunction, tasks: Sequence[Task], batch_size: int, seed: int) -> float | None:
    """The geometric mean of `gradient_norm_ratio` over tasks; None where one is zero or not finite.

    Args:
        loss: The loss.
        tasks: The tasks.
        batch_size: Instances in the batch.
        seed: Of initialisation and batch.
    """
    ratios = [gradient_norm_ratio(loss, task, batch_size, seed) for task in tasks]
    if len(ratios) == 1:
        return ratios[0]
    known = [math.log(ratio) for ratio in ratios if ratio]
    return math.exp(fmean(known)) if len(known) == len(ratios) else None
