"""How a task was understood, in words."""

import torch

from evomal.tasks.task import Task


def described(task: Task) -> str:
    """Kind, classes, instances, inputs, metric and task loss in one line.

    Args:
        task: The task.

    Example:
        >>> from evomal.tasks import named_task
        >>> described(named_task("iris", "linear"))[:72]
        'iris/linear: classification, 3 classes; 108 training, 12 validation, 30 '
    """
    parts = {"training": task.train, "validation": task.valid, "test": task.test}
    sizes = ", ".join(f"{len(split)} {name}" for name, split in parts.items() if split is not None)
    kind = task.task_type if task.classes is None else f"{task.task_type}, {task.classes} classes"
    shape = "several" if task.form is not None else list(task.train.take(torch.arange(1))[0].shape[1:])
    return (
        f"{task.name}: {kind}; {sizes} instances; inputs {shape}; metric {task.metric.name}, "
        f"task loss {task.task_loss_name}"
    )
