"""How many candidates a device evaluates at a time: found by a quick probe of speed and memory."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch

from evomal.config import LearnSettings
from evomal.foundation.seeds import seeded
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, TaskSet
from evomal.training.batched_fit import LanesTraining
from evomal.training.precision import precision

GAIN = 0.9  # twice the lanes must bring the time per candidate below this share
FEW, STEPS = 10, 50
FORMULAS = {"classification": "mul(y, log(f))", "regression": "square(sub(y, f))", "multilabel": "mul(y, log(f))"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What some lanes cost.

    Args:
        seconds: Time of a few training steps.
        bytes: Most memory that was taken.
    """

    seconds: float
    bytes: int


Probe = Callable[[int], Cost]


def choose_lanes(
    tasks: TaskSet, settings: LearnSettings, probe: Probe | None = None, memory: Callable[[], int] | None = None
) -> int:
    """How many candidates are evaluated at a time, where the settings do not say so.

    On a CPU 1. On a GPU 1, 2, 4, … up to each worker's share of the population, as long as that makes a candidate more
    than 10 % cheaper and twice as much memory would be there.

    Args:
        tasks: The tasks.
        settings: Those of the search.
        probe: What a number of lanes costs; None measures a few training steps.
        memory: Bytes that may be taken; None asks the device.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.tasks import named_task
        >>> choose_lanes(TaskSet.of(named_task("iris", "linear")), learn_settings())
        1
    """
    if settings.execution.lanes is not None:
        return settings.execution.lanes
    if settings.genetic.asynchronous or tasks.device.type != "cuda":
        return 1
    probe = probe or (lambda lanes: _measured(tasks, settings, lanes))
    memory = memory or (lambda: torch.cuda.mem_get_info(tasks.device)[0] + torch.cuda.memory_reserved(tasks.device))
    most = max(1, settings.population // settings.workers)  # so that all workers have some
    lanes = 1
    try:
        cost = probe(1)
        while lanes < most and 2 * cost.bytes < memory():
            more = min(2 * lanes, most)
            next_cost = probe(more)
            if next_cost.seconds / more >= GAIN * cost.seconds / lanes:
                break
            lanes, cost = more, next_cost
    except Exception:  # more do not fit, or this model cannot be had in lanes
        pass
    return lanes


def _measured(tasks: TaskSet, settings: LearnSettings, lanes: int) -> Cost:
    """A few steady training steps on every task; the device is waited for."""
    device, setting = tasks.device, settings.execution.precision
    losses = [SymbolicLoss(FORMULAS[tasks.task_type], task_type=tasks.task_type).to(device) for _ in range(lanes)]
    stacked = stack(losses)
    seconds = 0.0
    with precision(setting, device):
        torch.cuda.reset_peak_memory_stats(device)
        for task in tasks:
            batches = Batches.of(task.train, settings.base.batch_size, 0, task.key, "lanes")
            steps, model = FEW + STEPS, task.make_model(0)
            training = LanesTraining(
                model, stacked, task.train, batches, steps, settings.base, 0, None, setting, task.own
            )
            with seeded(0):
                for number in range(FEW):  # libraries are loaded, kernels chosen, the step becomes a CUDA graph
                    training.step(number)
                torch.cuda.synchronize(device)
                start = perf_counter()
                for number in range(FEW, steps):
                    training.step(number)
                torch.cuda.synchronize(device)
            seconds += perf_counter() - start
    return Cost(seconds, torch.cuda.max_memory_allocated(device))
