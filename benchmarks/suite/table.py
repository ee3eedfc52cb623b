"""The table of the suite: means over draws, paired tests, and whether each verdict named what was best."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from statistics import fmean, stdev
from typing import Any

from evomal.comparison.tables import markdown_table
from evomal.evaluation.statistics import holm, paired_test
from evomal.losses.handcrafted_entries import split_name

HABITS = ("cross_entropy", "mse")
HEADS = (
    *("task", "draws", "habit", "specialist by its finals", "best specialist in hindsight", "evomal", "best learned"),
    *("evomal − habit", "p", "evomal − specialist", "p", "learned − best specialist", "p"),
    *("verdicts", "right", "ρ", "min"),
)
LEVEL = 0.05
Found = Mapping[str, Any]


def markdown(found: Sequence[Found]) -> str:
    """All that was found, as a Markdown document."""
    parts = []
    whole = [each for each in found if "verdict" in each]
    for variant in dict.fromkeys(each["variant"] for each in whole):
        rows = [row(name, _of(found, variant, name)) for name in dict.fromkeys(each["task"] for each in found)]
        parts.append(_table(variant, [one for one in rows if one]))
    return "\n\n".join([*parts, *beside(found)]) + "\n"


def beside(found: Sequence[Found], first: str = "evomal") -> list[str]:
    """What the other variants hand out beside the first one's answer, where both have draws.

    Args:
        found: All that was found.
        first: The variant that the others are compared with.

    Returns:
        A table for each other variant: the answers' means over common draws, their difference, p of a paired t test,
        corrected by Holm for the tasks.
    """
    tables = []
    for variant in dict.fromkeys(each["variant"] for each in found if each["variant"] != first):
        rows = []
        for task in dict.fromkeys(each["task"] for each in found):
            sides = [{each["draw"]: answer(each) for each in _of(found, name, task)} for name in (first, variant)]
            common = sorted(sides[0].keys() & sides[1].keys())
            if common:
                rows.append((task, *([side[draw] for draw in common] for side in sides)))
        tests = [paired_test(ours, theirs) for _, ours, theirs in rows]
        corrected = holm([None if test is None else test.p for test in tests])
        lines = [
            [task, str(len(ours)), spread(ours), spread(theirs), *_difference(test, p)]
            for (task, ours, theirs), test, p in zip(rows, tests, corrected, strict=True)
        ]
        if rows:
            heads = ["task", "draws", first, variant, "difference", "p"]
            tables.append(f"## {variant} beside {first}\n\n{markdown_table([heads, *lines])}")
    return tables


def answer(each: Found) -> float:
    """The test metric of what a variant hands out, the mean of fresh networks."""
    return mean_of(each["test"]["optuna" if each["variant"] == "optuna" else "evomal"])


def mean_of(tested: Mapping[str, Any]) -> float:
    """Mean over networks; infinite where a training failed."""
    return fmean(inf if value is None else value for value in tested["values"])


def _of(found: Sequence[Found], variant: str, task: str) -> list[Found]:
    return [each for each in found if each["variant"] == variant and each["task"] == task]


def row(task: str, found: Sequence[Found]) -> dict[str, Any]:
    """One task: the test metric of each contender for every draw, and what follows from them.

    Args:
        task: Its name.
        found: Its results, one for each draw.

    Returns:
        Values by draw of the habit, of evomal's answer, of its best learned loss, of the specialist that finals
        chose, and of the one that is best on the test data in hindsight; tests; empty for a task without results.
    """
    found = [each for each in found if any(name in each["test"] for name in HABITS)]
    if not found:  # none, or none whose budget bought finals
        return {}
    habit = next(name for name in HABITS if name in found[0]["test"])
    names = [n for n in found[0]["test"] if n not in (habit, "evomal", "learned") and _everywhere(n, found)]
    by_name = {name: _values(name, found) for name in names}
    hindsight = min(names, key=lambda name: fmean(by_name[name])) if names else habit
    columns = {
        "habit": _values(habit, found),
        "chosen": [_value(each, specialist(each) or habit) for each in found],
        "hindsight": by_name.get(hindsight) or _values(habit, found),
        "evomal": _values("evomal", found),
        "learned": _values("learned", found) if _everywhere("learned", found) else [],
    }
    return {
        "task": task,
        "draws": len(found),
        "best specialist": hindsight,
        **columns,
        "specialists": by_name,
        "minutes": fmean(each["seconds"] for each in found) / 60,
        "right": sum(_right(each, columns, place) for place, each in enumerate(found)),
        "verdicts": [each["verdict"]["kind"] for each in found],
        "rho": [each["verdict"]["rank_correlation"] for each in found],
    }


def specialist(each: Found) -> str | None:
    """The handcrafted loss that came first in a search's own finals, by its plain name."""
    names = [split_name(place["name"])[0] for place in each["verdict"]["places"] if place["kind"] == "handcrafted"]
    return next((name for name in names if name in each["test"]), None)


