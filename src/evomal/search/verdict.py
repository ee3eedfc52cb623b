"""The verdict: which loss to use at which rate, and how sure that is."""

import math
from statistics import stdev
from typing import Any, Literal

from pydantic import ValidationError

from evomal.config.fields import CountOrZero, Settings
from evomal.evaluation.finals import FinalsOutcome, StandingsRow
from evomal.evaluation.finals.plan import Kind
from evomal.evaluation.statistics import holm, resampled_test
from evomal.foundation.serialization import finite_or_none

LEVEL = 0.05
VerdictKind = Literal["learned", "handcrafted", "tie", "nothing learns", "not tested"]


class Against(Settings):
    """The loss that is handed out, beside another one on the splits of the re-test.

    Args:
        name: What the other one is called.
        kind: What it is.
        lr: Its own best rate.
        value: Its mean metric; None if a training failed.
        gain: By how much it is worse, on average.
        low: Lower end of the interval of the gain, at 95 % for all comparisons of the re-test together.
        high: Its upper end.
        p: Of the corrected paired test (`resampled_test`), two-sided, after Holm.
    """

    name: str
    kind: Kind
    lr: float
    value: float | None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def tied(self) -> bool:
        """Whether the difference may be chance."""
        return self.value is not None and self.p is not None and self.p >= LEVEL

    @property
    def evidence(self) -> str:
        """The difference with its interval and p."""
        if self.value is None or self.gain is None:
            return "which failed in the re-test"
        if self.low is None or self.high is None or self.p is None:
            return f"difference {self.gain:.2g} on every split"
        return f"difference {self.gain:.2g}, interval {self.low:.2g} to {self.high:.2g}, p {self.p:.2g}"

    def __str__(self) -> str:
        """Value, loss and rate in words."""
        value = "failed" if self.value is None else f"{self.value:.4g}"
        return f"{value} with {told(self.name, self.kind)} at {self.lr:.3g}"


class Place(Settings):
    """What finals found out about one entrant; see `evomal.evaluation.finals.StandingsRow`."""

    name: str
    kind: Kind
    fitness: float | None
    lr: float | None
    lrs: tuple[float, ...]
    folds: CountOrZero
    race: float | None
    retest: float | None
    sd: float | None
    formula: str = ""


class Verdict(Settings):
    """Which of all losses to use, at which rate, and the evidence.

    Args:
        kind: ``learned``: it is better than the best handcrafted one. ``handcrafted``: that one is better. ``tie``:
            the difference may be chance. ``nothing learns``: no loss gets anywhere. ``not tested``: there was no
            budget for a re-test.
        name: The loss that is handed out.
        loss_kind: What that is.
        lr: The rate to use it at; None where nothing is known of it.
        metric: What is measured.
        value: Its mean over the splits of the re-test.
        against: The others of the re-test, the best first.
        splits: Fresh splits of the re-test.
        chance: Mean metric on them of whoever has learned nothing.
        steps: Base steps of a training.
        spent: Base steps of all finals.
        budget: Base steps that they might have cost.
        rank_correlation: Spearman's ρ between fitness and finals over the finalists that the search found.
        places: All entrants that took part, by place.
        notes: Remarks, one sentence each.
    """

    kind: VerdictKind
    name: str
    loss_kind: Kind
    lr: float | None
    metric: str
    value: float | None
    against: tuple[Against, ...]
    splits: CountOrZero
    chance: float | None
    steps: CountOrZero
    spent: CountOrZero
    budget: CountOrZero
    rank_correlation: float | None
    places: tuple[Place, ...]
    notes: tuple[str, ...] = ()

    def entries(self) -> dict[str, Any]:
        """All of it as plain values, the message among them."""
        return {"message": self.message, **self.model_dump(mode="json")}

    @classmethod
    def of(cls, entries: Any) -> "Verdict | None":
        """The verdict that `entries` wrote; None for anything else."""
        if not isinstance(entries, dict):
            return None
        try:
            return cls.model_validate({name: value for name, value in entries.items() if name != "message"})
        except ValidationError:
            return None

    def best(self, *kinds: Kind) -> Against | None:
        """The best of the others that is one of these kinds; None if there is none."""
        return next((other for other in self.against if other.kind in kinds), None)

    def __repr__(self) -> str:
        """What it comes to; all of it is in `entries`."""
        return f"Verdict({self.message!r})"

    def __str__(self) -> str:
        """The verdict in a sentence."""
        return self.message

    @property
    def message(self) -> str:
        """The verdict in a sentence."""
        if self.kind == "nothing learns":
            return (
                f"nothing learns here: after {self.steps} steps no loss at any rate is better than chance"
                f"{'' if self.chance is None else f' ({self.metric} {self.chance:.4g})'}; change the optimiser, "
                "the learning rate or the number of steps"
            )
        this = f"{told(self.name, self.loss_kind)}{'' if self.lr is None else f' at rate {self.lr:.3g}'}"
        if self.kind == "not tested":
            return (
                f"not tested: a budget of {self.budget} base steps is too small for finals with {self.steps} steps a "
                f"training; {this} came first in the search, which may be luck: give a larger finals_budget, or fewer "
                "steps"
            )
        rival = self.best(*_NOT_LEARNED) if self.loss_kind == "learned" else self.best("learned")
        task = self.best("task")
        others = [other for other in dict.fromkeys((rival, task)) if other is not None]
        beside = "; ".join(f"{other} ({other.evidence})" for other in others)
        value = f"{self.metric} {self.value:.4g} over {self.splits} fresh splits" + (f", {beside}" if beside else "")
        if self.kind == "tie":
            tied = " and ".join(f"{told(other.name, other.kind)} at {other.lr:.3g}" for other in others if other.tied)
            return f"a tie of {this} and {tied}, any of them will do: {value}"
        return f"use {this}: {value}"


