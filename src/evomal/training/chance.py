"""Whether a training came to more than chance, so that a search on a baseline that never learned is not believed."""

import math
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from evomal.config import BaseSettings
from evomal.losses.criterion import IGNORED
from evomal.losses.preparing import TaskType
from evomal.tasks import AnySplit, Task
from evomal.tasks.kinds import perfect_outputs
from evomal.training.evaluate import CHUNK, evaluation_mode

LEAST = 0.1  # of the way from chance to perfect predictions; below it is hardly learned


def constant_outputs(outputs: Tensor, targets: Tensor, task_type: TaskType) -> Tensor:
    """Outputs of the given shape that are the same for every instance: means of the targets, or logits of class shares.

    Example:
        >>> constant_outputs(torch.zeros(4, 2), torch.tensor([1, 1, 1, 0]), "classification").softmax(1)[0]
        tensor([0.2500, 0.7500])
    """
    if task_type == "regression":
        shaped = targets.to(outputs.dtype).reshape(outputs.shape)
        return shaped.mean(0, keepdim=True).expand_as(shaped).clone()
    if task_type == "multilabel":
        shares = targets.to(outputs.dtype).mean(0, keepdim=True).clamp(1e-6, 1 - 1e-6)
        return torch.logit(shares).expand_as(outputs).clone()
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        counted = targets[targets != IGNORED] if not targets.is_floating_point() else targets
        share = counted.to(outputs.dtype).mean().clamp(1e-6, 1 - 1e-6)
        return torch.full_like(outputs, float(torch.logit(share)))
    if targets.is_floating_point():
        shares = targets.to(outputs.dtype).transpose(0, 1).flatten(1).mean(1)
    else:
        shares = torch.bincount(targets[targets != IGNORED].flatten(), minlength=outputs.shape[1]).to(outputs.dtype)
        shares = shares / shares.sum()
    logits = shares.clamp(min=1e-6).log().reshape(1, -1, *[1] * (outputs.dim() - 2))
    return logits.expand_as(outputs).clone()


def bounds(task: Task, split: AnySplit) -> tuple[float, float]:
    """The metric on a split of the best constant predictions, and of perfect ones.

    Example:
        >>> from evomal.tasks import named_task
        >>> iris = named_task("iris", "linear")
        >>> [round(bound, 2) for bound in bounds(iris, iris.valid)]
        [0.67, 0.0]
    """
    model = task.make_model(0)
    with evaluation_mode(model), torch.no_grad():
        pairs = []
        for index in torch.arange(len(split)).split(CHUNK):
            x, y = split.take(index)
            pairs.append((model(x), y))
        outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        constants = [constant_outputs(outputs, targets, task.task_type)]
        if task.task_type == "regression":  # for absolute errors the median is better than the mean
            shaped = targets.to(outputs.dtype).reshape(outputs.shape)
            constants.append(shaped.median(0, keepdim=True).values.expand_as(shaped).clone())
        perfect = perfect_outputs(outputs, targets, task.task_type)
        values = [float(task.metric(each, targets)) for each in (*constants, perfect)]
    return min(values[:-1]), values[-1]


def hardly_learns(tasks: Sequence[Task], value: float, base: BaseSettings) -> str | None:
    """A remark on task losses that stay near chance on validation data, or diverge; None where they learn.

    Args:
        tasks: The tasks.
        value: The mean of their metrics after trainings with their own task losses; not finite if one diverged.
        base: What they were trained with.

    Returns:
        One sentence, or None, also where chance is not known: a metric may be anything.
    """
    loss = " + ".join(dict.fromkeys(task.task_loss_name for task in tasks))
    used = f"with {tasks[0].own.names().get('optimizer', base.optimizer)} at {base.lr:g}"
    advice = "choose another optimiser or rate"
    if not math.isfinite(value):
        return f"{loss} itself diverges {used}: {advice}"
    try:
        chance, perfect = (fmean(each) for each in zip(*(bounds(task, task.valid) for task in tasks), strict=True))
    except Exception:  # a model or a metric of the user may refuse such outputs; nothing hangs on the remark
        return None
    if not chance > perfect or chance - value >= LEAST * (chance - perfect):
        return None
    metric = tasks[0].metric.name
    return f"{loss} itself hardly learns {used}: {advice} ({metric} {value:.4g}, {chance:.4g} by chance)"
