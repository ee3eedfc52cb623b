"""What an audit found, in numbers and in words."""

from dataclasses import asdict, dataclass
from typing import Any

from evomal.analysis.ablation import Ablation
from evomal.losses.preparing import TaskType

SAME, NEAR, GRID = 0.01, 0.15, 0.011  # of relative distances; of probabilities on a grid of 0.005


@dataclass(frozen=True, slots=True)
class Known:
    """A loss that is known, and how far the audited one is from it.

    Args:
        name: Its name.
        distance: Of their gradients at typical predictions when one is scaled to match the other: 0 to 1.
    """

    name: str
    distance: float


@dataclass(frozen=True, slots=True)
class Audit:
    """What a loss does, measured at fixed predictions; distances are relative and free of scale.

    Args:
        task_type: The kind of task.
        classes: How many classes it was measured with; None in regression.
        weights: Its weight on the logit margin, -∂M/∂margin, for easy, hard and wrong predictions (0.95, 0.6 and 0.05
            for the true class against a rival), relative to that on predictions that favour neither. In regression the
            size of its slope at residuals of 0.1 and 3, relative to that at 1.
        asymmetry: Classification: standard deviation, over predictions, of the sum of the loss over all labels,
            relative to C times that of the loss; 0 is symmetric, and robust to symmetric label noise (Ghosh et al.
            2017). Regression: how far the loss of residual r is from that of -r, relative to its range.
        minimum: Where it is smallest: the probability of the true class, or the residual.
        falls: Whether it falls all the way there.
        properness: The greatest distance between a true probability and the prediction that is best on average for it;
            None in regression.
        bounded: Whether it stays below a bound, however wrong the prediction.
        greatest: The greatest value at a prediction of 1e-6 for the true class, or at residuals of ±1000.
        lipschitz: The greatest length of its gradient with respect to the outputs, at typical predictions.
        nearest: Known losses, the nearest first.
        ablation: Which parts of the formula can be cut; None for a loss that is no formula.
        progress: Where in a training it was measured, of a loss that changes over it: 0 to 1; else None.
    """

    task_type: TaskType
    classes: int | None
    weights: dict[str, float | None]
    asymmetry: float | None
    minimum: float
    falls: bool
    properness: float | None
    bounded: bool
    greatest: float | None
    lipschitz: float | None
    nearest: tuple[Known, ...]
    ablation: Ablation | None
    progress: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, and in words."""
        return {**asdict(self), "words": self.words()}

    def words(self) -> list[str]:
        """The audit in words, one sentence each."""
        return words_of(self)


def words_of(audit: Audit) -> list[str]:
    """An audit in words, one sentence each; see `Audit.words`."""
    classes = audit.task_type != "regression"
    changes = [] if audit.progress is None else [f"It changes over a training; this is at progress {audit.progress:g}."]
    return [
        *changes,
        _weights(audit) if classes else _slopes(audit),
        _symmetry(audit) if classes else _sides(audit),
        _minimum(audit),
        *([_properness(audit)] if audit.properness is not None else []),
        _bound(audit),
        _lipschitz(audit),
        _nearest(audit),
        *_parts(audit),
    ]


def _weights(audit: Audit) -> str:
    easy, hard, wrong = (audit.weights[name] for name in ("easy", "hard", "wrong"))
    if easy is None or hard is None or wrong is None:
        return "It has no gradient where training starts: nothing is learned from predictions that favour no class."
    easy, hard, wrong = (value + 0.0 for value in (easy, hard, wrong))  # no "-0"
    told = (
        f"Beside a prediction that favours no class (weight 1), an easy one (p = 0.95) has weight {easy:.2g}, a hard "
        f"one (p = 0.6) {hard:.2g}, a wrong one (p = 0.05) {wrong:.2g}; cross-entropy's are 0.1, 0.8 and 1.9"
    )
    if min(easy, hard, wrong) < -0.05:
        return f"{told}: negative weights push predictions away from their labels."
    if wrong < 0.6:
        return f"{told}: it gives up on predictions that are clearly wrong, which helps where labels are."
    if wrong > 3:
        return f"{told}: it insists on what is wrong far more than cross-entropy does."
    if easy > 0.3:
        return f"{told}: it goes on pushing what is right already."
    return f"{told}."


def _slopes(audit: Audit) -> str:
    small, large = audit.weights["small"], audit.weights["large"]
    if small is None or large is None:
        return "It has no slope at a residual of 1."
    kind = (
        "outliers lose their pull"
        if large < 0.5
        else "outliers count no more than others, as with the absolute error"
        if large < 1.5
        else "outliers pull, as with the squared error"
        if large < 4.5
        else "outliers pull more than with the squared error"
    )
    told = f"Beside a residual of 1 (slope 1), one of 0.1 has slope {small:.2g} and one of 3 has {large:.2g}"
    return f"{told} (squared error: 0.1 and 3; absolute: 1 and 1): {kind}."


def _symmetry(audit: Audit) -> str:
    if audit.asymmetry is None:
        return "It is the same for all labels and predictions."
    if audit.asymmetry < SAME:
        return "Summed over labels it is constant: symmetric, and so robust to symmetric label noise."
    return (
        f"It is not symmetric: summed over labels it varies, by {audit.asymmetry:.2g} of what it could "
        "(0 would be robust to symmetric label noise)."
    )


def _sides(audit: Audit) -> str:
    if audit.asymmetry is None:
        return "It does not depend on the residual."
    if audit.asymmetry < SAME:
        return "Residuals of either sign cost the same."
    return f"The sign of a residual matters: its two sides differ by up to {audit.asymmetry:.0%} of the loss's range."


def _minimum(audit: Audit) -> str:
    way = "falls all the way there" if audit.falls else "does not fall all the way there: there are other valleys"
    if audit.task_type == "regression":
        where = "at residual 0, where it should be" if abs(audit.minimum) <= 0.02 else f"at residual {audit.minimum:g}"
        ought = "" if abs(audit.minimum) <= 0.02 else ", not at 0: predictions are pulled aside"
        return f"It is smallest {where}{ought}, and {way}."
    if audit.minimum >= 0.99:
        return f"It is smallest where the true class is certain, as it should be, and {way}."
    back = "more certain predictions are pushed back" + (", as label smoothing does" if audit.minimum > 0.5 else "")
    return f"It is smallest at p = {audit.minimum:.2f} for the true class, not at 1: {back}; it {way}."


def _properness(audit: Audit) -> str:
    assert audit.properness is not None
    if audit.properness <= GRID:
        return "It is proper on the grid: the best prediction is the true probability."
    away = f"the best prediction is up to {audit.properness:.2g} away from the true probability"
    return f"It is not proper: {away}, so do not read its outputs as probabilities."


def _bound(audit: Audit) -> str:
    if audit.greatest is None:
        return "It is not finite for predictions that are very wrong."
    where = "at p = 1e-6 for the true class" if audit.task_type != "regression" else "at residuals of ±1000"
    if audit.bounded:
        return f"It is bounded: it reaches {audit.greatest:.3g} {where}, and rises no further."
    return f"It is not bounded: {audit.greatest:.3g} {where}, and still rising."


def _lipschitz(audit: Audit) -> str:
    if audit.lipschitz is None:
        return "Its gradient is not finite at some typical predictions."
    outputs = "logits" if audit.task_type != "regression" else "outputs"
    return f"Its gradient with respect to the {outputs} is at most {audit.lipschitz:.3g} long on the grid (Lipschitz)."


def _nearest(audit: Audit) -> str:
    if not audit.nearest:
        return "No loss is known to compare it with."
    first = audit.nearest[0]
    if first.distance < SAME:
        return f"It is {first.name} times a constant: their gradients differ by {first.distance:.1%} on the grid."
    near = "close to it" if first.distance < NEAR else "something of its own" if first.distance > 0.5 else "a relative"
    return f"The nearest known loss is {first.name}, at {first.distance:.0%} when scaled to match: {near}."


def _parts(audit: Audit) -> list[str]:
    found = audit.ablation
    if found is None:
        return []
    if found.left == found.of:
        return ["No part of the formula can be cut without changing it."]
    return [
        f"{found.of - found.left} of its {found.of} nodes do nothing that can be measured (gradients change by "
        f"{found.change:.1%}); what is left is {found.shortest}."
    ]
