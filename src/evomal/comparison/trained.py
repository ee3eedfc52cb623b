"""Losses trained beside one another without a search: what came out, and what must be known to read it rightly."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from evomal.comparison.past import entries_of
from evomal.comparison.tables import markdown_table, markdown_text
from evomal.config import TrainSettings
from evomal.foundation.errors import unknown_name
from evomal.foundation.later_rooms import carried_out
from evomal.foundation.serialization import cleaned, places
from evomal.losses import LearnedLoss
from evomal.losses.criterion import LossFunction
from evomal.store.provenance import base_training
from evomal.tasks import Task
from evomal.training import MetaTest
from evomal.training.chance import hardly_learns
from evomal.training.fit import NO_LABEL

# What a loss is tuned for and may meet otherwise, with what holds where nothing is said.
COMPARED: dict[str, Any] = {
    "optimizer": None,
    **dict.fromkeys(("lr", "momentum", "nesterov", "weight_decay", "betas", "smoothing", "eps")),
    "clip": "none",
    "schedule": "constant",
    "warmup": 0.0,
    "batch_size": None,
}


@dataclass(frozen=True, slots=True)
class TrainedLoss:
    """A loss and its meta-test.

    Args:
        name: What the loss was called by.
        loss: The loss.
        test: All trainings with it.
        task: The task.
        settings: How it was trained.
        ratio: How much longer its first gradients are than the task loss's; None if that is not finite or the loss is
            handcrafted.
    """

    name: str
    loss: LossFunction
    test: MetaTest
    task: Task
    settings: TrainSettings
    ratio: float | None

    @property
    def mean(self) -> float:
        """Mean test metric over seeds at the rate that validation chose; NaN if a training diverged."""
        return self.test.mean

    @property
    def diverged(self) -> int:
        """How many of the trainings at the chosen rate diverged."""
        return sum(not math.isfinite(run.test) for run in self.test.chosen)

    @property
    def notes(self) -> list[str]:
        """Remarks, one sentence each: what must be known to read the numbers rightly."""
        return [*self._divergence(), *self._edge(), *self._chance(), *self._history(), *self._step_size()]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        formula = self.loss.formula(digits=4) if isinstance(self.loss, LearnedLoss) else None
        return {"loss": self.name, "formula": formula, **self.test.as_dict(), "notes": self.notes}

    def _divergence(self) -> list[str]:
        runs, rates = self.test.runs, self.settings.lrs
        bad = [run for run in runs if not math.isfinite(run.test)]
        told = [f"seed {run.seed} at lr {run.lr:g} ({run.reason or 'outputs are not finite'})" for run in bad]
        ended = f"{len(bad)} of {len(runs)} trainings diverged"
        advice = "" if len(rates) > 1 else "; try a smaller learning rate"
        if bad and all(NO_LABEL in (run.reason or "") for run in bad):
            advice = "; give larger batches, or leave out instances without a label"
        return [f"{ended}: {', '.join(told)}{advice}"] if bad else []

    def _chance(self) -> list[str]:
        """Whether the task loss itself learned anything."""
        runs = [run.valid for run in self.test.chosen]
        if self.name != self.task.task_loss_name or not all(map(math.isfinite, runs)):
            return []
        base = self.settings.base_at(self.test.lr)
        remark = hardly_learns([self.task], fmean(runs), base)
        return [] if remark is None else [remark]

    def _history(self) -> list[str]:
        """What the loss file says of its past that this use differs from."""
        tuned = entries_of(self.loss, "tuned_for")
        used = base_training(self.settings.base, self.task) | {"lr": self.test.lr}
        notes = []
        pairs = {name: (tuned.get(name, usual), used.get(name, usual)) for name, usual in COMPARED.items() if tuned}
        # What only one of two optimisers has says nothing about the other.
        differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and None not in pair}
        if differ:
            then = ", ".join(f"{name} {_shown(before)}" for name, (before, _) in differ.items())
            now = ", ".join(f"{name} {_shown(after)}" for name, (_, after) in differ.items())
            notes.append(f"tuned for {then}; used here with {now}")
        word = "tuned_on" if entries_of(self.loss, "tuned_on") else "learned_on"
        origin = entries_of(self.loss, word)
        here = {"dataset": self.task.dataset, "model": self.task.model_name}
        if any(name in origin and origin[name] != value for name, value in here.items()):
            past = f"{cleaned(origin.get('dataset'))}/{cleaned(origin.get('model'))}"
            present = f"{self.task.dataset}/{self.task.model_name}"
            notes.append(f"{word.replace('_', ' ')} {past}, used on {present}: this is transfer")
        return notes

    def _step_size(self) -> list[str]:
        """How long the loss's first gradients are here, on this task."""
        rival = f"compare with {self.task.task_loss_name} at its best learning rate"
        return [] if self.ratio is None else [f"its first gradients are {self.ratio:.3g} × the task loss's: {rival}"]

    def _edge(self) -> list[str]:
        """Whether the best rate may lie outside those that were tried."""
        rates = self.settings.lrs
        if len(rates) < 2 or self.test.lr not in (min(rates), max(rates)):
            return []
        further = "smaller" if self.test.lr == min(rates) else "greater"
        return [f"its best lr {self.test.lr:g} is at the edge of those tried; try {further} ones too"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Losses trained beside one another; it prints as a table with notes.

    Args:
        losses: Every loss, in the order in which they were given.
        task: What the task is, as plain values.
        settings: How networks were trained.
        workers: Trainings at a time.

    Example:
        >>> from evomal.comparison import train
        >>> from evomal.tasks import named_task
        >>> result = train(named_task("iris", "linear"), ["cross_entropy", "focal"], steps=20, seeds=(0, 1))
        >>> [each.name for each in result], len(result["focal"].test.runs)
        (['cross_entropy', 'focal'], 2)
    """

    losses: tuple[TrainedLoss, ...]
    task: Mapping[str, Any] = field(repr=False)
    settings: TrainSettings
    workers: int = 1

    @property
    def best(self) -> TrainedLoss:
        """The loss with the lowest mean test metric, each at its own rate; one of which a training diverged is last."""
        return min(self.losses, key=lambda each: each.mean if math.isfinite(each.mean) else math.inf)

    @property
    def notes(self) -> list[str]:
        """What must be known to read the numbers rightly, each with the name of its loss."""
        return [f"{each.name}: {note}" for each in self.losses for note in each.notes]

    def __iter__(self) -> Iterator[TrainedLoss]:
        """Every loss, in the order in which they were given."""
        return iter(self.losses)

    def __len__(self) -> int:
        """How many losses there are."""
        return len(self.losses)

    def __getitem__(self, which: int | str) -> TrainedLoss:
        """A loss by its place or its name.

        Raises:
            UnknownNameError: No loss is called that.
        """
        if isinstance(which, int):
            return self.losses[which]
        named = {each.name: each for each in self.losses}
        if which not in named:
            raise unknown_name("loss", which, named)
        return named[which]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(carried_out("html_of_trained", self))

    def __str__(self) -> str:
        """The table in Markdown, and the notes."""
        if not self.losses:
            return "no loss is finished"
        rows = [[markdown_text(cell) for cell in row] for row in rows_of_trained(self.losses)]
        table = markdown_table(rows, left=("each seed",))
        notes = "\n".join(f"- {markdown_text(note)}" for note in self.notes)
        return f"{table}\n\n{notes}" if notes else table

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, as the command writes it."""
        return {
            "task": dict(self.task),
            "workers": self.workers,
            "settings": self.settings.model_dump(mode="json"),
            "results": [each.as_dict() for each in self.losses],
        }


def rows_of_trained(results: Sequence[TrainedLoss]) -> list[list[str]]:
    """One row a loss: chosen rate, mean ± standard deviation over seeds, each seed's value, seconds; heads first."""
    rows = [["loss", "lr", f"test {results[0].test.metric}, mean ± sd", "each seed", "seconds in all"]]
    digits = places(run.test for result in results for run in result.test.chosen)
    for result in results:
        test = result.test
        spread = "" if test.sd is None or not math.isfinite(test.sd) else f" ± {test.sd:.{digits}f}"
        mean = f"{test.mean:.{digits}f}{spread}" if math.isfinite(test.mean) else "diverged"
        each = "  ".join(f"{run.test:.{digits}f}" if math.isfinite(run.test) else "diverged" for run in test.chosen)
        seconds = sum(run.seconds for run in test.runs)
        rows.append([cleaned(result.name), f"{test.lr:g}", mean, each, f"{seconds:.1f}"])
    return rows


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else cleaned(value)
