"""What there is to reproduce, what each part of it runs, and what that costs in evaluations and base steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal

from evomal.config import LearnSettings, TrainSettings, fitting, flat_fields, learn_settings, train_settings
from evomal.config.presets import paper_preset
from evomal.foundation.errors import SettingError, unknown_name
from evomal.reproduction.numbers import METHODS, TABLE5, checked_rows, original, rows_of
from evomal.search.prices import steps_of_trainings, tuning_steps

WHATS: Mapping[str, str] = MappingProxyType(
    {
        "table2": "losses learned and tested on the same task: test error rate",
        "table3": "losses learned on CIFAR-10 and transferred to CIFAR-100: test error rate",
        "table4": "hours of meta-training, projected from timed steps",
        "table5": "networks trained with the losses that the paper prints",
        "fig5": "best fitness against generation",
        "fig6": "what became of EvoMAL's candidates in each generation",
        "fig7": "the losses that EvoMAL found, and those that the paper prints",
        "fig8": "how often each operator occurs in the losses that EvoMAL found",
        "fig9": "contours of the task loss around trained networks",
        "fig10": "the same as surfaces",
        "fig11": "error rate against the base learning rate, a search at each",
    }
)
"""Everything that can be reproduced, by name."""

TESTED, LEARNERS = "cifar10/allcnnc", tuple(METHODS)[1:]
"""What Figures 9 to 11 are of; the paper's methods that learn."""
OF_EVOMAL = ("fig6", "fig7", "fig8", "fig9", "fig10")
"""Figures of EvoMAL's searches for Table 2; those of Figure 11 are always EvoMAL's."""
GRID = (0.001, 0.003, 0.01, 0.03, 0.1)
SHRUNK = ("generations", "meta_steps", "neural_steps", "partial_steps", "steps")
LEAST = {"generations": 2}
EVALUATED = {"mnist": (6_000, 10_000), "svhn": (7_326, 26_032)}
PHOTOGRAPHS = (5_000, 10_000)
"""Validation and test instances."""

IDLE: Mapping[str, tuple[frozenset[str], str]] = MappingProxyType(
    {
        "timed_batch": (frozenset(WHATS) - {"table4"}, "no steps are timed, as for table4"),
        "methods": (frozenset({"table5", "fig11"}), "always the same methods"),
        "seeds": (frozenset({"table4"}), "steps are timed, and nothing is trained"),
        "lr": (frozenset({"fig11"}), "searches are at each rate of `lr_grid`"),
        "lr_grid": (frozenset({"table4"}), "steps are timed, and nothing is trained"),
    }
)
"""What has no effect on some tables and figures, and why."""

