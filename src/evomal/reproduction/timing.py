"""What steps of a network cost here, measured on made-up images.

On a processor it is its own time that is taken, one thread's, so that what else runs there counts little.
"""

from collections.abc import Sequence
from time import perf_counter, process_time

import torch

from evomal.config import BaseSettings, LocalSearchSettings
from evomal.foundation.errors import SettingError
from evomal.local_search import tune
from evomal.losses import SymbolicLoss
from evomal.reproduction.made_up import made_up_task, operations
from evomal.reproduction.step_times import StepTimes
from evomal.tasks import Batches, Task
from evomal.training.evaluate import evaluate
from evomal.training.fit import fit, one_thread

PROBE = 60.0  # seconds for all networks of a plan
LEAST_BATCH = 2  # batch normalisation needs two
CANDIDATES = 2
WORK = 20  # base steps that all measurements of a network are worth, roughly
FORMULA = "square(sub(y, f))"  # what a step costs hardly depends on the formula


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
