"""What is compared: handcrafted losses, losses from files or as objects, and methods that search for one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike, fspath
from os.path import normpath
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from evomal.config import LearnSettings, compared_settings, fitting, method_entry, unused
from evomal.foundation.errors import SettingError, unknown_name
from evomal.foundation.files import LOSS
from evomal.losses import HANDCRAFTED, HandcraftedLoss, LearnedLoss
from evomal.losses.checks import checked_function
from evomal.losses.criterion import LossFunction
from evomal.losses.published import PUBLISHED
from evomal.search import METHODS, LearnResult, load_method
from evomal.training import TrainingRun
from evomal.training.meta_testing import best_rate

Kind = Literal["handcrafted", "learned", "file", "found", "own"]
Given = str | PathLike[str] | LossFunction | LearnResult
"""What may be named or given as a loss, or as a method that finds one."""

FITNESS_LRS = (0.25, 1.0, 4.0)
VARIANTS = ("scale-control", "fitness-lrs")


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """One search of a method.

    Args:
        seed: Seed of the search, and of the meta-test with what it found.
        seconds: Wall time.
        evaluations: Partial trainings, the price at which methods are compared.
        meta_steps: Gradient steps on coefficients, in all.
        fitness: The best loss's metric after partial training; None if the search found nothing (D11).
        baseline: The task loss's metric after the same partial training; None if that diverged.
        formula: The loss that was found.
        loss_file: Where it lies.
        outcomes: How many candidates ended in which way.
        workers: How many searches ran on the machine at a time, this one among them; None if that is not known.
        verdict: What its finals came to, such as ``learned`` or ``tie``; None without finals.
    """

    seed: int
    seconds: float
    evaluations: int
    meta_steps: int
    fitness: float | None
    baseline: float | None
    formula: str
    loss_file: str
    outcomes: dict[str, int]
    workers: int | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A loss, or a method that finds one for each seed: what it was given as, and all that came out.

    Args:
        name: What it is called in tables.
        kind: ``handcrafted`` (by name, or the task's own loss), ``learned`` (a method whose losses are searched for),
            ``file`` (a loss from a file), ``found`` (a learned loss as an object, such as a search's result), or
            ``own`` (a function or module of the user).
        searches: One for each seed of a method; none for the others.
        runs: Full trainings at every rate and seed.
        ratios: How much longer its first gradients are than the task loss's, one for each seed; None where that is not
            finite.
        tuned_lrs: The learning rates that its losses were tuned or chosen for, one for each seed; None where that is
            not known.
        settings: Of a method's search, but for the seed.
        given: The loss itself, where it was given as an object.
        remarks: Settings that were given and that the method cannot have or does not use, one sentence each.
    """

    name: str
    kind: Kind
    searches: tuple[SearchSummary, ...] = ()
    runs: tuple[TrainingRun, ...] = ()
    ratios: tuple[float | None, ...] = ()
    tuned_lrs: tuple[float | None, ...] = ()
    settings: LearnSettings | None = field(default=None, compare=False, repr=False)
    given: LossFunction | None = field(default=None, compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def seeded(self, seed: int) -> LearnSettings:
        """The settings of the search with a seed; it runs on one worker, as several searches run at a time."""
        assert self.settings is not None
        return self.settings.model_copy(update={"seed": seed, "workers": 1})

    @property
    def evaluations(self) -> int:
        """The most partial trainings that a search takes; 0 without one."""
        return 0 if self.settings is None else self.settings.evaluations * len(self.settings.fitness_lrs)

    def missing(self, lrs: Sequence[float], seeds: Sequence[int]) -> list[tuple[float, int]]:
        """Rates and seeds that it was not trained with."""
        done = {(run.lr, run.seed) for run in self.runs}
        return [(lr, seed) for lr in lrs for seed in seeds if (lr, seed) not in done]

    def values(self, lr: float, seeds: Sequence[int]) -> tuple[float, ...]:
        """Test metric at a rate, in the order of the seeds; not finite where the training diverged."""
        found = {run.seed: run.test for run in self.runs if run.lr == lr}
        return tuple(found[seed] for seed in seeds)

    def best_rate(self, lrs: Sequence[float]) -> float:
        """The rate with the lowest mean validation metric; one at which any training diverged comes last."""
        return best_rate(self.runs, lrs)

    @property
    def gradient_ratio(self) -> float | None:
        """Median of `ratios`; None without one that is finite."""
        known = [ratio for ratio in self.ratios if ratio is not None]
        return median(known) if known else None

    def mean_of_searches(self, what: str) -> float | None:
        """The mean of what a search took (``seconds``, ``evaluations``, ``meta_steps``); None without one."""
        return fmean(getattr(search, what) for search in self.searches) if self.searches else None

    def as_dict(self) -> dict[str, Any]:
        """What came out as plain values, but for numbers that are not finite."""
        parts = {part: [asdict(each) for each in getattr(self, part)] for part in ("searches", "runs")}
        return {"name": self.name, "kind": self.kind, **parts, "ratios": self.ratios, "tuned_lrs": self.tuned_lrs}

    @property
    def substance(self) -> Any:
        """What makes two contenders the same, whatever their names."""
        if self.kind == "file" and self.name not in PUBLISHED:
            path = Path(self.name).resolve()
            return path / LOSS if path.is_dir() else path
        return self.settings or (self.name if self.given is None else id(self.given))


def read_contender(name: str, preset: str | None, flat: dict[str, Any], task_loss: str | None = None) -> Contender:
    """The contender that a name stands for.

    Args:
        name: A handcrafted loss; a method, with ``+scale-control`` or ``+fitness-lrs`` after it for a variant; or a
            loss file or run folder.
        preset: Named settings of searches.
        flat: Single settings of searches, by their flat names; those that a method cannot have or does not use are
            left out, and its remarks say so.
        task_loss: What the task calls its own loss, which may be a function of the user.

    Raises:
        UnknownNameError: Nothing is called that.
        SettingError: A setting is out of range.

    Example:
        >>> read_contender("evomal+scale-control", "quick", {}).settings.scale_control
        True
        >>> read_contender("gplfl", "quick", {"meta_steps": 3, "hidden": 20}).remarks
        ("setting 'meta_steps': gplfl always has 0, so 3 does not hold for it", 'gplfl does not use hidden')
    """
    if not name:
        raise SettingError("a name among the methods is empty; `evomal list` names methods and losses")
    if name in HANDCRAFTED or name == task_loss:
        return Contender(name, "handcrafted")
    method, *variants = name.split("+")
    if _is_code(method):
        method = load_method(method).name
        name = "+".join([method, *variants])
    if method in METHODS:
        own = {setting: value for variant in variants for setting, value in _variant(variant, flat).items()}
        settings = compared_settings(preset, **fitting(method, flat) | own)
        return Contender(name, "learned", settings=settings, remarks=tuple(_remarks(name, method, own, flat)))
    if name in PUBLISHED or is_path(name):
        return Contender(name, "file")
    if method in HANDCRAFTED:
        raise SettingError(f"'{name}': loss '{method}' is not searched for and has no variants; write '{method}'")
    raise unknown_name("method or loss", method, [*METHODS, *HANDCRAFTED, *PUBLISHED])


def is_path(name: str) -> bool:
    """Whether a name is that of a file or folder."""
    path = Path(name)
    return path.exists() or path.suffix == ".json" or len(path.parts) > 1


def _is_code(method: str) -> bool:
    """Whether it is written as a class of the user's own, such as ``my_module.py:Mine``."""
    source, colon, name = method.rpartition(":")
    return bool(colon) and name.isidentifier() and (source.endswith(".py") or source.replace(".", "").isidentifier())


def _variant(name: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    if name == "scale-control":
        return {"scale_control": True}
    if name == "fitness-lrs":
        return {"fitness_lrs": flat.get("fitness_lrs") or FITNESS_LRS}
    raise unknown_name("variant", name, VARIANTS)


def _remarks(name: str, method: str, own: dict[str, Any], flat: dict[str, Any]) -> list[str]:
    """What was given and does not hold, in words; `own` are the settings of the variant."""
    has = dict(method_entry(method).fixed) | own
    idle = unused(method, flat)
    remarks = [
        f"setting '{setting}': {name} always has {has[setting]}, so {given} does not hold for it"
        for setting, given in flat.items()
        if given is not None and (has[setting] != given if setting in own else setting in idle and setting in has)
    ]
    without = [setting for setting in idle if setting not in has]
    return [*remarks, f"{name} does not use {', '.join(without)}"] if without else remarks


def read_contenders(
    given: Sequence[Given], baseline: str, preset: str | None, flat: dict[str, Any], task_loss: str | None = None
) -> tuple[Contender, ...]:
    """All contenders, the baseline first if it was not among them.

    Raises:
        SettingError: One is there twice, perhaps under two names, or cannot be read.
    """
    handed = by_name([each for each in given if isinstance(each, LearnResult)])
    given = by_name(given)
    texts = [fspath(each) for each in given if isinstance(each, str | PathLike)]
    for name in texts:
        if texts.count(name) > 1:
            why = ", as a search handed it out" if name in handed else ""
            raise SettingError(f"'{name}' is there twice among the methods{why}; give each once")
    names = [path_name(text) for text in texts]
    objects = named_objects([each for each in given if not isinstance(each, str | PathLike)], [*names, baseline])
    if baseline not in names:
        given, texts, names = [baseline, *given], [baseline, *texts], [baseline, *names]
    read = [(text, read_contender(name, preset, flat, task_loss)) for text, name in zip(texts, names, strict=True)]
    named, rest = iter(read), iter([(each.name, each) for each in objects])
    pairs = [next(named if isinstance(each, str | PathLike) else rest) for each in given]
    seen: dict[Any, str] = {}
    for text, contender in pairs:
        other = seen.setdefault(contender.substance, text)
        if other != text:
            raise SettingError(f"'{other}' and '{text}' are the same; leave one of them out")
    return tuple(contender for _, contender in pairs)


def by_name(given: Sequence[Any]) -> list[Any]:
    """What was given; a search's result by the name of its loss, where that is one that people wrote.

    So it is the same contender as if it had been named, with the class counts of the task at hand.
    """
    return [
        each.loss.name if isinstance(each, LearnResult) and type(each.loss) is HandcraftedLoss else each
        for each in given
    ]


def path_name(name: str | PathLike[str]) -> str:
    """A name as it stands in tables and folders: the path of a file without what does not lead anywhere.

    Example:
        >>> path_name("./results/../l.json"), path_name("./focal"), path_name("evomal+scale-control")
        ('l.json', './focal', 'evomal+scale-control')
    """
    text = fspath(name)
    short = normpath(text)
    # `./focal` is a folder, and `focal` would not be.
    return short if Path(text).suffix == ".json" or len(Path(short).parts) > 1 else text


def named_objects(losses: Sequence[Any], taken: Sequence[str], setting: str = "methods") -> list[Contender]:
    """Contenders from losses that were given as objects: functions, modules, and results of searches.

    Each is called by its function or class, or a search's result by method and seed; no name is there twice, nor means
    something else. `setting` is what messages call the list.

    Raises:
        SettingError: One is nothing that can be called as a loss.

    Example:
        >>> import torch
        >>> def mine(outputs, targets): ...
        >>> [each.name for each in named_objects([mine, torch.nn.MSELoss(), lambda f, y: f.sum()], ["mine"])]
        ['mine-2', 'MSELoss', 'custom']
    """
    found: list[Contender] = []
    names = {*taken, *METHODS, *HANDCRAFTED, *PUBLISHED}
    for each in losses:
        loss = each.loss if isinstance(each, LearnResult) else checked_function(each, setting)
        plain = _name_of(each)
        name = next(text for text in (plain, *(f"{plain}-{n}" for n in range(2, len(names) + 3))) if text not in names)
        names.add(name)
        found.append(Contender(name, "found" if isinstance(loss, LearnedLoss) else "own", given=loss))
    return found


def _name_of(each: Any) -> str:
    if isinstance(each, LearnResult):
        return f"{each.settings.method}-seed{each.settings.seed}"
    if isinstance(each, HandcraftedLoss):
        return each.name
    name = str(getattr(each, "__name__", type(each).__name__))
    return "custom" if name == "<lambda>" else name
