"""The best losses of a journal, against a plain sort of all of it."""

import random
import tracemalloc

import pytest

from evomal.expressions import canonical, parse, ramped_half_and_half
from evomal.foundation.errors import RunFolderError
from evomal.report.described import best_formulas

DRAW = random.Random(3)
TREES = [canonical(tree) for tree in ramped_half_and_half(DRAW, 60, 1, 3)]


def _record(place, **entries):
    tree = DRAW.choice(TREES)
    return {
        "generation": place // 10, "index": place % 10, "task_type": "regression", "expression": str(tree),
        "output_activation": "identity", "weights": [1.0] * tree.edges, "outcome": "trained",
        "fitness": DRAW.choice([None, 0.1, 0.2, 0.2, 0.3, 0.4]), "score": DRAW.choice([None, 0.5, 0.7]),
    } | entries  # fmt: skip


def _rank(record):
    if record["fitness"] is not None:
        by = (record["outcome"] == "dropped", record["fitness"])
    else:
        by = (2, -(-1e9 if record["score"] is None else record["score"]))
    return (*by, parse(record["expression"]).size, record["generation"], record["index"])


@pytest.mark.parametrize("count", [1, 2, 7, 30, 500])
def test_the_best_that_differ_are_those_of_a_sort(count):
    records = [_record(place, outcome=DRAW.choice(["trained", "dropped"])) for place in range(400)]
    DRAW.shuffle(records)
    first = {}
    for record in sorted(records, key=_rank):
        first.setdefault(record["expression"], (record["generation"], record["index"]))
    rows = best_formulas(iter(records), count)
    assert [(row["generation"], row["index"]) for row in rows] == list(first.values())[:count]


def test_a_long_journal_takes_no_memory_and_its_formulas_are_not_read(monkeypatch):
    read, counted = parse, []
    monkeypatch.setattr("evomal.report.described.parse", lambda text: counted.append(text) or read(text))
    records = (_record(place, fitness=1 - place % 997 / 1000, weights=[0.5] * 2000) for place in range(20_000))
    records = (record | {"weights": None} if record["fitness"] < 0.006 else record for record in records)
    tracemalloc.start()
    rows = best_formulas(records, 3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows[0]["fitness"] == pytest.approx(0.004)
    assert len(counted) < 3000
    assert most < 4_000_000


@pytest.mark.parametrize("entries", [{"fitness": "low"}, {"expression": "mul(y"}, {"weights": [1.0]}, {"score": []}])
def test_what_is_shown_must_be_sound(entries):
    with pytest.raises(RunFolderError, match=r"the journal is damaged at generation 0, index 0 \("):
        best_formulas([_record(0, **({"fitness": None} | entries))], 3)
