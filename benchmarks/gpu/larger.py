"""A network for 32×32 images: one lane and four."""

import torch
from torch import nn

from benchmarks.gpu.given import BASE, Given, Note
from evomal.config import LocalSearchSettings
from evomal.foundation.seeds import seeded
from evomal.local_search.batched_step import BatchedMetaTrainer
from evomal.local_search.batched_tune import LanesTuning
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task
from evomal.tasks.models import AllCNNC
from evomal.training.batched_fit import LanesTraining
from evomal.training.lane_layers import layers_allowed
from evomal.training.precision import Precision, precision


def all_convolutions() -> nn.Module:
    """All-CNN-C without dropout: what draws nothing can be tuned by CUDA graphs."""
    return AllCNNC((3, 32, 32), 10, dropout=(0.0, 0.0))


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
    settings: tuple[Precision, ...] = ("float32", "tf32")
    ways = [(setting, layers) for setting in settings for layers in ((False, True) if given.cuda else (False,))]
    for setting, layers in ways:
        for lanes in (1, 4) if given.cuda else (1, 2):
            losses = given.losses(lanes)
            name = f"{lanes} lanes, {setting}{', layers of lanes' if layers else ''}"
            with seeded(0), precision(setting, given.place), layers_allowed(layers):
                fixed = stack([loss.requires_grad_(False) for loss in losses])
                model, total = task.make_model(0), 3 * steps + 8
                training = LanesTraining(model, fixed, task.train, rows, total, base, 0, None, setting)  # type: ignore[arg-type]
                note(f"base step, {name}, ms", 1e3 * given.per_step(training.step, steps))
                if setting == "tf32" and given.quick:
                    continue
                local = LocalSearchSettings(meta_steps=total)
                stacked = stack([loss.requires_grad_() for loss in losses])
                tuning = LanesTuning(stacked, [BatchedMetaTrainer(task, local, base, 0)], local)
                note(f"meta step, {name}, ms", 1e3 * given.per_step(tuning.step, steps))
                for which, program in (("training", training.program), ("tuning", tuning.program)):
                    if program is not None and not program.captured:
                        note(f"{which}, {name}: NO GRAPH", program.failure)
