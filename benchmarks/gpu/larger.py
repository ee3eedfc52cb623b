"""A network for 32×32 images: one lane and four."""

import torch
from torch import nn

from benchmarks.gpu.given import BASE, Given, Note
from evomal.config import LocalSearchSettings
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task
from evomal.tasks.rng import seeded
from evomal.training.batched_fit import LanesTraining
from evomal.training.graphs import graphs
from evomal.training.precision import precision


def all_convolutions() -> nn.Module:
    """Convolutions only, 3–96–96–96–192–192–192–192–192–10, a third and a sixth one of stride 2: 1.4 M parameters."""
    layers: list[nn.Module] = []
    widths = [(3, 96, 1), (96, 96, 1), (96, 96, 2), (96, 192, 1), (192, 192, 1), (192, 192, 2), (192, 192, 1)]
    for before, after, stride in widths:
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.ReLU()]
    layers += [nn.Conv2d(192, 192, 1), nn.ReLU(), nn.Conv2d(192, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def larger(given: Given, note: Note) -> None:
    """Milliseconds of a base step and of a meta step on random images."""
    draw = torch.Generator().manual_seed(0)
    count = 5000 if given.cuda else 200
    x, y = torch.randn(count, 3, 32, 32, generator=draw), torch.randint(10, (count,), generator=draw)
    task = Task(all_convolutions, (x, y), (x[:1000], y[:1000]), name="32×32").to(given.place)
    steps = (10 if given.quick else 30) if given.cuda else 1
    batch = BASE.batch_size if given.cuda else 4
    base = BASE.model_copy(update={"batch_size": batch, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})
    rows = Batches(len(task.train), batch, 0)
    for setting in ("float32", "tf32"):
        for lanes in (1, 4) if given.cuda else (1, 2):
            losses = given.losses(lanes)
            with seeded(0), precision(setting, given.place), graphs(True):  # type: ignore[arg-type]
                fixed = stack([loss.requires_grad_(False) for loss in losses])
                model, total = task.make_model(0), 3 * steps + 8
                training = LanesTraining(model, fixed, task.train, rows, total, base, 0, None, setting)  # type: ignore[arg-type]
                note(f"base step, {lanes} lanes, {setting}, ms", 1e3 * given.per_step(training.step, steps))
                if setting == "tf32" and given.quick:
                    continue
                settings = LocalSearchSettings(meta_steps=total)
                stacked = stack([loss.requires_grad_() for loss in losses])
                tuning = LanesTuning(stacked, [BatchedMetaTrainer(task, settings, base, 0)], settings)
                note(f"meta step, {lanes} lanes, {setting}, ms", 1e3 * given.per_step(tuning.step, steps))
                for name, program in (("training", training.program), ("tuning", tuning.program)):
                    if program is not None and not program.captured:
                        note(f"{name}, {lanes} lanes: NO GRAPH", program.failure)
