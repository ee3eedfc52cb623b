"""How many candidates a device evaluates at a time: on a GPU found by a quick probe, on a CPU by counting work."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch

from evomal.config import LearnSettings
from evomal.expressions import TABLE_1
from evomal.foundation.seeds import seeded
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.tasks import Batches, Task, TaskSet
from evomal.training.batched_fit import LanesTraining
from evomal.training.chains import recognised
from evomal.training.precision import precision

GAIN = 0.9  # twice the lanes must bring the time per candidate below this share
FEW, STEPS = 10, 50
# On a CPU, by what docs/performance.md measured:
ON_CPU = 12  # lanes of small networks
MOST_PRODUCTS = 2**24  # multiplications of a forward pass on a batch, above which lanes gain less than twofold
LEAST_STEPS = 100  # of tuning and partial training together, below which what a group costs once is not made up for
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

    On a CPU 12 where networks are small and work is long enough to pay (see `pays_on_cpu`), else 1: that is counted, so
    that it is the same for any machine, its load, and any number of workers. On a GPU 1, 2, 4, … up to each worker's
    share of the population, as long as that makes a candidate more than 10 % cheaper and twice as much memory would be
    there.

    Args:
        tasks: The tasks.
        settings: Those of the search.
        probe: What a number of lanes costs; None measures a few training steps.
        memory: Bytes that may be taken; None asks the device.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.tasks import named_task
        >>> iris = TaskSet.of(named_task("iris", "linear"))
        >>> [choose_lanes(iris, learn_settings(preset)) for preset in ("practice", "paper-mnist")]
        [12, 1]
    """
    if settings.execution.lanes is not None:
        return settings.execution.lanes
    if settings.genetic.asynchronous:
        return 1
    if tasks.device.type != "cuda":
        return min(ON_CPU, settings.population) if pays_on_cpu(tasks, settings) else 1
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


def pays_on_cpu(tasks: TaskSet, settings: LearnSettings) -> bool:
    """Whether candidates of a search are quicker in lanes on a CPU, as far as that was measured.

    They are where networks are small chains of linear layers, formulas are of the operators of the paper,
    meta-gradients go through one base step, and a candidate takes more than a few steps. Searches without scale
    control, the paper's way, stay one at a time: their numbers are to be those of earlier versions.

    Args:
        tasks: The tasks.
        settings: Those of the search.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.tasks import named_task
        >>> digits = TaskSet.of(named_task("digits", "mlp"))
        >>> [pays_on_cpu(digits, learn_settings(preset)) for preset in ("practice", "paper-mnist")]
        [True, False]
    """
    if not settings.scale_control or settings.execution.precision == "bf16":
        return False
    formulas = settings.method in ("evomal", "gplfl") and set(settings.genetic.operators) <= set(TABLE_1)
    steps = settings.tuning.meta_steps + settings.partial_steps
    once = settings.tuning.base_steps == 1 or settings.tuning.meta_steps == 0
    return formulas and once and steps >= LEAST_STEPS and small_networks(tasks, settings)


def small_networks(tasks: TaskSet, settings: LearnSettings) -> bool:
    """Whether the networks of all tasks are small chains of linear layers, with optimisers and schedules of ours.

    Example:
        >>> from evomal.config import learn_settings
        >>> from evomal.tasks import named_task
        >>> [small_networks(TaskSet.of(named_task("digits", "mlp", width=width)), learn_settings()) for width in (1, 8)]
        [True, False]
    """
    return tasks.device.type == "cpu" and all(_is_small(task, settings.base.batch_size) for task in tasks)


def _is_small(task: Task, batch_size: int) -> bool:
    if task.own.optimizer is not None or task.own.schedule is not None:
        return False
    model = task.make_model(0)
    products = sum(p.numel() for p in model.parameters()) * min(batch_size, len(task.train))
    chain = recognised(model)
    return products <= MOST_PRODUCTS and chain is not None and chain.suits(task.train.take(torch.arange(1))[0])


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
