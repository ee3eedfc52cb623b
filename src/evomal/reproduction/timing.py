"""What steps of a network cost here, measured on made-up images, and the hours of a search projected from that.

On a processor it is its own time that is taken, one thread's, so that what else runs there counts little.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Self

import torch

from evomal.config import BaseSettings, LearnSettings, LocalSearchSettings
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import generator
from evomal.local_search import tune
from evomal.losses import SymbolicLoss
from evomal.reproduction.numbers import STAND_INS
from evomal.search import make_method
from evomal.search.prices import Price
from evomal.search.pricing import Costs, stages_of
from evomal.tasks import Batches, Task
from evomal.tasks.models import ModelFactory
from evomal.training.evaluate import evaluate
from evomal.training.fit import fit, one_thread

PROBE = 60.0  # seconds for all networks of a plan
LEAST_BATCH = 2  # batch normalisation needs two
CANDIDATES = 2
BUSY = 1.2
WORK = 20  # base steps that all measurements of a network are worth, roughly
SHAPES = {"mnist": (1, 28, 28)}
SHAPES |= {name: SHAPES[own] for name, own in STAND_INS.items() if own in SHAPES}
COLOURED = (3, 32, 32)
CLASSES = {"cifar100": 100}
FORMULA = "square(sub(y, f))"  # what a step costs hardly depends on the formula


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What steps of a network take, in seconds for a whole batch.

    Args:
        model: The network.
        device: Where it was measured.
        batch: Instances in a batch that times are for.
        measured: Instances in a batch that was timed; times are scaled by what further instances add to a step, in
            proportion where nothing is known of that, which is too much then.
        base: A base step.
        meta: A meta step of one candidate, with S_base = 1.
        more: What each further candidate adds to a meta step, as all share its batches and first predictions.
        forward: Predictions for a batch, in evaluation mode.
        repeats: Steps of each kind that were timed; of several the mean.
        taken_from: The network that was timed in its place, where there was no time; else None.
        slowdown: How much longer it took by the clock than by the processor's time; 1 on an accelerator.
    """

    model: str
    device: str
    batch: int
    measured: int
    base: float
    meta: float
    more: float
    forward: float
    repeats: int
    taken_from: str | None = None
    slowdown: float = 1.0

    @property
    def note(self) -> str:
        """How far the times are to be trusted.

        Example:
            >>> StepTimes("lenet5", "cpu", 128, 8, 0.1, 0.2, 0.1, 0.01, 2).note
            'timed at batch 8, scaled to 128'
        """
        if self.taken_from is not None:
            return f"not timed: {self.taken_from}'s times, in proportion to the operations of a prediction"
        scaled = "" if self.measured == self.batch else f", scaled to {self.batch}"
        shared = f"; by the clock {self.slowdown:.1f} times that, beside other work" if self.slowdown > BUSY else ""
        return f"timed at batch {self.measured}{scaled}{shared}"

    def taken_for(self, model: str, ratio: float, batch: int) -> "StepTimes":
        """These times for a network that takes so many times the operations.

        Example:
            >>> StepTimes("vgg16", "cpu", 128, 8, 0.5, 1.0, 0.5, 0.1, 1).taken_for("resnet18", 2.0, 64).base
            0.5
        """
        scale = ratio * batch / self.batch
        times = {name: scale * getattr(self, name) for name in ("base", "meta", "more", "forward")}
        return replace(self, model=model, batch=batch, taken_from=self.model, **times)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Times from plain values."""
        return cls(**values)

    def search(self, settings: LearnSettings, valid: int) -> Price:
        """The price of one search, on one worker.

        Args:
            settings: Of the search.
            valid: Instances of the validation split.

        Example:
            >>> from evomal.config import learn_settings
            >>> times = StepTimes("lenet5", "cpu", 128, 128, 0.01, 0.02, 0.01, 0.005, 2)
            >>> cost = times.search(learn_settings("paper-mnist"), 6_000)
            >>> round(cost.least / 3600, 1), round(cost.most / 3600, 1)
            (1.3, 1.7)
        """
        method = make_method(settings)
        meta_steps = settings.tuning.meta_steps * settings.local_search.base_steps
        trained = settings.partial_steps * self.base + self.evaluation(valid)
        shared = meta_steps * max(self.meta - self.more, 0.0)
        costs = Costs(meta_steps * self.more, shared, self.forward, trained * len(settings.fitness_lrs))
        stages = stages_of(settings, method.shares, costs)
        return Price(stages, settings.evaluations, 0.0, method.shares)

    def training(self, steps: int, evaluated: int) -> float:
        """Seconds for a full training, and the evaluation of that many instances."""
        return steps * self.base + self.evaluation(evaluated)

    def evaluation(self, instances: int) -> float:
        """Seconds for the predictions of that many instances."""
        return instances / self.batch * self.forward


def made_up_task(dataset: str, model: str, device: str = "cpu", count: int = 256) -> Task:
    """A task of random images in the shape of a data set's, so that nothing needs to be there.

    Example:
        >>> made_up_task("cifar100", "linear", count=8).train.take(torch.arange(4))[0].shape
        torch.Size([4, 3, 32, 32])
    """
    shape, classes = SHAPES.get(dataset, COLOURED), CLASSES.get(dataset, 10)
    draw = generator(0, "reproduction", dataset, count)
    x = torch.randn(count, *shape, generator=draw)
    split = (x, torch.arange(count) % classes)
    factory = ModelFactory(model, shape, classes)
    return Task(factory, split, split, name="made up", model_name=model, task_type="classification", device=device)


def time_steps(
    dataset: str,
    model: str,
    base: BaseSettings,
    device: str = "cpu",
    seconds: float = PROBE,
    measured: int | None = None,
    repeats: int = 1,
) -> StepTimes:
    """Time single steps of a network.

    Args:
        dataset: What its inputs look like.
        model: The network.
        base: The base optimiser; its batch is what times are for.
        device: Where to measure.
        seconds: How long it may take, roughly, on an idle machine; the batch is made smaller until it fits.
        measured: Instances in a timed batch; None takes as many as fit.
        repeats: Steps of each kind to time.

    Raises:
        SettingError: `measured` is too small.

    Example:
        >>> times = time_steps("mnist", "linear", BaseSettings(batch_size=8), seconds=5.0)
        >>> times.measured, times.base > 0
        (8, True)
    """
    if measured is not None and measured < LEAST_BATCH:
        raise SettingError(f"setting 'timed_batch': {measured} is too few; batch normalisation needs {LEAST_BATCH}")
    hurried = measured is None
    clock = _Clock(made_up_task(dataset, model, device, max(base.batch_size, measured or 0)), base, repeats)
    begun, end = perf_counter(), clock.now() + seconds
    clock.base(LEAST_BATCH, 1)  # what torch does at a first use only
    small = clock.base(LEAST_BATCH)
    measured = _fitting(small, base.batch_size, seconds) if measured is None else measured
    clock.base(measured, 1)
    taken = [clock.base(measured), clock.meta(measured, 1)]
    if hurried and clock.now() + CANDIDATES * taken[1] > end:
        taken.append(CANDIDATES * taken[1])  # no time to see what they share: nothing
    else:
        taken.append(clock.meta(measured, CANDIDATES))
    taken.append(clock.forward(measured))
    scale = _scale(small, taken[0], measured, base.batch_size)
    one_step, one, several, forward = (scale * each for each in taken)
    more = min(max((several - one) / (CANDIDATES - 1), 0.0), one)
    slowdown = max((perf_counter() - begun) / max(clock.now() + seconds - end, 1e-9), 1.0)
    return StepTimes(model, device, base.batch_size, measured, one_step, one, more, forward, repeats, slowdown=slowdown)


def _fitting(step: float, batch: int, seconds: float) -> int:
    """The largest batch, as far as needed, with which all measurements fit into a time; `step` is one of the least."""
    fitting, measured = LEAST_BATCH * seconds / max(WORK * step, 1e-9), LEAST_BATCH
    while measured < batch and 2 * measured <= fitting:
        measured *= 2
    return min(measured, batch)


def _scale(small: float, step: float, measured: int, batch: int) -> float:
    """What a step of a whole batch takes, in steps of the measured one.

    A straight line through the step of the least batch, and through this one; in proportion where they are the same.

    Example:
        >>> _scale(1.0, 2.0, 4, 8), _scale(1.0, 1.0, 2, 8), _scale(3.0, 2.0, 4, 8)
        (2.0, 4.0, 1.0)
    """
    if measured <= LEAST_BATCH or batch <= measured:
        return batch / measured
    slope = max(step - small, 0.0) / (measured - LEAST_BATCH)
    return min(1 + slope * (batch - measured) / step, batch / measured)


class _Clock:
    """Runs steps and says what they took, each on a fresh network."""

    def __init__(self, task: Task, base: BaseSettings, repeats: int) -> None:
        self._task, self._base, self._repeats = task, base, repeats
        self._loss = SymbolicLoss(FORMULA, task_type="classification")

    def base(self, batch: int, steps: int | None = None) -> float:
        """A base step, the time of making a network apart."""
        task, steps = self._task, steps or self._repeats
        with one_thread():
            model = task.make_model(0)
            batches = Batches.of(task.train, batch, 0, "timing")
            start = self.now()
            fit(model, self._loss, task.train, batches, steps, self._base, 0)
            return (self.now() - start) / steps

    def meta(self, batch: int, candidates: int) -> float:
        """A meta step of some candidates; the first, which makes networks, apart where several are timed."""
        losses = [SymbolicLoss(FORMULA, task_type="classification") for _ in range(candidates)]
        base = self._base.model_copy(update={"batch_size": batch})
        times = [self.now()]
        local = LocalSearchSettings(meta_steps=self._repeats + (self._repeats > 1))
        tune(losses, self._task, local, base, 0, lambda step: times.append(self.now()))
        first = 0 if len(times) <= 2 else 1
        return (times[-1] - times[first]) / (len(times) - 1 - first)

    def forward(self, batch: int) -> float:
        """Predictions, whose metric costs next to nothing."""
        task = self._task
        model = task.make_model(0)
        start = self.now()
        with one_thread():
            evaluate(model, task.train.subset(torch.arange(batch)), task.metric)
        return self.now() - start

    def now(self) -> float:
        """Seconds: of this process on a processor, by the clock on an accelerator."""
        if self._task.device.type == "cpu":
            return process_time()
        if self._task.device.type == "cuda":  # its work is only begun when a call returns
            torch.cuda.synchronize(self._task.device)
        return perf_counter()


def time_networks(
    pairs: Sequence[tuple[str, str, BaseSettings]], device: str = "cpu", seconds: float = PROBE
) -> dict[str, StepTimes]:
    """Time several networks within a time, the small ones first, so that the large ones have what those left.

    Args:
        pairs: Data set, network and base optimiser of each; of a network that is there twice, once.
        device: Where to measure.
        seconds: For all of them.

    Returns:
        By network; for one that there is no time for, the times of another one that was measured, in proportion to the
        operations of a prediction.
    """
    end = perf_counter() + seconds
    distinct = {model: (dataset, base) for dataset, model, base in pairs}
    work = {model: operations(dataset, model) for model, (dataset, _) in distinct.items()}
    time_steps("mnist", "linear", BaseSettings(batch_size=LEAST_BATCH), device)  # loads what the first step needs
    slowdown = time_steps("mnist", "lenet5", BaseSettings(batch_size=LEAST_BATCH), device).slowdown
    found: dict[str, StepTimes] = {}
    timed: list[StepTimes] = []
    for place, model in enumerate(sorted(distinct, key=work.__getitem__)):
        dataset, base = distinct[model]
        left = (end - perf_counter()) / slowdown
        if timed:
            # The quickest for its operations: small networks, and those of few operations a weight, are slow for them.
            best = min(timed, key=lambda each: each.base / each.batch / work[each.model])
            guess = best.taken_for(model, work[model] / work[best.model], base.batch_size)
            if left < WORK * guess.base * LEAST_BATCH / guess.batch:
                found[model] = guess
                continue
        found[model] = time_steps(dataset, model, base, device, left / (len(distinct) - place))
        timed.append(found[model])
        slowdown = found[model].slowdown
    return found


def machine(device: str) -> str:
    """What computes, as far as the system says.

    Example:
        >>> machine("cpu").endswith("cores") or machine("cpu").endswith("core")
        True
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = os.cpu_count() or 1
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def operations(dataset: str, model: str) -> int:
    """Multiplications and additions of a prediction for one instance of a data set's shape.

    Example:
        >>> operations("mnist", "linear") == 2 * 28 * 28 * 10
        True
    """
    from torch.utils.flop_counter import FlopCounterMode

    shape = SHAPES.get(dataset, COLOURED)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ModelFactory(model, shape, CLASSES.get(dataset, 10))().eval()(torch.empty(1, *shape))
    return int(counter.get_total_flops())
