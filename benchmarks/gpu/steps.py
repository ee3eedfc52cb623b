"""Time of a base step, a meta step and a step of the rejection filter: by lanes, with CUDA graphs and without."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.counting import MovedBytes
from benchmarks.gpu.given import BASE, Given, Note, batches
from evomal.config import FilterSettings, LocalSearchSettings
from evomal.evaluation.batched_filters import Improving
from evomal.evaluation.filters import make_probe
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning
from evomal.losses.batched_families import stack
from evomal.tasks.rng import seeded
from evomal.training.batched_fit import LanesTraining
from evomal.training.graphs import GraphedStep, graphs

Step = Callable[[int], object]


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


def training(given: Given, count: int, setting: str = "float32") -> LanesTraining:
    """A training of so many lanes."""
    task = given.task()
    losses = [loss.requires_grad_(False) for loss in given.losses(count)]
    model = task.make_model(0)
    return LanesTraining(model, stack(losses), task.train, batches(task), given.all_steps, BASE, 0, None, setting)  # type: ignore[arg-type]


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


def _ways(given: Given) -> tuple[bool, ...]:
    return (False, True) if given.cuda else (False,)


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
    for graph in _ways(given):
        note(f"plain PyTorch loop, {_with(graph)}, ms", 1e3 * given.per_step(plain(given, graph)))
    for count in given.counts:
        for graph in _ways(given):
            with seeded(0), graphs(graph):
                each = training(given, count)
                key = f"{count} lanes, {_with(graph)}, ms"
                note(key, 1e3 * given.per_step(each.step))
                _tell(note, key, each.program)
    for setting in ("tf32", "bf16"):
        from evomal.training.precision import precision

        with seeded(0), precision(setting, given.place):  # type: ignore[arg-type]
            key = f"{given.many} lanes, {setting}, ms"
            note(key, 1e3 * given.per_step(training(given, given.many, setting).step))


def meta_step(given: Given, note: Note) -> None:
    """Milliseconds of a meta step of all lanes."""
    for count in given.counts:
        for graph in _ways(given):
            with seeded(0), graphs(graph):
                each = tuning(given, count)
                key = f"{count} lanes, {_with(graph)}, ms"
                note(key, 1e3 * given.per_step(each.step))
                _tell(note, key, each.program)


def filter_steps(given: Given, note: Note) -> None:
    """Milliseconds of a step of the rejection filter of all lanes."""
    for count in {1, given.many}:
        for graph in _ways(given):
            search, program = improving(given, count)
            key = f"{count} lanes, {_with(graph)}, ms"
            call = program if graph and program is not None else search
            note(key, 1e3 * given.per_step(lambda number, call=call: call()))
            _tell(note, key, program if graph else None)


def _with(graph: bool) -> str:
    return "graph" if graph else "no graph"


def _tell(note: Note, key: str, program: GraphedStep | None) -> None:
    if program is not None and not program.captured:
        note(f"{key}: NO GRAPH", program.failure)
