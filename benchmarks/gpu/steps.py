"""Time of a base step, a meta step and a step of the rejection filter: by lanes, with CUDA graphs and without."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.given import BASE, Given, Note, batches
from evomal.config import FilterSettings, LocalSearchSettings
from evomal.evaluation.batched_filters import Improving
from evomal.evaluation.filters import make_probe
from evomal.foundation.seeds import seeded
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning
from evomal.losses.batched_families import stack
from evomal.losses.fused_formulas import fusing
from evomal.training.batched_fit import LanesTraining
from evomal.training.graphs import GraphedStep, graphs, graphs_on
from evomal.training.lane_layers import layers_allowed
from evomal.training.precision import Precision, precision

Step = Callable[[int], object]


class MovedBytes(TorchDispatchMode):
    """Adds up what operations take and give, views left out: the bytes that go through memory if nothing is fused."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the bytes of a call."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.total += sum(each.nbytes for each in tree_leaves((args, result)) if isinstance(each, Tensor))
        return result


def plain(given: Given, graph: bool) -> Step:
    """One network by PyTorch alone, as anybody would write it; as a CUDA graph if asked."""
    task = given.task()
    model, rows = task.make_model(0).train(), batches(task).table(0, given.all_steps, task.device)
    x, y = task.train.x, task.train.y
    optimizer = torch.optim.SGD(model.parameters(), lr=BASE.lr, foreach=True)

    def step(index: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=not graph)
        loss = cross_entropy(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
        return loss

    if not graph:
        return lambda number: step(rows[number])
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    graphed = GraphedStep(step, list(model.parameters()))

    def call(number: int) -> None:
        graphed(rows[number])
        if number == given.all_steps - 1 and not graphed.captured:
            raise RuntimeError(f"no graph: {graphed.failure}")

    return call


def training(given: Given, count: int, setting: Precision = "float32") -> LanesTraining:
    """A training of so many lanes."""
    task = given.task()
    losses = [loss.requires_grad_(False) for loss in given.losses(count)]
    model = task.make_model(0)
    return LanesTraining(model, stack(losses), task.train, batches(task), given.all_steps, BASE, 0, None, setting)


def tuning(given: Given, count: int) -> LanesTuning:
    """A tuning of so many lanes."""
    settings = LocalSearchSettings(meta_steps=given.all_steps)
    losses = [loss.requires_grad_() for loss in given.losses(count)]
    return LanesTuning(stack(losses), [BatchedMetaTrainer(given.task(), settings, BASE, 0)], settings)


def improving(given: Given, count: int) -> tuple[Improving, GraphedStep | None]:
    """Steps of the rejection filter."""
    losses = [loss.requires_grad_(False) for loss in given.losses(count)]
    search = Improving(stack(losses), make_probe(given.task(), 100, 0), FilterSettings())
    return search, GraphedStep(search, search.state) if given.cuda else None


Way = tuple[str, bool, bool, bool]
ALL = ("all", True, True, True)
WAYS: tuple[Way, ...] = (  # graph, formulas as one kernel, layers of lanes
    ("graph alone", True, False, False),
    ("and formulas as one kernel", True, True, False),
    ALL,
    ("all but the graph", False, True, True),
)


def ways(given: Given, count: int) -> Iterator[tuple[str, int]]:
    """How a step of so many lanes is computed, one after the other; gives the name and how many steps to time."""
    several = count in (1, given.many)
    for name, graph, fused, layers in WAYS if several and given.cuda else (ALL,):
        with graphs(graph), fusing(fused), layers_allowed(layers), seeded(0):
            yield name, given.steps if graph else min(10, given.steps)


def base_step(given: Given, note: Note) -> None:
    """Milliseconds of a base step of all lanes; floors; the plain loop beside it."""
    task = given.task()
    model, (x, y) = task.make_model(0), task.train.take(torch.arange(BASE.batch_size))
    with FlopCounterMode(display=False) as flops:
        cross_entropy(model(x), y).backward()
    note("FLOP of a plain step", flops.get_total_flops())
    with MovedBytes() as moved:
        cross_entropy(model(x), y).backward()
    note("bytes that its operations read and write", moved.total)
    for graph in (False, True) if given.cuda else (False,):
        name = "graph" if graph else "no graph"
        note(f"plain PyTorch loop, {name}, ms", 1e3 * given.per_step(plain(given, graph)))
    for count in given.counts:
        for name, steps in ways(given, count):
            each = training(given, count)
            _timed(given, note, f"{count} lanes, {name}, ms", each.step, steps, each)
    settings: tuple[Precision, ...] = ("tf32", "bf16")
    for setting in settings:
        with seeded(0), precision(setting, given.place):
            each = training(given, given.many, setting)
            _timed(given, note, f"{given.many} lanes, {setting}, ms", each.step, given.steps, each)


def meta_step(given: Given, note: Note) -> None:
    """Milliseconds of a meta step of all lanes."""
    for count in given.counts:
        for name, steps in ways(given, count):
            each = tuning(given, count)
            _timed(given, note, f"{count} lanes, {name}, ms", each.step, steps, each)


def filter_steps(given: Given, note: Note) -> None:
    """Milliseconds of a step of the rejection filter of all lanes."""
    for count in (1, given.many):
        for name, steps in ways(given, count):
            if name == ALL[0] and given.cuda:  # there are no layers here
                continue
            search, program = improving(given, count)
            program = program if graphs_on(given.place) else None
            call: Callable[[], object] = program or search
            key = f"{count} lanes, {name}, ms"
            note(key, 1e3 * given.per_step(lambda number, call=call: call(), steps))
            if program is not None and not program.captured:
                note(f"{key}: NO GRAPH", program.failure)


def _timed(given: Given, note: Note, key: str, step: Step, steps: int, owner: LanesTraining | LanesTuning) -> None:
    note(key, 1e3 * given.per_step(step, steps))
    if owner.program is not None and not owner.program.captured:
        note(f"{key}: NO GRAPH", owner.program.failure)
