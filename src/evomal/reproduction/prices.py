"""What a plan costs: evaluations and base steps, which are known, and hours, from timed steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evomal.foundation.serialization import duration
from evomal.reproduction.numbers import borrowed
from evomal.reproduction.plans import PlanPart, Wanted, evaluated
from evomal.reproduction.step_times import StepTimes
from evomal.reproduction.timing import PROBE, time_networks
from evomal.tasks import DATASETS


@dataclass(frozen=True, slots=True)
class PartPrice:
    """What a part costs if nothing of it is finished.

    Args:
        part: The part.
        least: Seconds on so many workers if few candidates are trained.
        most: The same if many are.
        note: How far that is to be trusted.
    """

    part: PlanPart
    least: float
    most: float
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        part = self.part
        work = {"searches": len(part.searches), "evaluations": part.evaluations, "trainings": part.trainings}
        hours = {"least_hours": self.least / 3600, "most_hours": self.most / 3600}
        return {"part": part.folder, "row": part.row, **work, "base_steps": part.base_steps, **hours, "note": self.note}


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """What a plan costs.

    Args:
        parts: The price of each part.
        device: Where its steps were timed.
        workers: Searches or trainings at a time.
        absent: Data sets that are not here, so that they need to be downloaded.
        changes: How the plan differs from the paper.
    """

    parts: tuple[PartPrice, ...]
    device: str
    workers: int
    absent: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def least(self) -> float:
        """Seconds for everything if few candidates are trained."""
        return sum(part.least for part in self.parts)

    @property
    def most(self) -> float:
        """Seconds for everything if many candidates are trained."""
        return sum(part.most for part in self.parts)

    @property
    def summary(self) -> list[str]:
        """The price in words, one sentence each."""
        parts = [each.part for each in self.parts]
        counted = (
            f"{sum(len(part.searches) for part in parts):,} searches of at most "
            f"{sum(part.evaluations for part in parts):,} evaluations in all, {sum(p.trainings for p in parts):,} full "
            f"trainings; at most {sum(part.base_steps for part in parts):,} base steps"
        )
        time = f"{hours(self.least)} to {hours(self.most)} hours on {self.device} with {self.workers} at a time"
        timed = "from steps that were timed for at most a minute on made-up images"
        idle = ", if nothing else runs there" if self.device == "cpu" else ""
        told = [counted, f"roughly {time}{idle}, {timed}"]
        if self.absent:
            told.append(f"not here yet, to be downloaded first: {', '.join(self.absent)}")
        return [*told, *self.changes]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        shown = {"least_hours": self.least / 3600, "most_hours": self.most / 3600, "device": self.device}
        lists = {"data_sets_absent": list(self.absent), "changes": list(self.changes)}
        return {**shown, "workers": self.workers, **lists, "parts": [part.as_dict() for part in self.parts]}


def price_of(
    parts: Sequence[PlanPart],
    wanted: Wanted,
    *,
    device: str = "cpu",
    workers: int = 1,
    data_dir: Any = None,
    seconds: float = PROBE,
) -> PlanPrice:
    """Estimate the hours of a plan, from a probe of about a minute; nothing is written, and no data set is needed.

    Args:
        parts: What is to be run.
        wanted: How.
        device: Where.
        workers: Searches or trainings at a time.
        data_dir: Where to look for data sets.
        seconds: How long the probe may take, roughly.
    """
    pairs = [(part.dataset, part.model, wanted.training_of(part.row).base) for part in parts]
    times = time_networks(pairs, device, seconds)
    sets = dict.fromkeys(part.dataset for part in parts if part.kind != "steps")
    return PlanPrice(
        tuple(part_price(part, times, workers) for part in parts),
        device,
        workers,
        tuple(name for name in sets if not DATASETS[name].at_hand(data_dir)),
        (*wanted.changes, *borrowed(part.row for part in parts)),
    )


def part_price(part: PlanPart, times: Mapping[str, StepTimes], workers: int) -> PartPrice:
    """The price of one part, from the times of its network.

    Args:
        part: The part.
        times: By network.
        workers: Searches or trainings at a time.
    """
    known = times[part.model]
    if part.kind == "steps":  # a few of each kind
        return PartPrice(part, 0.0, 20 * known.base * known.measured / known.batch, known.note)
    valid, test = evaluated(part.row)
    trained = part.trainings * known.training(part.steps, valid + test)
    # Searches of one method differ by their seed alone.
    prices = {settings: known.search(settings, valid) for settings in set(part.searches)}
    least, most = (
        sum(getattr(prices[settings], end) for settings in part.searches) + trained for end in ("least", "most")
    )
    at_a_time = max(1, min(workers, max(len(part.searches), part.trainings)))
    return PartPrice(part, least / at_a_time, most / at_a_time, known.note)


def hours(seconds: float) -> str:
    """A time in hours, as far as an estimate goes.

    Example:
        >>> hours(12_000), hours(3_600_000), hours(40)
        ('3.3', '1,000', '0.011')
    """
    number = seconds / 3600
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def row_of(price: PartPrice) -> list[str]:
    """A line of the table of a plan: part, searches, evaluations, trainings, base steps, time, how it was timed."""
    part = price.part
    counts = (len(part.searches), part.evaluations, part.trainings, part.base_steps)
    took = [duration(end) if end < 3600 else f"{hours(end)} h" for end in (price.least, price.most)]
    shown = took[0] if took[0] == took[1] else f"{took[0]} – {took[1]}"
    return [part.folder, *(f"{count:,}" if count else "" for count in counts), shown, price.note]


HEADS = ["part", "searches", "evaluations", "trainings", "base steps", "time", "how it was timed"]
"""The columns of `row_of`."""
