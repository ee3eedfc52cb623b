"""A task: what a loss is learned for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evomal.foundation.errors import SettingError
from evomal.foundation.serialization import by_value
from evomal.losses import HandcraftedLoss, TaskType, get_handcrafted
from evomal.losses.checks import checked_function
from evomal.losses.criterion import IGNORED, Criterion, LossFunction
from evomal.tasks.augmentation import Augmentation, get_augmentation
from evomal.tasks.checking import check_two_classes, checked_targets
from evomal.tasks.dividing import are_of_one_form, joined, train_and_valid
from evomal.tasks.factories import (
    OptimizerFactory,
    ScheduleFactory,
    UserOptimizer,
    build,
    checked_factory,
    checked_function_of,
    own_floats,
)
from evomal.tasks.inputs import Form, Outputs, adapted
from evomal.tasks.kinds import fitting_metric, infer_task_type, with_own_label
from evomal.tasks.metrics import CLASSIFICATION, Metric
from evomal.tasks.models.registry import ModelFactory
from evomal.tasks.reading import read_split
from evomal.tasks.sampling import split_off, strata
from evomal.tasks.splits import AnySplit, Split, augmented, fingerprint
from evomal.tasks.task_loss import entry_of, ignored_label, on_device
from evomal.tasks.tensors import as_targets

CODE = ("factory", "outputs", "task_loss", "metric", "own")  # may be lambdas, or functions of a user's file


class Task:
    """A model factory, splits, a differentiable task loss L_T and a metric L_P (Section 3).

    Args:
        model: A function or class that, called without arguments, builds a fresh network. One of float64 gets data in
            float64.
        train: Training split: a pair (x [N, ...], y [N, ...]) of tensors or arrays, or a map-style data set
            of pairs. For a model with several inputs x is a tuple of them, or a dict of them by their names, and the
            model is called as ``model(*inputs)`` or ``model(**inputs)``.
        valid: Validation split; None takes `valid_fraction` of the training split, stratified, always the
            same.
        test: Test split, needed for meta-testing only.
        task_loss: Name of a handcrafted loss, or a function ``(outputs, targets) -> scalar``, which like a metric of
            your own sees targets in the shape that you give: y [N, 1] goes with outputs [N, 1], y [N] with [N].
        metric: Name of a metric, or a function ``(outputs, targets) -> number`` to be minimised; None means
            ``"error_rate"`` for classification and ``"mse"`` for regression.
        name: What the task is called in tables.
        dataset: What the data set is called; None means `name`.
        model_name: What the model is called; None takes the factory's own name.
        task_type: ``"classification"``, ``"regression"``, or ``"multilabel"`` for targets [N, C] of 0 and 1, any of
            which may be 1; None infers it from the loss, the metric or the targets.
        valid_fraction: Share of the training split that becomes the validation split if there is none.
        resident: Read a data set once into tensors; False fetches its items for every batch (random
            augmentation, or more data than memory); None reads it once unless its items are others when they are read
            again. Give `valid` beside a data set that augments, as a part of it is augmented too.
        device: Where data and models live.
        ignore_index: A label that does not count; None means that of the task loss, or -100. A
            metric of the user's own sees the label itself, losses see -100.
        augmentation: What is done to batches of training images, a name in `AUGMENTATIONS` or an `Augmentation`; never
            to validation or test data.
        optimizer: Makes the optimiser that base networks are trained with, ``optimizer(parameters, lr)``, in partial
            and in full trainings; None takes the one that settings name.
        schedule: Makes the schedule of its learning rate, ``schedule(optimizer, steps)``, for a training of so many
            steps; None takes the one that settings name.
        outputs: Picks the raw outputs from what the model gives, such as ``lambda out: out["logits"]``, or
            ``lambda out: out.transpose(1, 2)`` for a model that gives [B, T, V], as losses take classes second.
        valid_alike: Whether `valid`, if it is given, was drawn from the same data as `train`, so that finals may mix
            the two and divide them anew. What is split off here always is.

    Raises:
        DataError: Data is not finite, empty, of different lengths or shapes, or labels are negative.
        ModelError: `model` is a built network, or not callable.
        SettingError: A name or value is not known, or metric and task type do not fit.

    Example:
        >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
        >>> task = Task(lambda: nn.Linear(3, 2), (x, y), name="mine")
        >>> task.task_type, task.metric.name, len(task.train), len(task.valid)
        ('classification', 'error_rate', 36, 4)
        >>> both = {"input1": x, "input2": torch.randn(40, 2)}  # as the model's forward calls them
        >>> Task(lambda: nn.Bilinear(3, 2, 2), (both, y), name="two inputs")
        Task('two inputs', classification, 36 training, 4 validation instances)
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        train: Any,
        valid: Any = None,
        test: Any = None,
        *,
        task_loss: str | LossFunction = "cross_entropy",
        metric: str | Metric | Callable[..., Any] | None = None,
        name: str = "task",
        dataset: str | None = None,
        model_name: str | None = None,
        task_type: TaskType | None = None,
        valid_fraction: float = 0.1,
        resident: bool | None = None,
        device: torch.device | str = "cpu",
        ignore_index: int | None = None,
        augmentation: str | Augmentation | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        outputs: Outputs | None = None,
        valid_alike: bool = False,
    ) -> None:
        self.name = str(name)
        self.dataset = dataset or self.name
        self.factory = checked_factory(model)
        self.model_name = model_name or _name_of(model)
        self.device = _usable_device(device)
        self.outputs = checked_function_of("outputs", outputs)
        self.own = UserOptimizer(checked_function_of("optimizer", optimizer), checked_function_of("schedule", schedule))
        self.task_loss_name = task_loss if isinstance(task_loss, str) else _name_of(task_loss)
        loss: Any = entry_of(task_loss) if isinstance(task_loss, str) else checked_function(task_loss, "task_loss")
        ignored = ignored_label(ignore_index, loss)
        given = {"training": train, "validation": valid, "test": test}
        floating = None if isinstance(model, ModelFactory) else own_floats(self.factory)
        parts = {
            part: read_split(data, part, self.dataset, resident, floating)
            for part, data in given.items()
            if data is not None or part == "training"
        }
        known = parts["training"].y
        some = parts["training"].take(torch.arange(1))[1] if known is None else known
        self.task_type = infer_task_type(task_type, loss, self.task_loss_name, metric, some)
        if metric is not None and not isinstance(metric, str | Metric):
            metric = with_own_label(metric, ignored)
        self.metric = fitting_metric(metric, self.task_type, self.name)
        finish = partial(as_targets, task_type=self.task_type, ignore_index=ignored, floating=floating)
        parts = {part: split.map_targets(finish) for part, split in parts.items()}
        self.classes, self.greatest_label = checked_targets(parts, self.task_type, self.dataset)
        # Whatever label the user had for it; None, where nothing is ignored, saves losses the look.
        self.ignore_index: int | None = IGNORED if any(_may_ignore(split.y) for split in parts.values()) else None
        parts = self._as_used(parts, augmentation, valid_fraction)
        self.train: AnySplit = parts["training"].to(self.device)
        self.valid: AnySplit = parts["validation"].to(self.device)
        self.test: AnySplit | None = parts["test"].to(self.device) if "test" in parts else None
        self.valid_alike = valid is None or (valid_alike and are_of_one_form(self.train, self.valid))
        self._fingerprint: str | None = None
        # Last, as it may need the class counts.
        self.task_loss: LossFunction = (
            self.handcrafted(task_loss) if isinstance(task_loss, str) else on_device(task_loss, self.device, ignored)
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this data under these names; the device does not count."""
        if self._fingerprint is None:
            names = (self.name, self.dataset, self.model_name)
            self._fingerprint = fingerprint(names, (self.train, self.valid))
        return self._fingerprint

    @property
    def key(self) -> str:
        """The part of a seed that stands for the task (D3)."""
        return self.fingerprint

    @property
    def form(self) -> Form | None:
        """How several inputs lie in x; None where the model takes one."""
        return self.train.form

    @property
    def class_counts(self) -> Tensor | None:
        """How many training labels each class has, int64 [C] on the CPU; labels that are ignored do not count.

        C is `classes`, the greatest label of all splits plus one, so that a class which only training lacks has
        a 0. None for regression, for soft labels, and where a data set is lazy and its labels are not known.
        """
        y = self.train.y
        if self.classes is None or y is None:
            return None
        return torch.bincount(y[y != IGNORED].cpu(), minlength=self.classes)

    def pooled(self) -> AnySplit | None:
        """Training and validation data together, not augmented; None where they may not be mixed.

        Validation data that a user brought may be of another kind, such as clean labels beside noisy training labels.
        """
        return joined(self.train, self.valid) if self.valid_alike else None

    def divided(self, share: float, most: int) -> "Task":
        """The same task with its training and validation data divided anew, always in the same way, stratified.

        Args:
            share: Of both together, that which becomes validation data.
            most: No more instances than these do.

        Returns:
            The task, with another fingerprint; as it is where its parts may not be mixed.

        Example:
            >>> from evomal.tasks import named_task
            >>> named_task("iris", "linear").divided(0.3, 1000)
            Task('iris/linear', classification, 84 training, 36 validation instances)
        """
        together = self.pooled()
        if together is None:
            return self
        labels = strata(together.y) if self.task_type == CLASSIFICATION else None
        stay, off = split_off(len(together), min(share, most / len(together)), labels)
        other = Task.__new__(Task)
        other.__dict__.update(self.__dict__)
        other.train, other.valid, other._fingerprint = (
            self.trained_on(together.subset(stay)),
            together.subset(off),
            None,
        )
        return other

    def trained_on(self, split: AnySplit) -> AnySplit:
        """A part of `pooled` as training data: augmented as these are."""
        views = self.train.augmentation if isinstance(self.train, Split) else None
        return split if views is None else augmented(split, views, f"a part of data set '{self.dataset}'")

    def handcrafted(self, name: str) -> HandcraftedLoss:
        """A handcrafted loss for this task, with its class counts if it needs them.

        Args:
            name: A name in `HANDCRAFTED`.

        Raises:
            UnknownNameError: There is no such loss.
            SettingError: It is for the other kind of task, or needs class counts that the task does not have.

        Example:
            >>> from evomal.tasks import named_task
            >>> named_task("iris", "linear").handcrafted("logit_adjusted_cross_entropy").class_counts.tolist()
            [36, 36, 36]
        """
        entry = entry_of(name)
        self.require_kind(entry.task_type, name)
        counts = self.class_counts if entry.needs_class_counts else None
        if entry.needs_class_counts and counts is None:
            raise SettingError(
                f"loss '{name}' counts class labels, and task '{self.name}' has none to count; give another loss"
            )
        return get_handcrafted(name, class_counts=counts).to(self.device)

    def require_kind(self, task_type: TaskType, loss: str) -> None:
        """Refuse a loss that is for the other kind of task.

        Args:
            task_type: What the loss is for.
            loss: What it is called.

        Raises:
            SettingError: Regression and classification do not fit.
        """
        if task_type != self.task_type:
            raise SettingError(
                f"loss '{loss}' is for {task_type}, but task '{self.name}' is {self.task_type}; give another loss"
            )

    def fitted(self, loss: LossFunction, name: str) -> Any:
        """A loss that was made elsewhere, for this task: on its device, and with its class counts if it knows any.

        Args:
            loss: The loss; one of ours is changed in place.
            name: What it is called.

        Raises:
            SettingError: It is for the other kind of task.
        """
        if isinstance(loss, Criterion):
            self.require_kind(loss.task_type, name)
            loss.meet_classes(self.class_counts)  # what it sees of classes is their share here
        return loss.to(self.device) if isinstance(loss, nn.Module) else loss

    def make_model(self, seed: int) -> nn.Module:
        """A fresh network, initialised from `seed` alone; global generators are left as they were.

        Args:
            seed: A number in ``[0, 2**63)``.

        Returns:
            The network, on the task's device, in train mode; one that takes several inputs, or whose outputs are
            picked, behind a module that takes and gives one tensor (`evomal.tasks.inputs.Adapted`).

        Raises:
            ModelError: The factory fails, or does not give a network.
        """
        return adapted(build(self.factory, self.model_name, seed).to(self.device), self.form, self.outputs)

    def to(self, device: torch.device | str) -> "Task":
        """The same task with data and models on another device."""
        moved = Task.__new__(Task)
        moved.__dict__.update(self.__dict__)
        moved.device = _usable_device(device)
        moved.task_loss = on_device(self.task_loss, moved.device)
        moved.train, moved.valid = self.train.to(moved.device), self.valid.to(moved.device)
        moved.test = None if self.test is None else self.test.to(moved.device)
        return moved

    def __repr__(self) -> str:
        """Name, kind and sizes."""
        return (
            f"Task({self.name!r}, {self.task_type}, {len(self.train)} training, {len(self.valid)} validation instances)"
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state for other processes; the fingerprint travels, so that each need not read all the data."""
        _ = self.fingerprint
        plain = {name: value for name, value in self.__dict__.items() if name not in CODE}
        return plain | {"_code": by_value({name: self.__dict__[name] for name in CODE})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The task in another process."""
        self.__dict__.update(state.pop("_code"))
        self.__dict__.update(state)

    def _as_used(
        self, parts: dict[str, AnySplit], augmentation: str | Augmentation | None, fraction: float
    ) -> dict[str, AnySplit]:
        """Splits as batches are taken from them: with validation data in any case, training data alone augmented."""
        classes = self.task_type == CLASSIFICATION
        own_views = parts["training"].augmentation if isinstance(parts["training"], Split) else None
        views = own_views if augmentation is None else get_augmentation(augmentation)
        parts = {part: augmented(split, None, part) for part, split in parts.items()}
        if "validation" not in parts:
            parts["training"], parts["validation"] = train_and_valid(parts["training"], fraction, classes, self.dataset)
        if views is not None:
            parts["training"] = augmented(parts["training"], views, f"the training split of data set '{self.dataset}'")
        if classes:
            check_two_classes(parts["training"].y, self.dataset)
        return parts


def _may_ignore(y: Tensor | None) -> bool:
    return y is None or (not y.is_floating_point() and bool((y == IGNORED).any()))


def _name_of(function: Any) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    return "custom" if name == "<lambda>" else name


def _usable_device(device: torch.device | str) -> torch.device:
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"device '{device}' cannot be used here ({reason}); try device='cpu'") from None
