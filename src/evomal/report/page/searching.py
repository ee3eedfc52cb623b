"""The sections of a report on one search: the loss, what it does, how it was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from evomal.analysis import best_so_far, lineage, operators_used, outcomes_by_generation, points
from evomal.analysis.audit_words import Audit
from evomal.analysis.gradients import counts_of, sees_classes
from evomal.analysis.runs import SearchRecord
from evomal.expressions import parse, to_formula, to_latex
from evomal.foundation.serialization import cleaned, duration, flattened
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss, SymbolicLoss, TaylorLoss
from evomal.losses.criterion import Criterion
from evomal.report.described import describe
from evomal.report.figures import (
    plot_filters,
    plot_gradient,
    plot_loss,
    plot_operators,
    plot_search,
    plot_sizes,
)
from evomal.report.page.blocks import Block, Code, Drawer, FormulaBlock, LinesBlock, Rows, Section
from evomal.report.tables import outcomes_text

RIVALS = {
    "classification": ("cross_entropy", "focal"),
    "multilabel": ("binary_cross_entropy", "binary_focal"),
    "regression": ("mse", "mae"),
}
BEST = 25  # formulas whose operators are counted
LINE = 12  # ancestors that are told
LISTED = 10  # classes whose counts are told


def loss_section(loss: LearnedLoss, drawer: Drawer, found: Audit, title: str = "The loss") -> Section:
    """The formula typeset, and simplified step by step."""
    described = describe(loss)
    blocks: list[Block] = []
    if isinstance(loss, SymbolicLoss):
        plain = to_latex(loss.expression)
        blocks.append(drawer.formula("What was found, without its coefficients", plain, to_formula(loss.expression)))
    if "short" in described:
        blocks.append(FormulaBlock("What it computes, its coefficients multiplied out", None, described["short"]))
    if "latex" in described:
        blocks.append(
            drawer.formula("As it is computed, with its coefficients φ", described["latex"], described["formula"])
        )
    else:
        blocks.append(FormulaBlock("As it is computed", None, described["formula"]))
    cut = found.ablation
    if cut is not None and cut.left < cut.of:
        told = (
            f"Without the {cut.of - cut.left} of {cut.of} nodes that change its gradients by {cut.change:.1%} at most"
        )
        blocks.append(FormulaBlock(told, None, cut.shortest))
    if "simplified" in described:
        short = described["simplified"]
        note = f" ({short['note']})" if short["note"] else ""
        blocks.append(drawer.formula(f"Simplified{note}", short["latex"], short["text"]))
    blocks += _coefficients(loss)
    return Section(title, blocks)


def _coefficients(loss: LearnedLoss) -> Iterator[Block]:
    if isinstance(loss, SymbolicLoss):
        edges = enumerate(loss.coefficients)
        rows = [(str(edge), f"{weight:.6g}", cleaned(loss.expression.at(edge + 1))) for edge, weight in edges]
        head = ("edge", "φ", "child node")
    elif isinstance(loss, TaylorLoss):
        rows = [(f"θ{place}", f"{weight:.6g}", "") for place, weight in enumerate(loss.coefficients)]
        head = ("parameter", "value", "")
    else:
        return
    yield Rows(head, rows, "Coefficients", frozenset({1}), folded=True)


class Drawn(NamedTuple):
    """What a figure of a loss shows.

    Attributes:
        losses: The loss, and those beside it, by name.
        left_out: Those that would stand beside it, but look at how often each class occurs, which nobody tells.
    """

    losses: dict[str, Criterion]
    left_out: list[str]


def action_section(drawn: Drawn, found: Audit, drawer: Drawer, classes: int, title: str = "What it does") -> Section:
    """Value and slope beside known losses, and the audit in words."""
    losses = drawn.losses
    task_type = next(iter(losses.values())).task_type
    told = (
        f"Each with height 0 and slope 1 where training starts, for {classes} classes{_frequencies(losses, classes)}; "
        "all others share the rest."
        if task_type != "regression"
        else "Each with slope 1 at a residual of 1, at a target of 0."
    )
    without = [f"Not drawn: {name}, as it is not known how often each class occurs." for name in drawn.left_out]
    blocks: list[Block] = [LinesBlock([*found.words(), *without], "list")]
    if task_type != "regression":
        blocks += [
            drawer(plot_loss(losses, classes), f"Loss against the probability of the true class. {told}"),
            drawer(plot_loss(losses, classes, "other"), f"Loss against the probability of one wrong class. {told}"),
            drawer(plot_gradient(losses, classes), "Slope in the logit of the true class; below 0 it is pushed up."),
            drawer(plot_gradient(losses, classes, "other"), "Slope in the logit of one wrong class; above 0, down."),
        ]
    else:
        blocks += [
            drawer(plot_loss(losses), f"Loss against the residual. {told}"),
            drawer(plot_gradient(losses), "Slope in the prediction against the residual."),
        ]
    known = [(entry.name, f"{entry.distance:.3f}") for entry in found.nearest]
    blocks.append(
        Rows(
            ("known loss", "distance"),
            known,
            "Distance of gradients after free scaling, 0 to 1",
            frozenset({1}),
            folded=True,
        )
    )
    if found.ablation is not None:
        rows = [
            (part.text, "its y or f is needed" if part.change is None else f"{part.change:.1%}")
            for part in found.ablation.parts
        ]
        caption = "How much gradients change where a part of the formula is replaced by a constant"
        blocks.append(Rows(("part", "change"), rows, caption, frozenset({1}), folded=True))
    return Section(title, blocks)


def _frequencies(losses: Mapping[str, Criterion], classes: int) -> str:
    """How often classes occur, where a loss looks at that; curves are those of the first class."""
    if not any(map(sees_classes, losses.values())):
        return ""
    counts = next((each for each in map(counts_of, losses.values()) if each is not None), None)
    if counts is None or len(counts) != classes:
        return ", all equally frequent"
    listed = ", ".join(map(str, counts[:LISTED])) + (", …" if classes > LISTED else "")
    return f" of {listed} training labels, of which the first is the true one and the second the wrong one"


def rivals(loss: Criterion, classes: int, name: str = "learned", more: Sequence[str] = ()) -> Drawn:
    """A loss and those that it is drawn beside, the handcrafted ones by name and with the task's own class counts."""
    names = dict.fromkeys([*RIVALS[loss.task_type], *more])
    counts = counts_of(loss)
    counts = counts if counts is not None and len(counts) == classes else None
    left_out = [each for each in names if HANDCRAFTED[each].needs_class_counts and counts is None]
    beside = {each: HandcraftedLoss(each, class_counts=counts) for each in names if each not in left_out}
    return Drawn({name: loss, **beside}, left_out)


