"""What stands first on the page: what may be claimed."""

from collections.abc import Iterator

from evomal.analysis.runs import SearchRecord
from evomal.comparison import Comparison, Row
from evomal.foundation.serialization import cleaned

LEVEL = 0.05


def verdict_of_search(record: SearchRecord) -> list[str]:
    """What its finals came to; a search alone allows no claim, as the best fitness is that of the luckiest."""
    if record.verdict is not None and record.verdict.kind != "not tested":
        return [cleaned(record.verdict.message), *(cleaned(note) for note in record.verdict.notes)]
    if record.loss is None:
        return ["There is no loss to speak of."]
    told = f"The best loss of the search: {cleaned(record.loss.formula(digits=4))[:400]}"
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
    spread = "" if best.best.sd is None else f" ± {best.best.sd:.4f}"
    first = f"{cleaned(best.contender.name)} has the lowest test {cleaned(comparison.metric)} at its own best rate"
    told = [f"{first}: {best.best.mean:.4f}{spread} over {len(comparison.seeds)} seeds."]
    better = [row for row in rows if _significant(row, 1)]
    worse = [row for row in rows if _significant(row, -1)]
    name = cleaned(comparison.baseline)
    if better:
        told.append(f"Significantly better than {name} at its best rate: {_named(better)} (p < 0.05 after Holm).")
    else:
        told.append(f"No loss is significantly better than {name} when each has its best rate.")
    if worse:
        told.append(f"Significantly worse: {_named(worse)}.")
    return told


def _significant(row: Row, sign: int) -> bool:
    test = row.best.test
    return test is not None and test.p_holm is not None and test.p_holm < LEVEL and sign * test.gain > 0


def _named(rows: list[Row]) -> str:
    return ", ".join(_gain(rows))


def _gain(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        assert row.best.test is not None
        yield f"{cleaned(row.contender.name)} ({row.best.test.gain:+.4f})"
