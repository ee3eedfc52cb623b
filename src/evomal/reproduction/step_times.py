"""What steps of a network take, and what searches and trainings take then."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from evomal.config import LearnSettings
from evomal.search import make_method
from evomal.search.prices import Price
from evomal.search.pricing import Costs, stages_of

BUSY = 1.2


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