def search_section(record: SearchRecord, drawer: Drawer, title: str = "The search") -> Section:
    """How fitness fell, what filters saved, sizes, operators, and where the winner came from."""
    records = record.records
    if not records:
        return Section(title, [LinesBlock(["The journal holds no candidate."])])
    blocks: list[Block] = [LinesBlock(_told(record))]
    curve = best_so_far(records)
    if any(value is not None for value in curve):
        axes = plot_search({record.method: [curve]}, record.metric, record.baseline)
        blocks.append(drawer(axes, "Best fitness so far, on validation data after partial training."))
    generations = outcomes_by_generation(records)
    blocks.append(drawer(plot_filters(generations), "What became of the members of each generation."))
    trained = points(records)
    if trained:
        caption = (
            "Fitness against size of every candidate that was trained; nothing below the line is smaller and better."
        )
        blocks.append(drawer(plot_sizes(trained, record.metric), caption))
        formulas = {point.text: point for point in sorted(trained, key=lambda each: -each.fitness) if point.text}
        best = [parse(point.text) for point in sorted(formulas.values(), key=lambda each: each.fitness)[:BEST]]
        if best:
            caption = f"Operators in the {len(best)} best formulas."
            blocks.append(drawer(plot_operators(operators_used(best)), caption))
    blocks += _line(record)
    return Section(title, blocks)


def _told(record: SearchRecord) -> list[str]:
    counts = sum(outcomes_by_generation(record.records), start=type(outcomes_by_generation([{"generation": 0}])[0])())
    members, trained = sum(counts.values()), counts["trained"]
    told = f"{members} candidates in {len(outcomes_by_generation(record.records))} generations: {outcomes_text(counts)}"
    share = f"; {trained / members:.0%} of them were trained, what filters and archive saved is the rest."
    time = f" It took {duration(record.seconds)}." if record.seconds is not None else ""
    return [told + share + time]


def _line(record: SearchRecord) -> Iterator[Block]:
    if record.place is None:
        return
    line = lineage(record.records, record.place)[:LINE]
    rows = [
        (
            f"{each.place[0] + 1}",
            each.origin,
            "" if each.fitness is None else f"{each.fitness:.4g}",
            cleaned(each.text)[:200],
            ", ".join(f"{place[0] + 1}/{place[1]}" for place in each.others),
        )
        for each in line
    ]
    if rows:
        head = ("generation", "came by", "fitness", "expression", "other parent")
        yield Rows(head, rows, "Where the best loss came from, the youngest first", frozenset({0, 2}))


def settings_section(record: SearchRecord, title: str = "Settings, versions, and how to repeat it") -> Section:
    """All that a run needs to be repeated."""
    blocks: list[Block] = []
    command = record.config.get("command")
    if isinstance(command, str):
        blocks.append(Code("The command that began it", cleaned(command)))
    shown = {name: entry for name, entry in record.config.items() if name not in ("command", "format", "version")}
    rows = [(name, cleaned(value)[:300]) for name, value in flattened(shown).items()]
    if rows:
        blocks.append(
            Rows(("setting", "value"), rows, "Every setting, the data's fingerprint, and versions", folded=True)
        )
    if record.loss is not None and record.loss.info:
        told = [(name, cleaned(value)[:300]) for name, value in flattened(record.loss.info).items()]
        blocks.append(Rows(("entry", "value"), told, "What the loss file says", folded=True))
    if not blocks:
        blocks.append(LinesBlock(["Its settings cannot be read."]))
    return Section(title, blocks)
