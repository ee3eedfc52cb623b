"""What may be claimed, which stands first on the page, and the finals that a claim rests on."""

from evomal.analysis.journal import final_metrics
from evomal.analysis.runs import SearchRecord
from evomal.comparison import Comparison, Row
from evomal.foundation.serialization import cleaned, places
from evomal.losses import HANDCRAFTED
from evomal.report.figures import plot_final_rates, plot_promise
from evomal.report.page.blocks import Block, Drawer, LinesBlock, Rows, Section
from evomal.search.verdict import Against, Place, Verdict

LEVEL = 0.05
PAIRS = 3  # finalists with a fitness from which a figure of it says something


def verdict_of_search(record: SearchRecord) -> list[str]:
    """What its finals came to; a search alone allows no claim, as the best fitness is that of the luckiest."""
    if record.verdict is not None and record.verdict.kind != "not tested":
        return [cleaned(record.verdict.message), *(cleaned(note) for note in record.verdict.notes)]
    if record.loss is None:
        return ["There is no loss to speak of."]
    told = f"The best loss of the search: {cleaned(record.loss.short())[:400]}"
    if record.fitness is None:
        return [told, "It has no fitness: no candidate was trained in full."]
    beside = ""
    if record.baseline is not None:
        better = "less, so better" if record.fitness < record.baseline else "no better"
        beside = f", where {record.task_loss} reached {record.baseline:.4g} in the same training ({better})"
    return [
        told,
        f"Its {record.metric} on validation data after partial training is {record.fitness:.4g}{beside}.",
        "That is fitness, not a test: the best of many candidates is partly the luckiest, and each was trained at one "
        "learning rate alone. Compare it in full trainings, each loss at its own best rate, before it is believed "
        "(evomal train, evomal compare).",
    ]


def verdict_of_comparison(comparison: Comparison) -> list[str]:
    """Which losses are better than the baseline when each has its own best rate, and which only seemed so."""
    rows = comparison.rows()
    finite = [row for row in rows if row.best.mean == row.best.mean]
    if not finite:
        return ["Every training diverged: nothing can be said."]
    best = min(finite, key=lambda row: row.best.mean)
    digits = places(row.best.mean for row in rows)
    spread = "" if best.best.sd is None else f" ± {best.best.sd:.{digits}f}"
    first = f"{cleaned(best.contender.name)} has the lowest test {cleaned(comparison.metric)} at its own best rate"
    told = [f"{first}: {best.best.mean:.{digits}f}{spread} over {len(comparison.seeds)} seeds."]
    better = [row for row in rows if _significant(row, 1)]
    worse = [row for row in rows if _significant(row, -1)]
    name = cleaned(comparison.baseline)
    if better:
        told.append(
            f"Significantly better than {name} at its best rate: {_named(better, digits)} (p < 0.05 after Holm)."
        )
    else:
        told.append(f"No loss is significantly better than {name} when each has its best rate.")
    if worse:
        told.append(f"Significantly worse: {_named(worse, digits)}.")
    return told


def _significant(row: Row, sign: int) -> bool:
    test = row.best.test
    return test is not None and test.p_holm is not None and test.p_holm < LEVEL and sign * test.gain > 0


def _named(rows: list[Row], digits: int) -> str:
    gains = [(row.contender.name, row.best.test.gain) for row in rows if row.best.test is not None]
    return ", ".join(f"{cleaned(name)} ({gain:+.{digits}f})" for name, gain in gains)


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
    """The name of the handcrafted loss that came furthest in finals."""
    places = () if record.verdict is None else record.verdict.places
    names = [place.name for place in places if place.kind == "handcrafted" and place.name in HANDCRAFTED]
    return names[:1]


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