_NOT_LEARNED: tuple[Kind, ...] = ("task", "handcrafted", "known")


def told(name: str, kind: Kind) -> str:
    """How a sentence calls a loss: one that the search found has no name."""
    return "the learned loss" if kind == "learned" else name


def judged(outcome: FinalsOutcome, metric: str, formulas: dict[str, str] | None = None) -> Verdict:
    """The verdict on finals.

    Args:
        outcome: The finals, of one entrant or more.
        metric: What is measured.
        formulas: The losses by name, as formulas.

    Returns:
        The verdict. Handed out is the best of the re-test; a tie is called one.
    """
    first = outcome.rows[0]
    against = _compared(outcome)
    verdict = Verdict(
        kind="not tested",
        name=first.entrant.name,
        loss_kind=first.entrant.kind,
        lr=first.lr,
        metric=metric,
        value=finite_or_none(first.mean),
        against=against,
        splits=len(first.retest),
        chance=_mean(outcome.chance),
        steps=outcome.plan.steps,
        spent=outcome.spent * outcome.plan.tasks,
        budget=outcome.plan.whole_budget,
        rank_correlation=outcome.rank_correlation,
        places=tuple(_place(row, formulas or {}) for row in outcome.rows),
        notes=_notes(outcome),
    )
    return verdict.model_copy(update=_decision(verdict, outcome))


def _decision(verdict: Verdict, outcome: FinalsOutcome) -> dict[str, object]:
    failed = outcome.spent > 0 and all(row.lr is None or row.race is None for row in outcome.rows)
    if not outcome.retested and not failed:
        return {}
    learns = verdict.value is not None and (verdict.chance is None or verdict.value < verdict.chance)
    if failed or not learns:
        task = next((row for row in outcome.rows if row.entrant.kind == "task"), outcome.rows[0])
        handed = {"name": task.entrant.name, "loss_kind": task.entrant.kind, "lr": task.lr, "value": None}
        return {"kind": "nothing learns", **handed}
    learned = verdict.loss_kind == "learned"
    rivals = [verdict.best(*_NOT_LEARNED)] if learned else [verdict.best("learned"), verdict.best("task")]
    if any(rival is not None and rival.tied for rival in rivals):
        return {"kind": "tie"}
    return {"kind": "learned" if learned else "handcrafted"}


def _compared(outcome: FinalsOutcome) -> tuple[Against, ...]:
    """The best of the re-test beside every other one, corrected for how many there are."""
    if not outcome.retested:
        return ()
    best, *others = outcome.retested
    overlap, count = outcome.plan.overlap, max(len(others), 1)
    tests = [resampled_test(other.retest, best.retest, overlap, count) for other in others]
    corrected = holm([None if test is None else test.p for test in tests])
    found = []
    for other, test, p in zip(others, tests, corrected, strict=True):
        known = {} if test is None else {"gain": test.gain, "low": test.low, "high": test.high, "p": p}
        assert other.lr is not None
        entrant = other.entrant
        found.append(
            Against(name=entrant.name, kind=entrant.kind, lr=other.lr, value=finite_or_none(other.mean), **known)
        )
    return tuple(found)


def _place(row: StandingsRow, formulas: dict[str, str]) -> Place:
    spread = stdev(row.retest) if len(row.retest) > 1 and all(map(math.isfinite, row.retest)) else None
    return Place(
        name=row.entrant.name,
        kind=row.entrant.kind,
        fitness=finite_or_none(row.entrant.fitness),
        lr=row.lr,
        lrs=row.lrs,
        folds=row.folds,
        race=row.race,
        retest=finite_or_none(row.mean),
        sd=spread,
        formula=formulas.get(row.entrant.name, ""),
    )


def _notes(outcome: FinalsOutcome) -> tuple[str, ...]:
    edge = [row for row in outcome.retested if row.at_an_edge and len(row.lrs) > 1]
    return tuple(
        f"{told(row.entrant.name, row.entrant.kind)} was best at {row.lr:.3g}, at the edge of its rates"
        for row in edge[:1]
    )


def _mean(values: tuple[float, ...]) -> float | None:
    return finite_or_none(math.fsum(values) / len(values)) if values else None
