"""What journals tell: how fitness fell, what filters saved, operators used, who came from whom, and of finals."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evomal.expressions import OPERATORS, Expression, parse
from evomal.foundation.errors import EvomalError

Record = Mapping[str, Any]
_KNOWN_AS = re.compile(r"(?P<name>.*) [0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate that was trained.

    Args:
        size: Nodes of its formula, or coefficients of a loss that is none.
        fitness: Its fitness.
        place: (generation, index).
        text: Its expression; empty for a loss that is no formula.
    """

    size: int
    fitness: float
    place: tuple[int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A member of the winner's line.

    Args:
        place: (generation, index).
        origin: How it came to be.
        text: Its expression; empty for a loss that is no formula.
        fitness: Its fitness, or None.
        others: Places of its further parents.
    """

    place: tuple[int, int]
    origin: str
    text: str
    fitness: float | None
    others: tuple[tuple[int, int], ...]


def best_so_far(records: Iterable[Record]) -> list[float | None]:
    """The best fitness up to each generation, of candidates that were trained; None before the first (Figure 5).

    Example:
        >>> lines = [{"generation": 0, "outcome": "rejected", "fitness": None}]
        >>> lines += [{"generation": number, "outcome": "trained", "fitness": 0.5 - number} for number in (1, 2)]
        >>> best_so_far(lines)
        [None, -0.5, -1.5]
    """
    by_generation: dict[int, float] = {}
    last = -1
    for record in records:
        generation, fitness = record["generation"], _fitness(record)
        last = max(last, generation)
        if record.get("outcome") == "trained" and fitness is not None:
            by_generation[generation] = min(fitness, by_generation.get(generation, fitness))
    best: list[float | None] = []
    for generation in range(last + 1):
        known = [value for value in (by_generation.get(generation), best[-1] if best else None) if value is not None]
        best.append(min(known, default=None))
    return best


def outcomes_by_generation(records: Iterable[Record]) -> list[Counter[str]]:
    """How the members of each generation ended: what the filters saved (Figure 6).

    Example:
        >>> outcomes_by_generation([{"generation": 0, "outcome": "trained"}, {"generation": 1, "outcome": "elite"}])
        [Counter({'trained': 1}), Counter({'elite': 1})]
    """
    found: list[Counter[str]] = []
    for record in records:
        while len(found) <= record["generation"]:
            found.append(Counter())
        found[record["generation"]][str(record.get("outcome"))] += 1
    return found


def operators_used(expressions: Iterable[Expression]) -> dict[str, int]:
    """How often each operator occurs in formulas, all operators in the order of the table (Figure 8).

    Example:
        >>> counts = operators_used([parse("square(sub(y, f))"), parse("abs(sub(y, f))")])
        >>> counts["sub"], counts["square"], counts["tanh"]
        (2, 1, 0)
    """
    counts = Counter(node.symbol for expression in expressions for node in expression.preorder() if node.children)
    return {name: counts[name] for name in OPERATORS}


def points(records: Iterable[Record]) -> list[Point]:
    """Every candidate that was trained itself; lines that hold no readable formula are left out."""
    found = []
    for record in records:
        fitness = _fitness(record)
        if record.get("outcome") != "trained" or fitness is None:
            continue
        text = record.get("expression")
        try:
            size = parse(text).size if isinstance(text, str) else len(record.get("weights") or ())
        except EvomalError:
            continue
        found.append(Point(size, fitness, _place(record), text if isinstance(text, str) else ""))
    return found


def pareto_front(candidates: Iterable[Point]) -> list[Point]:
    """Those than which none is both smaller and better, by size.

    Example:
        >>> sizes = [(3, 0.5), (5, 0.6), (7, 0.2)]
        >>> [point.size for point in pareto_front([Point(size, fitness, (0, 0), "") for size, fitness in sizes])]
        [3, 7]
    """
    front: list[Point] = []
    for point in sorted(candidates, key=lambda each: (each.size, each.fitness, each.place)):
        if not front or point.fitness < front[-1].fitness:
            front.append(point)
    return front


def lineage(records: Sequence[Record], place: tuple[int, int]) -> list[Ancestor]:
    """The line of a candidate back to the first generation, along first parents; the youngest first.

    Of one formula in several generations in a row (elites, reproductions) only the first is told: how it came to be.

    Args:
        records: The journal.
        place: (generation, index) of the candidate.

    Returns:
        The line, which ends where the journal does not know a parent.
    """
    known = {_place(record): record for record in records}
    population = 1 + max((index for _, index in known), default=0)
    line: list[Ancestor] = []
    here: tuple[int, int] | None = place
    while here is not None and here in known and len(line) < len(known):
        record = known[here]
        numbers = [number for number in record.get("parents") or () if isinstance(number, int)]
        asynchronous = record.get("after") is not None
        parents = [divmod(number, population) if asynchronous else (here[0] - 1, number) for number in numbers]
        text = record.get("expression") if isinstance(record.get("expression"), str) else ""
        if line and text and text == line[-1].text:
            line.pop()
        line.append(Ancestor(here, str(record.get("origin")), text or "", _fitness(record), tuple(parents[1:])))
        here = parents[0] if parents else None
    return line


def _place(record: Record) -> tuple[int, int]:
    return record["generation"], record["index"]


def _fitness(record: Record) -> float | None:
    value = record.get("fitness")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def final_metrics(lines: Iterable[Mapping[str, Any]], steps: int) -> dict[str, dict[float, list[float]]]:
    """The metrics of full trainings of finals, by loss and rate; a rate at which a training failed is left out.

    Args:
        lines: Of ``finals.jsonl``.
        steps: Base steps of a full training; shorter ones only chose rates.

    Returns:
        For each loss, by rising rate, one metric for each split.

    Example:
        >>> line = {"loss": "focal 0123456789abcdef", "lr": 0.1, "split": 0, "folds": 5, "steps": 9, "value": 0.25}
        >>> final_metrics([line, {**line, "steps": 3}, {**line, "lr": 0.3, "value": None}], steps=9)
        {'focal': {0.1: [0.25]}}
    """
    found: dict[str, dict[float, list[float | None]]] = {}
    for line in lines:
        loss, lr, value = line.get("loss"), line.get("lr"), line.get("value")
        if isinstance(loss, str) and isinstance(lr, int | float) and line.get("steps") == steps:
            named = _KNOWN_AS.fullmatch(loss)
            rates = found.setdefault(named["name"] if named else loss, {})
            rates.setdefault(float(lr), []).append(float(value) if isinstance(value, int | float) else None)
    return {
        loss: {lr: [v for v in rates[lr] if v is not None] for lr in sorted(rates) if None not in rates[lr]}
        for loss, rates in found.items()
    }
