"""The section on finals: who came where, how sure that is, and at which rates."""

from evomal.analysis.finals import final_metrics
from evomal.analysis.runs import SearchRecord
from evomal.foundation.serialization import cleaned
from evomal.losses import HANDCRAFTED
from evomal.report.figures import plot_final_rates, plot_promise
from evomal.report.page.blocks import Block, Drawer, LinesBlock, Rows, Section
from evomal.search.verdict import Against, Place, Verdict

PAIRS = 3  # finalists with a fitness from which a figure of it says something


def finals_section(record: SearchRecord, drawer: Drawer, title: str = "Finals") -> Section | None:
    """All finalists with their evidence; None where there were no finals."""
    verdict = record.verdict
    if verdict is None:
        return None
    blocks: list[Block] = [LinesBlock([_how(verdict)]), _places(verdict)]
    if verdict.against:
        blocks.append(_against(verdict))
    metrics = final_metrics(record.finals, verdict.steps)
    if any(metrics.get(place.name) for place in verdict.places):
        caption = "Metric of the first finalists at the rates that they were trained at in full, over held-out splits."
        blocks.append(drawer(plot_final_rates(metrics, verdict.places, verdict.metric), caption))
    if sum(place.fitness is not None and place.race is not None for place in verdict.places) >= PAIRS:
        known = "" if verdict.rank_correlation is None else f" (rank correlation ρ = {verdict.rank_correlation:.2f})"
        caption = f"What fitness promised, and what finals gave{known}; on the dotted line both agree."
        blocks.append(drawer(plot_promise(verdict.places, verdict.metric), caption))
    return Section(title, blocks)


def best_handcrafted(record: SearchRecord) -> list[str]:
    """The name of the handcrafted loss that came furthest in finals, if a figure can show it."""
    places = () if record.verdict is None else record.verdict.places
    names = [place.name for place in places if place.kind == "handcrafted" and place.name in HANDCRAFTED]
    return [name for name in names if not HANDCRAFTED[name].needs_class_counts][:1]


def _how(verdict: Verdict) -> str:
    return (
        f"{len(verdict.places)} losses, {verdict.steps} base steps a training, each at its own best rate; "
        f"{verdict.spent} of {verdict.budget} base steps spent; the claim rests on {verdict.splits} fresh splits alone."
    )


def _places(verdict: Verdict) -> Rows:
    head = ("place", "loss", "kind", "fitness", "best rate", "folds", "race", "re-test, mean ± sd", "formula")
    rows = [
        (
            str(number),
            cleaned(place.name),
            place.kind,
            _number(place.fitness),
            "" if place.lr is None else f"{place.lr:.3g}",
            str(place.folds),
            _number(place.race),
            _retest(place),
            cleaned(place.formula)[:160] if place.kind in ("learned", "known") else "",
        )
        for number, place in enumerate(verdict.places, start=1)
    ]
    caption = f"All finalists by place: {cleaned(verdict.metric)} on splits held out from the training"
    return Rows(head, rows, caption, frozenset({0, 3, 4, 5, 6, 7}))


def _against(verdict: Verdict) -> Rows:
    head = (
        "beside",
        "its best rate",
        cleaned(verdict.metric),
        "it is worse by",
        "interval (together 95 %)",
        "p (Holm)",
    )
    rows = [
        (
            cleaned(other.name),
            f"{other.lr:.3g}",
            _number(other.value),
            _number(other.gain),
            _interval(other),
            "" if other.p is None else f"{other.p:.3g}",
        )
        for other in verdict.against
    ]
    return Rows(head, rows, "The first of the re-test beside the others", frozenset({1, 2, 3, 4, 5}))


def _interval(other: Against) -> str:
    return "" if other.low is None or other.high is None else f"{other.low:.3g} to {other.high:.3g}"


def _retest(place: Place) -> str:
    if place.retest is None:
        return ""
    return f"{place.retest:.4g}" + ("" if place.sd is None else f" ± {place.sd:.2g}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
