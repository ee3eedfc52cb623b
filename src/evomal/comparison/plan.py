"""All that a comparison is going to do, known before anything is done."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from os import PathLike
from typing import Any

from evomal.comparison.contenders import Contender, Given, read_contenders
from evomal.config import LearnSettings, TrainSettings, flat_fields, idle, train_settings
from evomal.foundation.errors import SettingError, unknown_name
from evomal.search import LearnResult

LEAST_SEEDS = 2
CONTENDERS = (str, PathLike, Callable, LearnResult)


def _own() -> dict[str, Any]:
    """What is of each search alone, and what no result depends on."""
    own: dict[str, Any] = {"seed": True}
    for name in idle(LearnSettings):
        stage = flat_fields(LearnSettings)[name]
        own |= {stage: {*own.get(stage, ()), name}} if stage else {name: True}
    return own


OWN = _own()
# What a comparison has several of, or decides itself, with the argument that says so.
INSTEAD = {"lrs": "lr_grid", "seed": "seeds", "method": "methods", "workers": "the executor's workers"}
INSTEAD |= {name: "processes of this machine" for name in idle(LearnSettings) if name not in INSTEAD}


@dataclass(frozen=True, slots=True)
class Plan:
    """Contenders, seeds and learning rates.

    Args:
        contenders: What is compared, with what it was given as alone.
        baseline: The name of the one that the others are tested against.
        training: Full trainings: seeds, steps, every rate; its base rate is the fixed one.
    """

    contenders: tuple[Contender, ...]
    baseline: str
    training: TrainSettings

    @property
    def searches(self) -> list[tuple[Contender, int]]:
        """Every search: a method and a seed, the methods that take longest first."""
        learned = sorted((each for each in self.contenders if each.kind == "learned"), key=_effort, reverse=True)
        return [(each, seed) for each in learned for seed in self.training.seeds]

    @property
    def trainings(self) -> list[tuple[Contender, float, int]]:
        """Every full training: a contender, a rate and a seed."""
        settings = self.training
        return [(each, lr, seed) for each in self.contenders for lr in settings.lrs for seed in settings.seeds]

    @property
    def evaluations(self) -> int:
        """The most partial trainings that the searches take, all together."""
        return sum(each.evaluations for each, _ in self.searches)

    @property
    def remarks(self) -> list[str]:
        """Settings that were given and that a contender cannot have or does not use, one sentence each."""
        return [remark for each in self.contenders for remark in each.remarks]

    def as_dict(self) -> dict[str, Any]:
        """What results depend on, as plain values."""
        return {
            "baseline": self.baseline,
            "training": self.training.model_dump(mode="json"),
            "methods": {
                each.name: None if each.settings is None else each.settings.model_dump(mode="json", exclude=OWN)
                for each in self.contenders
            },
        }


def _effort(contender: Contender) -> int:
    """A search's base steps, roughly: a meta step counts as two."""
    assert contender.settings is not None
    settings = contender.settings
    return contender.evaluations * settings.partial_steps + 2 * settings.evaluations * settings.tuning.meta_steps


def make_plan(
    methods: Sequence[Given],
    baseline: str,
    seeds: Sequence[int],
    preset: str | None = None,
    lr_grid: Sequence[float] = (),
    task_loss: str | None = None,
    **flat: Any,
) -> Plan:
    """The plan of a comparison.

    Args:
        methods: Names of contenders, see `evomal.comparison.contenders.read_contender`; or losses as objects.
        baseline: The contender that others are tested against.
        seeds: One search and one meta-test for each.
        preset: Named settings, for searches and trainings.
        lr_grid: Base learning rates to try each loss at; the fixed rate is among them anyway.
        task_loss: What the task calls its own loss, if that is no handcrafted one by name.
        **flat: Single settings of searches and trainings, by their flat names.

    Returns:
        The plan.

    Raises:
        SettingError: There are no methods, too few seeds, a setting is out of range, or another argument stands for it.

    Example:
        >>> plan = make_plan(["evomal", "ml3"], "cross_entropy", [0, 1], "quick", [0.01, 0.3])
        >>> [each.name for each in plan.contenders], plan.training.lrs, len(plan.searches), len(plan.trainings)
        (['cross_entropy', 'evomal', 'ml3'], (0.01, 0.1, 0.3), 4, 18)
    """
    given = listed("methods", methods, CONTENDERS, "['evomal', 'focal', 'loss.json']")
    seeds = tuple(dict.fromkeys(int(seed) for seed in listed("seeds", seeds, Integral, "[0, 1, 2, 3, 4]")))
    if not given:
        raise SettingError("there is nothing to compare; give at least one of `methods`")
    if len(seeds) < LEAST_SEEDS:
        raise SettingError(
            f"a paired test over seeds needs at least {LEAST_SEEDS} of them, and five or more are better; give "
            "`seeds=[0, 1, 2, 3, 4]`"
        )
    known = {kind: flat_fields(kind) for kind in (LearnSettings, TrainSettings)}
    _check_names(flat, {name for names in known.values() for name in names})
    lr_grid = [float(rate) for rate in listed("lr_grid", lr_grid, Real, "[0.01, 0.1]")]
    for rate in lr_grid:
        if not (isfinite(rate) and rate > 0):
            raise SettingError(f"setting 'lr_grid': {rate} is no learning rate; give numbers above 0")
    contenders = read_contenders(given, baseline, preset, _part(flat, known[LearnSettings]), task_loss)
    fixed = train_settings(preset, seeds=seeds, **_part(flat, known[TrainSettings]))
    rates = tuple(sorted({fixed.base.lr, *lr_grid}))
    training = train_settings(preset, seeds=seeds, lrs=rates, **_part(flat, known[TrainSettings]))
    return Plan(contenders, baseline, training)


def listed(name: str, values: Any, kind: Any, example: str) -> list[Any]:
    """Values of one kind as a list, or a sentence that says what was meant to be a list of what."""
    entries = list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else None
    if entries is None or not all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in entries):
        raise SettingError(f"setting '{name}': {values!r} is no list of such values; write {name}={example}")
    return entries


def _check_names(flat: Mapping[str, Any], known: Collection[str]) -> None:
    for name, value in flat.items():
        if name in INSTEAD:
            raise SettingError(f"setting '{name}': a comparison takes {INSTEAD[name]} in its place, not {value!r}")
        if name not in known:
            raise unknown_name("setting", name, set(known) - INSTEAD.keys())


def _part(flat: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in flat.items() if name in names}
