"""What a task computes, in a few numbers: so that another model, task loss or metric under an old name is noticed."""

import hashlib
from collections.abc import Iterable, Mapping
from math import isclose

import torch
from torch import Tensor

from evomal.plain import finite_or_none
from evomal.seeds import derive
from evomal.tasks import Task
from evomal.tasks.rng import seeded
from evomal.training import one_thread

INSTANCES = 64
# Machines differ in the last bits of a float32; what differs by more than this computes something else.
PRECISION = 1e-3

Computed = dict[str, str | float | None]


def computed(task: Task) -> Computed:
    """Names and shapes of a fresh network's state, and what network, task loss and metric give on some training data.

    Args:
        task: The task; nothing of it is changed.

    Returns:
        Plain values by what they are: a digest of names and shapes; lengths of the state and of the outputs as vectors;
        task loss and metric of these outputs, against the targets and against the same targets one place further; and
        the task loss in train mode, which tells of dropout, by the kind of device that draws it. What is not finite is
        None.

    Example:
        >>> from evomal.tasks import named_task
        >>> linear, mlp = (computed(named_task("iris", model)) for model in ("linear", "mlp"))
        >>> unlike(linear, linear), unlike(linear, mlp)[0]
        ([], 'network')
    """
    rows = torch.linspace(0, len(task.train) - 1, min(INSTANCES, len(task.train))).long()
    with one_thread(), seeded(0):
        model = task.make_model(derive("comparison", "computed"))
        x, y = task.train.take(rows)
        state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        shapes = [(name, str(value.dtype), tuple(value.shape)) for name, value in state.items()]
        weights = _length(state.values())
        outputs, moved = model.eval()(x).detach(), y.roll(1, 0)
        return {
            "network": hashlib.sha256(repr(shapes).encode()).hexdigest()[:16],
            "initial weights": weights,
            "outputs": _length([outputs]),
            "task loss on some data": _number(task.task_loss(outputs, y)),
            "task loss on other targets": _number(task.task_loss(outputs, moved)),
            "metric on some data": _number(task.metric(outputs, y)),
            "metric on other targets": _number(task.metric(outputs, moved)),
            f"task loss in train mode on {task.device.type}": _number(task.task_loss(model.train()(x).detach(), y)),
        }


def unlike(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Which of two tasks' values differ by more than machines do; what only one of them has is not compared.

    Example:
        >>> unlike({"outputs": 1.0, "metric": 0.5, "old": 1}, {"outputs": 1.00001, "metric": 0.4})
        ['metric']
    """
    return [name for name, value in now.items() if name in before and not _same(before[name], value)]


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=PRECISION, abs_tol=PRECISION**2)
    return one == other


def _length(values: Iterable[Tensor]) -> float | None:
    return _number(torch.stack([value.detach().cpu().abs().double().norm() for value in values]).norm())


def _number(value: Tensor) -> float | None:
    return finite_or_none(float(f"{float(value.detach()):.6g}"))
