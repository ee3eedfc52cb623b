"""Many candidates as one batched program against one at a time; target 4 on a GPU, and what it is worth on a CPU."""

import random
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.measuring import alternate, show
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.expressions import finished, ramped_half_and_half
from evomal.local_search import tune
from evomal.local_search.batched_step import pull, push, task_gradients
from evomal.local_search.batched_tune import tune_lanes
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task, named_task
from evomal.training import fit
from evomal.training.batched_fit import fit_lanes
from evomal.training.batched_model import BatchedModel

BASE = BaseSettings()
PASSES = "fashion-mnist/lenet5"
SUBJECTS = f"{PASSES} digits/mlp"


def lanes(
    steps: int = 20, most: int = 25, rounds: int = 3, device: str = "", subjects: str = SUBJECTS, width: float = 1.0
) -> list[list[str]]:
    """Milliseconds per candidate of a training step and of a meta step, in lanes and one at a time.

    For LeNet-5 on Fashion-MNIST and the small network on digits; on the GPU if there is one, else processor time. Also
    the single passes of a meta step of LeNet-5. Both sides take turns; what happens once per group (checks, tracing)
    is left out.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    counts = sorted({1, min(5, most), min(12, most), most})
    rows = []
    for subject in subjects.split():
        task = named_task(*subject.split("/"), width=width).to(device)
        for count in counts:
            for name, sides in _sides(task, count).items():
                seconds = _per_step(sides, steps, rounds, task.device)
                each = {side: 1e3 * value / count for side, value in seconds.items()}
                ratio = each["one at a time"] / each["in lanes"]
                numbers = [f"{each['one at a time']:.2f}", f"{each['in lanes']:.2f}", f"{ratio:.2f}"]
                rows.append([subject, name, str(count), *numbers])
    columns = ["task", "step", "candidates", "one at a time [ms]", "in lanes [ms]", "times as fast"]
    show(f"Milliseconds per candidate on {device}, batch {BASE.batch_size}, width {width:g}", columns, rows)
    if PASSES in subjects:
        _show_passes(named_task(*PASSES.split("/")).to(device), counts, 3 * rounds)
    return rows


Sides = dict[str, Callable[[int], object]]


def formulas(count: int) -> list[SymbolicLoss]:
    """Random formulas, as in a first generation."""
    draw = random.Random(0)
    trees = (finished(tree, tree, draw, 10) for tree in ramped_half_and_half(draw, 4 * count))
    moving = [tree for tree in trees if tree.has_gradient]
    return [SymbolicLoss(tree, task_type="classification", ignore_index=None) for tree in moving[:count]]


def _sides(task: Task, count: int) -> dict[str, Sides]:
    """For each kind of step: what takes so many steps for all candidates, in both ways."""
    losses = [loss.to(task.device) for loss in formulas(count)]
    batches = Batches(len(task.train), BASE.batch_size, 0)

    def trained(steps: int) -> None:
        for loss in losses:
            loss.requires_grad_(False)  # as in partial training
            fit(task.make_model(0), loss, task.train, batches, steps, BASE, 0)

    def trained_lanes(steps: int) -> None:
        fit_lanes(task.make_model(0), stack(losses), task.train, batches, steps, BASE, 0)

    def tuned(steps: int) -> None:
        tune(losses, task, LocalSearchSettings(meta_steps=steps), BASE, 0)

    def tuned_lanes(steps: int) -> None:
        tune_lanes(losses, task, LocalSearchSettings(meta_steps=steps), BASE, 0)

    return {
        "training": {"one at a time": trained, "in lanes": trained_lanes},
        "meta": {"one at a time": tuned, "in lanes": tuned_lanes},
    }


def _per_step(sides: Sides, steps: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of a step: of a long run less a short one, over the steps between."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):
        for name, call in sides.items():
            short, long = (_seconds(call, count, device) for count in (5, 5 + steps))
            if number >= 0:
                times[name].append((long - short) / steps)
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(call: Callable[[int], object], steps: int, device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.thread_time  # other work does not count
    _wait(device)
    start = clock()
    call(steps)
    _wait(device)
    return clock() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _show_passes(task: Task, counts: Sequence[int], rounds: int) -> None:
    """The passes of a meta step (back at θ0, to and fro at θ1, forward at θ0): of lanes, and of one lane each time."""
    rows = []
    for count in counts:
        many, one = _passes(task, count), _passes(task, 1)
        for name in many:
            sides = {"lanes": _waiting(many[name], task.device), "one": _waiting(one[name], task.device)}
            seconds = alternate(sides, rounds=rounds, warm=2)
            row = [f"{1e3 * seconds['one']:.2f}", f"{1e3 * seconds['lanes'] / count:.2f}"]
            rows.append([name, str(count), *row, f"{count * seconds['one'] / seconds['lanes']:.2f}"])
    columns = ["pass", "lanes", "one lane [ms]", "per lane [ms]", "times as fast"]
    show(f"Passes of a meta step, {task.name} on {task.device}", columns, rows)


def _waiting(call: Callable[[], object], device: torch.device) -> Callable[[int], object]:
    def waited(number: int) -> None:
        call()
        _wait(device)

    return waited


def _passes(task: Task, count: int) -> dict[str, Callable[[], object]]:
    model = BatchedModel(task.make_model(0))
    x, y = task.train.take(torch.arange(BASE.batch_size))
    outputs = model.alone(model.parameters, x)
    cotangents = torch.randn(count, *outputs.shape, generator=torch.Generator().manual_seed(0)).to(task.device)
    start = model.lanes(count)
    directions = [torch.ones_like(p) for p in start.parameters]

    def back() -> list[Tensor]:
        return pull(model.alone(model.parameters, x), model.parameters, cotangents)

    return {
        "forward, vmap(vjp) at θ0": back,
        "gradient at the lanes' θ1": lambda: task_gradients(model, start, (x, y), task.task_loss),
        "forward, vmap(jvp) at θ0": lambda: push(model, x, directions),
    }