Kind = Literal["search", "transfer", "losses", "steps", "landscape"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How things are to be reproduced.

    Args:
        scale: What budgets are multiplied by; 1 is the paper's size.
        seeds: One search and one training each; the paper has five.
        methods: Which of the paper's methods, beside the baseline.
        lr_grid: Base learning rates to try each loss at, beside the paper's; for fig11, to search at.
        flat: Single settings that differ from the paper's, by their flat names.

    Raises:
        SettingError: A value is out of its range.

    Example:
        >>> Wanted(scale=0.05).settings_of("mnist/lenet5", "evomal").partial_steps
        25
    """

    scale: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[str, ...] = LEARNERS
    lr_grid: tuple[float, ...] = ()
    flat: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.scale <= 1:
            raise SettingError(f"setting 'scale': {self.scale!r} is no share of the paper's budgets; give `scale=0.05`")
        if len(set(self.seeds)) < 2:
            raise SettingError("a spread over seeds needs at least two of them; give `seeds=[0, 1, 2, 3, 4]`")
        for method in self.methods:
            if method not in LEARNERS:
                raise unknown_name("method of the paper", method, LEARNERS)
        for rate in self.lr_grid:
            if not (isfinite(rate) and rate > 0):
                raise SettingError(f"setting 'lr_grid': {rate} is no learning rate; give numbers above 0")

    def flat_of(self, row: str) -> dict[str, Any]:
        """What differs from the preset of a row: shrunk budgets, then single settings."""
        if self.scale == 1:
            return dict(self.flat)
        preset = preset_of(row)
        learning, full = learn_settings(preset), train_settings(preset)
        ml3 = learn_settings(preset, method="ml3")
        whole = {
            "generations": learning.genetic.generations,
            "meta_steps": learning.local_search.meta_steps,
            "neural_steps": ml3.neural.neural_steps,
            "partial_steps": learning.partial_steps,
            "steps": full.steps,
        }
        return {name: max(LEAST.get(name, 1), round(self.scale * whole[name])) for name in SHRUNK} | dict(self.flat)

    def settings_of(self, row: str, method: str, **more: Any) -> LearnSettings:
        """A method's settings for a search, but for the seed."""
        known = {name: value for name, value in self.flat_of(row).items() if name != "steps"}
        return learn_settings(preset_of(row), **fitting(method, known | more))

    def training_of(self, row: str) -> TrainSettings:
        """Settings of full trainings."""
        fields = flat_fields(TrainSettings)
        flat = {name: value for name, value in self.flat_of(row).items() if name in fields}
        return train_settings(preset_of(row), **flat)

    @property
    def changes(self) -> list[str]:
        """How this differs from the paper, one sentence each."""
        told = []
        if self.scale != 1:
            told.append(
                f"scale {self.scale:g}: generations, meta steps, partial and full trainings have {self.scale:.3g} of "
                "the paper's budgets, so these numbers are not the paper's experiment"
            )
        if len(self.seeds) != 5:
            told.append(f"{len(self.seeds)} seeds in place of five")
        if self.methods != LEARNERS:
            told.append(f"of the paper's methods {', '.join(METHODS[name] for name in self.methods) or 'none'} only")
        told += [f"{name} is {value!r}, not the paper's" for name, value in self.flat.items()]
        return told


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Something that is run by itself, in a folder of its own.

    Args:
        kind: Searches and trainings with what they found; trainings with losses of another part, or with published
            ones; timed steps; trainings with a landscape around each.
        folder: Its folder inside `out`; parts of one name are the same.
        row: Data set and network, such as ``"mnist/lenet5"``.
        names: Methods or losses, beside the baseline.
        searches: Settings of each search but for the seed.
        trainings: Full trainings in all.
        steps: Base steps of each.
        lr: The base learning rate; None means the preset's.
        source: The folder of the part whose losses it takes.
    """

    kind: Kind
    folder: str
    row: str
    names: tuple[str, ...] = ()
    searches: tuple[LearnSettings, ...] = ()
    trainings: int = 0
    steps: int = 0
    lr: float | None = None
    source: str | None = None

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.row.partition("/")[0]

    @property
    def model(self) -> str:
        """The network's name."""
        return self.row.partition("/")[2]

    @property
    def evaluations(self) -> int:
        """The most partial trainings of its searches."""
        return sum(settings.evaluations * len(settings.fitness_lrs) for settings in self.searches)

    @property
    def base_steps(self) -> int:
        """The most base steps; a meta step counts as its base steps and one more."""
        tuned = sum(settings.evaluations * tuning_steps(settings) for settings in self.searches)
        partial = sum(steps_of_trainings(settings.evaluations, settings) for settings in self.searches)
        return round(tuned + partial) + self.trainings * self.steps


def parts_of(whats: Sequence[str], rows: Sequence[str], wanted: Wanted) -> tuple[PlanPart, ...]:
    """Everything that tables and figures run, each part once, those that others rest on first.

    Args:
        whats: Names in `WHATS`.
        rows: Rows such as ``"mnist/lenet5"``; none means all rows of a table, and the paper's one of Figures 9 to 11.
        wanted: How to reproduce them.

    Raises:
        UnknownNameError: There is no such table, figure or row.
        SettingError: A setting is unknown or out of range, or a figure is of methods that are left out.

    Example:
        >>> parts = parts_of(["table2", "fig5"], ["mnist/lenet5"], Wanted())
        >>> [(part.folder, part.evaluations, part.trainings) for part in parts]
        [('table2/mnist-lenet5', 18755, 25)]
    """
    if not whats:
        raise SettingError(f"name what to reproduce: {', '.join(WHATS)}")
    for what in whats:
        if what not in WHATS:
            raise unknown_name("table or figure", what, WHATS)
        _require_searches(what, wanted.methods)
    found: dict[str, PlanPart] = {}
    for what in whats:
        for row in rows_for(what, tuple(rows)):
            for part in parts_for(what, row, wanted):
                found.setdefault(part.folder, part)
    return tuple(found.values())


def require_use(whats: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse what nothing of what is to be reproduced looks at, so that nobody believes that it had an effect.

    Args:
        whats: Names in `WHATS`.
        given: What somebody gave, by name.

    Raises:
        SettingError: It is of no use to any of them.

    Example:
        >>> require_use(["table4", "fig5"], {"timed_batch": 2})
        >>> require_use(["table5", "fig11"], {"methods": ("gplfl",)})
        Traceback (most recent call last):
        ...
        evomal.foundation.errors.SettingError: setting 'methods': table5, fig11: always the same methods; leave it out
    """
    for name, (idle, why) in IDLE.items():
        if name in given and set(whats) <= idle:
            raise SettingError(f"setting '{name}': {', '.join(whats)}: {why}; leave it out")


def _require_searches(what: str, methods: Sequence[str]) -> None:
    """Refuse a figure of what is not to be run now, and not after hours of what is."""
    if what in OF_EVOMAL and "evomal" not in methods:
        raise SettingError(f"figure '{what}' is of EvoMAL's searches; add evomal to `methods`")
    if what == "fig5" and not set(methods) - {"ml3"}:
        raise SettingError("figure 'fig5' is of searches with generations; add taylorglo, gplfl or evomal to `methods`")


def rows_for(what: str, rows: tuple[str, ...]) -> tuple[str, ...]:
    """The rows of a table or figure that are asked for.

    Example:
        >>> rows_for("fig11", ()), rows_for("table5", ())
        (('cifar10/allcnnc',), ('mnist/lenet5',))
    """
    table = what if what in ("table3", "table4") else "table2"
    if rows:
        return checked_rows(table, rows)
    if what in ("fig9", "fig10", "fig11"):
        return (TESTED,)
    return rows_of("table2")[:1] if what == "table5" else rows_of(table)


def slug(row: str) -> str:
    """A row as the name of a folder.

    Example:
        >>> slug("mnist/lenet5")
        'mnist-lenet5'
    """
    return row.replace("/", "-")


def parts_for(what: str, row: str, wanted: Wanted) -> Iterable[PlanPart]:
    """What one row of a table or figure runs, the last part last; see `parts_of`."""
    steps, seeds = wanted.training_of(row).steps, len(wanted.seeds)
    rates = 1 + len(set(wanted.lr_grid) - {wanted.training_of(row).base.lr})
    if what == "table4":
        yield PlanPart("steps", f"table4/{row.partition('/')[2]}", row, wanted.methods)
    elif what == "table5":
        names = tuple(TABLE5)
        trainings = (1 + len(names)) * seeds * rates
        yield PlanPart("losses", f"table5/{slug(row)}", row, names, trainings=trainings, steps=steps)
    elif what == "table3":
        source = row.replace("cifar100", "cifar10")
        yield from parts_for("table2", source, wanted)
        trainings = (1 + len(wanted.methods)) * seeds * rates
        folder, names = f"table3/{slug(row)}", wanted.methods
        yield PlanPart("transfer", folder, row, names, (), trainings, steps, source=f"table2/{slug(source)}")
    elif what == "fig11":
        for lr in wanted.lr_grid or GRID:
            settings = (wanted.settings_of(row, "evomal", lr=lr),) * seeds
            yield PlanPart("search", f"fig11/{slug(row)}/lr-{lr:g}", row, ("evomal",), settings, 2 * seeds, steps, lr)
    else:
        searches = tuple(wanted.settings_of(row, method) for method in wanted.methods for _ in wanted.seeds)
        trainings = (1 + len(wanted.methods)) * seeds * rates
        folder = f"table2/{slug(row)}"
        yield PlanPart("search", folder, row, wanted.methods, searches, trainings, steps)
        if what in ("fig9", "fig10"):
            yield PlanPart("landscape", f"fig9/{slug(row)}", row, ("evomal",), (), 2, steps, source=folder)


def preset_of(row: str) -> str:
    """The preset of a row.

    Example:
        >>> preset_of("fashion-mnist/lenet5")
        'paper-mnist'
    """
    return paper_preset(*original(row).split("/"))


def evaluated(row: str) -> tuple[int, int]:
    """How many validation and test instances a row's data set has.

    Example:
        >>> evaluated("cifar10/vgg16")
        (5000, 10000)
    """
    return EVALUATED.get(original(row).partition("/")[0], PHOTOGRAPHS)
