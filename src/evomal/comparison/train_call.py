"""What a call of `evomal train` does, as plain values, and whether another call may go on with it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, ValidationError

from evomal.config import TrainSettings, flat_fields, holds, meanings, validated, with_given
from evomal.config.fields import Count, Settings
from evomal.foundation.errors import RunFolderError, SettingError
from evomal.store import task_identity as identity
from evomal.store.provenance import versions
from evomal.tasks import Task
from evomal.tasks.splits import fingerprint
from evomal.training.meta_testing import require_test_split

MARK, VERSION = "evomal-trainings", 1
ANYWHERE = ("workers", "device")  # no setting of a training, and no result depends on them
OWN = ("losses", "preset", "workers")  # options that are neither settings nor the task's


class NamedLoss(Settings):
    """A loss as it was named, and its `evomal.comparison.digests.digest`."""

    name: str
    digest: str | None


class TrainCall(Settings):
    """All that the results of `evomal train` depend on.

    Attributes:
        losses: Every loss, in the order of the table.
        settings: How networks are trained.
        options: What the options of the task said.
        task: What task that was, as `task_identity` says it.
        given: Settings that somebody gave, by flat name, as against those of the preset.
        workers: Trainings at a time.
        preset: The name of its preset.
        command: The command line that began it.
        directory: The folder that names of files were given in; None where that is not known.
        versions: Of evomal, Python and the packages that compute.
    """

    losses: tuple[NamedLoss, ...] = Field(min_length=1)
    settings: TrainSettings
    options: dict[str, str | int | float | list[str] | None]
    task: dict[str, Any]
    given: tuple[str, ...] = ()
    workers: Count = 1
    preset: str | None = None
    command: str | None = None
    directory: str | None = None
    versions: dict[str, str] = Field(default_factory=versions)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The call that a line of a journal stands for.

        Raises:
            ValueError: It stands for none.
        """
        values = {name: value for name, value in record.items() if name not in ("format", "version")}
        try:
            call = cls.model_validate(values)
            return call.model_copy(update={"settings": with_given(call.settings, call.given)})
        except ValidationError as error:
            where = error.errors()[0]["loc"]
            raise ValueError(f"its {'.'.join(map(str, where))} is odd") from None

    def as_record(self) -> dict[str, Any]:
        """The call as a line of a journal."""
        return {"format": MARK, "version": VERSION, **self.model_dump(mode="json")}

    @property
    def trainings(self) -> list[tuple[str, float, int]]:
        """Every training: a loss, a rate and a seed."""
        settings = self.settings
        return [(loss.name, lr, seed) for loss in self.losses for lr in settings.lrs for seed in settings.seeds]

    def agreed(self, given: Mapping[str, Any], override: bool, out: object) -> Self:
        """The call as it goes on now, with the options that are given beside it.

        Args:
            given: Options by name, those of the task and single settings among them.
            override: Take over others than those it was begun with, where finished trainings still hold.
            out: What the call is told by in an error.

        Returns:
            The call, with the versions of now.

        Raises:
            SettingError: Options differ.

        Example:
            >>> losses, settings = (NamedLoss(name="focal", digest=None),), TrainSettings(steps=50)
            >>> call = TrainCall(losses=losses, settings=settings, options={"dataset": "iris"}, task={})
            >>> call.agreed({"seeds": (0, 1), "workers": 2}, True, "r.json").settings.seeds
            (0, 1)
            >>> try:
            ...     call.agreed({"steps": 60}, True, "r.json")
            ... except SettingError as error:
            ...     print(str(error).partition(";")[0])
            'r.json' was begun with other options, which may not change (steps was 50, now 60)
        """
        now = self._with(given)
        old, new = self._flat(), now._flat()
        told = {name: f"{name} was {old.get(name)!r}, now {new[name]!r}" for name in new if old.get(name) != new[name]}
        fixed = [text for name, text in told.items() if not _still_holds(name, old.get(name), new[name])]
        if fixed:
            raise SettingError(
                f"'{out}' was begun with other options, which may not change ({first_few(fixed)}); leave them out, or "
                "give another `out`"
            )
        if told and not override:
            raise SettingError(
                f"'{out}' was begun with other options ({first_few(list(told.values()))}); leave them out, or add "
                "`override=True`"
            )
        return now

    def _with(self, given: Mapping[str, Any]) -> Self:
        stages = flat_fields(TrainSettings)
        nested = self.settings.model_dump()
        for name in given.keys() & stages.keys():
            (nested[stages[name]] if stages[name] else nested)[name] = given[name]
        known = {loss.name: loss for loss in self.losses}
        names = dict.fromkeys(given.get("losses", known))
        options = {name: value for name, value in given.items() if name not in stages and name not in OWN}
        names_given = {*self.given, *(given.keys() & stages.keys())}
        changes = {
            "losses": tuple(known.get(name, NamedLoss(name=name, digest=None)) for name in names),
            "settings": with_given(validated(TrainSettings, nested), names_given),
            "given": tuple(sorted(names_given)),
            "options": self.options | options,
            "versions": versions(),
            **{name: given[name] for name in ("preset", "workers") if name in given},
        }
        return self.model_copy(update=changes)

    def _flat(self) -> dict[str, Any]:
        settings = self.settings.model_dump(mode="json")
        stages = flat_fields(TrainSettings)
        return {
            "losses": [loss.name for loss in self.losses],
            # The fingerprint tells whether it is the same data, wherever it lies.
            **{name: value for name, value in self.options.items() if name not in ("data", "data_dir")},
            "preset": self.preset,
            **{name: settings[stage][name] if stage else settings[name] for name, stage in stages.items()},
            "workers": self.workers,
        }

    def require_same(
        self, digests: Mapping[str, str | None], handcrafted: Collection[str], task: Mapping[str, Any], out: object
    ) -> None:
        """Make sure that losses and task are still those of the finished trainings.

        Args:
            digests: That of each loss, by name.
            handcrafted: Names of the losses that people wrote: an older evomal wrote down no digest of these.
            task: What `task_identity` says of the task.
            out: What the call is told by in an error.

        Raises:
            RunFolderError: One has changed.
        """
        for loss in self.losses:
            older = loss.digest is None and loss.name in handcrafted
            if digests[loss.name] != loss.digest and not older:
                raise RunFolderError(
                    f"loss '{loss.name}' has changed since '{out}' was begun; bring back that of then, or give another "
                    "`out`"
                )
        found = identity.changes(self.task, task)
        if found:
            raise RunFolderError(
                f"the task has changed since '{out}' was begun ({first_few(found)}); bring back the data and the model "
                "of then, or give another `out`"
            )


def _still_holds(name: str, before: Any, now: Any) -> bool:
    return name in ANYWHERE or holds(meanings(TrainSettings).get(name), before, now)


def task_identity(task: Task) -> dict[str, Any]:
    """What a task is that networks are tested on, as plain values.

    Raises:
        DataError: It has no test split.
    """
    require_test_split(task)
    assert task.test is not None
    return identity.identity(task) | {"test_fingerprint": fingerprint((), (task.test,))}


def first_few(told: Sequence[str], most: int = 3) -> str:
    """Remarks in a row, no more than a few.

    Example:
        >>> first_few(["a", "b", "c", "d", "e"])
        'a; b; c; and 2 more'
    """
    more = [f"and {len(told) - most} more"] if len(told) > most else []
    return "; ".join([*told[:most], *more])
