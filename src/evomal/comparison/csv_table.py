"""A comparison as CSV."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from evomal.comparison.results import Cell, Comparison, Row
from evomal.foundation.serialization import cleaned, finite_or_none


def as_csv(comparison: Comparison) -> str:
    """A comparison as CSV, a row for each contender and learning rate, with unrounded numbers.

    The header: ``loss``, ``kind`` (handcrafted, learned, file), ``rates`` (``fixed``, or ``best`` where each side has
    its own best rate), ``lr``, ``mean`` and ``sd`` of the test metric over seeds, ``diverged`` (trainings); against
    the baseline ``gain``, ``gain_low``, ``gain_high`` (95 %), ``d_z``, ``p``, ``p_holm``; for each seed of a learned
    loss the mean ``search_seconds``, ``evaluations`` (partial trainings) and ``meta_steps``; ``gradient_ratio`` (median
    over seeds, to the task loss's); and ``test_seed_N``, the test metric of seed N. What does not exist or is
    not finite is empty.

    Args:
        comparison: The comparison.

    Returns:
        The text. With a single learning rate there are no ``best`` rows.
    """
    records = []
    for row in comparison.rows():
        records.append(_record(row, "fixed", row.fixed, comparison.seeds))
        if len(comparison.lrs) > 1:
            records.append(_record(row, "best", row.best, comparison.seeds))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row, rates: str, cell: Cell, seeds: Sequence[int]) -> dict[str, Any]:
    contender, test = row.contender, cell.test
    return {
        "loss": cleaned(contender.name),
        "kind": contender.kind,
        "rates": rates,
        "lr": cell.lr,
        "mean": finite_or_none(cell.mean),
        "sd": finite_or_none(cell.sd),
        "diverged": sum(not math.isfinite(value) for value in cell.values),
        "gain": test and test.gain,
        "gain_low": test and test.low,
        "gain_high": test and test.high,
        "d_z": test and test.effect,
        "p": test and test.p,
        "p_holm": test and test.p_holm,
        "search_seconds": contender.seconds_a_search,
        "evaluations": contender.evaluations_a_search,
        "meta_steps": contender.meta_steps_a_search,
        "gradient_ratio": contender.gradient_ratio,
        **{f"test_seed_{seed}": finite_or_none(value) for seed, value in zip(seeds, cell.values, strict=True)},
    }