def _right(each: Found, columns: Mapping[str, Sequence[float]], place: int) -> bool:
    """Whether evomal's answer was as good on test data as the others, within the spread of its networks."""
    own = each["test"]["evomal"]["values"]
    width = stdev(own) if len(own) > 1 and all(map(isfinite, own)) else 0.0
    others = [columns[name][place] for name in ("habit", "chosen", "learned") if columns[name]]
    return columns["evomal"][place] <= min(others) + width


def _everywhere(name: str, found: Sequence[Found]) -> bool:
    return all(name in each["test"] for each in found)


def _value(each: Found, name: str) -> float:
    return mean_of(each["test"][name])


def _values(name: str, found: Sequence[Found]) -> list[float]:
    return [_value(each, name) for each in found]


def _table(variant: str, rows: Sequence[Mapping[str, Any]]) -> str:
    tests = [_tests(one) for one in rows]
    corrected = {
        key: holm([None if test[key] is None else test[key].p for test in tests])
        for key in ("habit", "chosen", "learned")
    }
    lines = []
    for place, (one, test) in enumerate(zip(rows, tests, strict=True)):
        rhos = [rho for rho in one["rho"] if rho is not None]
        cells = [
            one["task"],
            one["draws"],
            spread(one["habit"]),
            spread(one["chosen"]),
            f"{spread(one['hindsight'])} ({one['best specialist']})",
            spread(one["evomal"]),
            spread(one["learned"]),
            *_difference(test["habit"], corrected["habit"][place]),
            *_difference(test["chosen"], corrected["chosen"][place]),
            *_difference(test["learned"], corrected["learned"][place]),
            ", ".join(one["verdicts"]),
            f"{one['right']}/{one['draws']}",
            f"{fmean(rhos):.2f}" if rhos else "",
            f"{one['minutes']:.1f}",
        ]
        lines.append([str(cell) for cell in cells])
    return f"## {variant}: mean ± sd over draws; lower is better\n\n{markdown_table([HEADS, *lines], ('verdicts',))}"


def _tests(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "habit": paired_test(one["habit"], one["evomal"]),
        "chosen": paired_test(one["chosen"], one["evomal"]),
        "learned": paired_test(one["hindsight"], one["learned"]) if one["learned"] else None,
    }


def _difference(test: Any, p: float | None) -> tuple[str, str]:
    if test is None or test.gain is None:
        return "", ""
    return f"{-test.gain:+.4f}", "" if p is None else f"{p:.3f}"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation as text; of draws in which a training failed only the number."""
    well = [value for value in values if isfinite(value)]
    text = f"{fmean(well):.4f}" if well else ""
    if len(well) > 1:
        text += f" ± {stdev(well):.4f}"
    if len(well) < len(values):
        text = f"{text} ({len(values) - len(well)} of {len(values)} failed)".strip()
    return text
