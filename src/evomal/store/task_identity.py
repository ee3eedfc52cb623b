"""What a task is, as plain values: so that another one under an old name is noticed when a run goes on.

Its names, the fingerprint of its data, and what it computes: another model, task loss or metric gives other numbers.
"""

import hashlib
from collections.abc import Iterable, Mapping
from math import isclose
from typing import Any

import torch
from torch import Tensor, nn

from evomal.foundation.errors import EvomalError, ModelError, one_line
from evomal.foundation.seeds import derive, generator, seeded
from evomal.foundation.serialization import finite_or_none, flattened
from evomal.store.provenance import task_entries
from evomal.tasks import Task
from evomal.training import one_thread

COMPUTED = "computed"
INSTANCES = 64
# Machines differ in the last bits of a float32; what differs by more than this computes something else.
PRECISION = 1e-3

OWN_STEPS = 3

Computed = dict[str, str | float | None]


def identity(task: Task) -> dict[str, Any]:
    """Names, fingerprint of the data, and what network, task loss and metric compute on some of it.

    Raises:
        ModelError: They fail on it.
    """
    try:
        found = computed(task)
    except EvomalError:
        raise
    except Exception as error:
        raise ModelError(f"model '{task.model_name}' fails on some training data: {one_line(error)}") from error
    return task_entries(task) | task.own.names() | {"task_loss": task.task_loss_name, COMPUTED: found}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where two identities cannot be one task, in words.

    What an older evomal did not write down cannot be compared. Other data gives other outputs, so what is computed
    tells something only of a task that is the same by name and data.

    Example:
        >>> changes({"task": "a", "computed": {"outputs": 1.0}}, {"task": "b", "computed": {"outputs": 2.0}})
        ["task was 'a', now 'b'"]
    """
    old, new = ({name: value for name, value in each.items() if name != COMPUTED} for each in (before, now))
    return differences(old, new) or _computed(before.get(COMPUTED), now.get(COMPUTED))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which of the plain values that both name differ, in words.

    Example:
        >>> differences({"base": {"lr": 0.1, "old": 1}}, {"base": {"lr": 0.2, "new": 2}})
        ['base: lr was 0.1, now 0.2']
    """
    old, new = flattened(before), flattened(now)
    both = sorted(old.keys() & new.keys())
    return [f"{name} was {old[name]!r}, now {new[name]!r}" for name in both if old[name] != new[name]]


def _computed(old: object, new: object) -> list[str]:
    """What two tasks compute differently; the first tells what it comes from."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return [f"{name} was {old[name]!r}, now {new[name]!r}" for name in unlike(old, new)[:1]]


def computed(task: Task) -> Computed:
    """Names and shapes of a fresh network's state, and what network, task loss and metric give on some training data.

    Args:
        task: The task; nothing of it is changed.

    Returns:
        Plain values by what they are: a digest of names and shapes; lengths of the state and of the outputs as vectors;
        task loss and metric of these outputs, against the targets and against the same targets one place further, and
        of outputs that were drawn; the task loss in train mode, which tells of dropout, by the kind of device that
        draws it; which parameters are trained, and the outputs after a step of training. What is not finite is None.

    Example:
        >>> from evomal.tasks import named_task
        >>> linear, mlp = (computed(named_task("iris", model)) for model in ("linear", "mlp"))
        >>> unlike(linear, linear), unlike(linear, mlp)[0]
        ([], 'network')
    """
    with one_thread(), seeded(0), torch.enable_grad():
        model = task.make_model(derive("comparison", "computed"))
        x, y = task.train.take(_spread(len(task.train)))
        state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
        shapes = [(name, str(value.dtype), tuple(value.shape)) for name, value in state.items()]
        weights = _length(state.values())
        outputs, moved = model.eval()(x).detach(), y.roll(1, 0)
        found: Computed = {
            "network": _digest(shapes),
            "initial weights": weights,
            "outputs": _length([outputs]),
            "task loss on some data": _number(task.task_loss(outputs, y)),
            "task loss on other targets": _number(task.task_loss(outputs, moved)),
            "metric on some data": _number(task.metric(outputs, y)),
            "metric on other targets": _number(task.metric(outputs, moved)),
        }
        with seeded(0):
            found["outputs on validation data"] = _length([model(task.valid.take(_spread(len(task.valid)))[0])])
        device = task.device.type
        loss = task.task_loss(model.train()(x), y)
        found[f"task loss in train mode on {device}"] = _number(loss)
        # Two networks or losses may agree in all that, and yet be trained differently, or judged so later on.
        found |= _drawn(task, outputs, y)
        found["trained parameters"] = _digest([name for name, each in model.named_parameters() if each.requires_grad])
        _step(model, loss)
        found[f"outputs after a step on {device}"] = _length([model.eval()(x)])
        if task.own.optimizer is not None:
            found[f"outputs after steps of its optimizer on {device}"] = _after_own_steps(task, x, y)
        return found


def _spread(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(INSTANCES, count)).long()


def _drawn(task: Task, outputs: Tensor, y: Tensor) -> Computed:
    """Task loss and metric of wider outputs than those of a fresh network, where they can be had."""
    noise = torch.randn(outputs.shape, generator=generator("comparison", "drawn outputs"))
    wide = outputs + 3 * noise.to(outputs)
    found: Computed = {}
    for name, function in (("task loss", task.task_loss), ("metric", task.metric)):
        try:
            found[f"{name} on drawn outputs"] = _number(function(wide, y))
        except Exception:  # of a user's function, which may expect what only their network gives
            found[f"{name} on drawn outputs"] = None
    return found


def _step(model: nn.Module, loss: Tensor) -> None:
    """Move the parameters that are trained by a tenth of their length, against the gradient."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained or not loss.requires_grad:
        return
    gradients = torch.autograd.grad(loss.reshape(()), trained, allow_unused=True)
    pairs = [(p, g.to_dense()) for p, g in zip(trained, gradients, strict=True) if g is not None]
    length, weights = _length(g for _, g in pairs), _length(p for p, _ in pairs)
    if length and weights:
        with torch.no_grad():
            for parameter, gradient in pairs:
                parameter.sub_(gradient * (0.1 * weights / length))


def _after_own_steps(task: Task, x: Tensor, y: Tensor) -> float | None:
    """The length of the outputs after some steps of the task's own optimiser; the first of many are alike."""
    model = task.make_model(derive("comparison", "computed"))
    optimizer = task.own.make([parameter for parameter in model.parameters() if parameter.requires_grad], 0.01)
    for _ in range(OWN_STEPS):
        optimizer.zero_grad()
        task.task_loss(model(x), y).backward()
        optimizer.step()
    return _length([model.eval()(x)])


def _digest(names: object) -> str:
    return hashlib.sha256(repr(names).encode()).hexdigest()[:16]


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
    lengths = [value.detach().cpu().abs().double().norm() for value in values]
    return _number(torch.stack(lengths).norm()) if lengths else 0.0


def _number(value: Tensor) -> float | None:
    return finite_or_none(float(f"{float(value.detach()):.6g}"))
