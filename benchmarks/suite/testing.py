"""What the suite reports: fresh networks with every loss at the rate that finals chose, on test data."""

from collections.abc import Sequence
from typing import Any

from evomal.losses.handcrafted_entries import split_name

IMAGES = {"few_images"}  # tasks whose network, LeNet-5, costs ten times as much as a small MLP
LANES = 12  # losses of small networks that are trained as one program


def networks_of(task: str) -> int:
    """How many fresh networks a task of that name has with every loss, for each draw."""
    return 2 if task in IMAGES else 5


def tested(task: Any, result: Any, name: str, draw: int, specialists: bool) -> dict[str, Any]:
    """Test metric of fresh networks, trained on training and validation data, each loss at its own best rate.

    Args:
        task: The task.
        result: What a search ended with.
        name: The task's name in the suite.
        draw: The number of the draw.
        specialists: Test those of the finals too, with the hyper-parameters that finals liked best, under their plain
            names; images have only those of the re-test.
    """
    losses = {"evomal": (result.loss, result.verdict.lr), "learned": (result.learned, _rate(result, "learned"))}
    chosen = {}
    for place in result.verdict.places:
        special = specialists and place.kind == "handcrafted" and (name not in IMAGES or place.retest)
        if (special or place.kind == "task") and place.lr is not None:
            plain, _ = split_name(place.name)
            if plain not in losses:
                losses[plain], chosen[plain] = (task.handcrafted(place.name), place.lr), {"loss": place.name}
    losses = {each: pair for each, pair in losses.items() if pair[1] is not None}
    found = trained(task, list(losses.values()), result.settings, name, draw)
    return {each: values | chosen.get(each, {}) for each, values in zip(losses, found, strict=True)}


def trained(
    task: Any, losses: Sequence[tuple[Any, float]], settings: Any, name: str, draw: int
) -> list[dict[str, Any]]:
    """The test metric of fresh networks with each loss, the same networks for all; None where a training failed.

    Args:
        task: The task, whose training and validation data are pooled.
        losses: Losses with their base learning rates.
        settings: Of the search that they are from.
        name: The task's name in the suite.
        draw: The number of the draw.

    Returns:
        For each loss its rate and a value for each network.
    """
    size = 1 if name in IMAGES else LANES
    groups = [losses[start : start + size] for start in range(0, len(losses), size)]
    columns: list[list[float | None]] = [[] for _ in losses]
    whole = task.pooled()
    for network in range(networks_of(name)):
        values = [value for group in groups for value in _values(task, whole, group, settings, draw, network)]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return [{"lr": lr, "values": column} for (_, lr), column in zip(losses, columns, strict=True)]


def _values(
    task: Any, whole: Any, group: Sequence[tuple[Any, float]], settings: Any, draw: int, network: int
) -> list[float | None]:
    """The test metric of one fresh network with each loss of a group."""
    from evomal.foundation.seeds import derive
    from evomal.foundation.serialization import finite_or_none
    from evomal.losses.batched_families import MixedLosses
    from evomal.tasks import Batches
    from evomal.training import evaluate, fit
    from evomal.training.batched_fit import fit_lanes

    key = ("suite", task.name, draw, network)
    noise, steps = derive(*key, "noise"), settings.finals.steps
    model = task.make_model(derive(*key, "init"))
    batches = Batches(len(whole), settings.base.batch_size, *key, "batches")
    if len(group) > 1:
        losses, rates = MixedLosses([loss for loss, _ in group]), [lr for _, lr in group]
        many = fit_lanes(model, losses, whole, batches, steps, settings.base, noise, rates)
        found = zip(many.fits, many.evaluate(task.test, task.metric), strict=True)
        return [None if each.reason else finite_or_none(value) for each, value in found]
    ((loss, lr),) = group
    done = fit(model, loss, whole, batches, steps, settings.base.model_copy(update={"lr": lr}), noise)
    return [None if done.reason else finite_or_none(evaluate(model, task.test, task.metric))]


def _rate(result: Any, kind: str) -> float | None:
    return next((place.lr for place in result.verdict.places if place.kind == kind), None)
