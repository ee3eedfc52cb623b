"""Who takes part in the finals of a search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from evomal.config import LearnSettings
from evomal.engines.genome import Formula
from evomal.engines.warm_start import starts
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.filters import FilterProbe
from evomal.evaluation.finals import Entrant
from evomal.evaluation.finals.screening import FEW
from evomal.evaluation.finals.shapes import shape_of, unlike
from evomal.foundation.errors import EvomalError
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss
from evomal.losses.criterion import IGNORED, STAGES, LossFunction
from evomal.tasks import TaskSet
from evomal.training.step_size import mean_norm_ratio


@dataclass(frozen=True, slots=True)
class Finalist:
    """An entrant with its loss.

    Args:
        entrant: What finals know of it.
        loss: The loss; None for each task's own task loss.
        candidate: The candidate that it was; None for one that the search did not find.
    """

    entrant: Entrant
    loss: LossFunction | None
    candidate: Candidate | None = None


def finalists(
    tasks: TaskSet, settings: LearnSettings, probes: Sequence[FilterProbe], members: Sequence[Candidate]
) -> list[Finalist]:
    """The task loss, handcrafted losses that fit, those that the search started from, its best candidates, variants.

    They differ in what they do, not only in text or scale (`shape_of`): of those that are alike the one named first
    takes part, so that a candidate which is a known loss again does not.

    Args:
        tasks: The tasks.
        settings: Those of the search.
        probes: Fixed predictions and targets, for each task.
        members: All members of all generations.

    Returns:
        The finalists, candidates in the order of their ranking and no more than `finalists` of them; at the end the
        handcrafted losses with other hyper-parameters.
    """
    points = points_of(probes)
    stages = STAGES if "progress" in settings.genetic.terminals else (1.0,)
    task = Finalist(Entrant(tasks.task_loss_name, "task"), None)
    own = shape_of(lambda outputs, targets: tasks[0].task_loss(outputs, targets).reshape(()), points, stages)
    others = [*_handcrafted(tasks), *_started(tasks, settings)]
    known = [task, *unlike(_shaped(others, points, stages), _some(own))]
    shapes = [*_some(own), *(shape for _, shape in _shaped(known[1:], points, stages) if shape is not None)]
    ranked = _ranked(tasks, settings, members)
    found: list[Finalist] = []
    for finalist in unlike(_shaped(ranked, points, stages), shapes):
        found.append(finalist)
        if len(found) == settings.finals.finalists:
            break
    varied = unlike(_shaped(_variants(tasks, known), points, stages), shapes) if settings.finals.varied else ()
    return [*known, *found, *varied]


def least_entrants(tasks: TaskSet, settings: LearnSettings) -> int:
    """How many take part at least: what is there before the search, and the few candidates that always do."""
    there = 1 + len(list(_handcrafted(tasks))) + len(starts(settings))
    return there + min(FEW, settings.finals.finalists)


def points_of(probes: Sequence[FilterProbe]) -> list[tuple[Tensor, Tensor]]:
    """Outputs at which the shapes of losses are compared, with targets.

    They are those of an untrained network and wider ones, but not so wide that the ε of a formula's logarithm shows.
    """
    return [(outputs, probe.targets) for probe in probes for outputs in (probe.predictions, probe.wider / 2)]


def _some(shape: Tensor | None) -> list[Tensor]:
    return [] if shape is None else [shape]


def _shaped(
    those: Sequence[Finalist] | Iterator[Finalist],
    points: Sequence[tuple[Tensor, Tensor]],
    stages: Sequence[float],
) -> Iterator[tuple[Finalist, Tensor | None]]:
    for finalist in those:
        assert finalist.loss is not None
        yield finalist, shape_of(finalist.loss, points, stages)


def _handcrafted(tasks: TaskSet) -> Iterator[Finalist]:
    """Every handcrafted loss that serves all of the tasks."""
    for name, entry in HANDCRAFTED.items():
        # Several tasks differ in their class counts, and the loss would be another one for each.
        fits = entry.task_type == tasks.task_type and not (entry.needs_class_counts and len(tasks) > 1)
        if not fits or name == tasks.task_loss_name:
            continue
        try:
            loss = tasks[0].handcrafted(name)
        except EvomalError:  # it needs class counts, which there are none of
            continue
        yield Finalist(Entrant(name, "handcrafted"), loss)


def _variants(tasks: TaskSet, known: Sequence[Finalist]) -> Iterator[Finalist]:
    """The handcrafted losses among those with other hyper-parameters."""
    own = tasks[0].task_loss
    parents = {own.name: tasks.task_loss_name} if isinstance(own, HandcraftedLoss) else {}
    parents |= {one.entrant.name: one.entrant.name for one in known if one.entrant.kind == "handcrafted"}
    for name in [name for name in HANDCRAFTED if name in parents]:
        # As in `_handcrafted`; a task loss that each task has its own of may be such a one.
        if HANDCRAFTED[name].needs_class_counts and len(tasks) > 1:
            continue
        for variant in HANDCRAFTED.variants(name)[1:]:
            yield Finalist(Entrant(variant, "handcrafted", variant_of=parents[name]), tasks[0].handcrafted(variant))


def _started(tasks: TaskSet, settings: LearnSettings) -> Iterator[Finalist]:
    """The losses that the search started from, as they were."""
    for formula in starts(settings):
        plain = (1.0,) * formula.expression.edges
        loss = Formula(formula.expression, formula.weights or plain).loss(tasks, settings)
        if settings.scale_control:
            ratio = mean_norm_ratio(loss, tasks, settings.base.batch_size, settings.seed)
            loss.scale = 1 / ratio if ratio else loss.scale
        yield Finalist(Entrant(formula.key, "known"), _finished(loss))


def _ranked(tasks: TaskSet, settings: LearnSettings, members: Sequence[Candidate]) -> Iterator[Finalist]:
    """The candidates that were trained themselves, the best first."""
    trained = sorted((member for member in members if member.outcome == "trained"), key=lambda member: member.rank)
    for member in trained:
        name = f"candidate {member.generation}.{member.index}"
        entrant = Entrant(name, "learned", member.fitness)
        yield Finalist(entrant, member.finished_loss(tasks, settings), member)


def _finished(loss: LearnedLoss) -> LearnedLoss:
    loss.ignore_index = IGNORED
    return loss.requires_grad_(False)
