"""Tasks that only the user's own code knows: what of them engines, the archive and the gradient filter need."""

from dataclasses import dataclass

import torch

from evomal.config import LearnSettings
from evomal.evaluation.filters import WIDER, FilterProbe
from evomal.foundation.errors import SettingError
from evomal.foundation.seeds import generator
from evomal.losses import TaskType
from evomal.losses.criterion import IGNORED
from evomal.tasks import Task, TaskSet
from evomal.tasks.metrics import get_metric

CLASSES, NUMBERS = 10, 1  # outputs of a network, unless something else is said
NEAR = 0.1  # standard deviation of the logits of an untrained network, roughly


@dataclass(frozen=True)
class UnseenTasks(TaskSet):
    """The task of somebody who trains elsewhere: a set that holds none, and of which only the kind is known.

    Args:
        tasks: None.
        kind: Classification or regression.
        outputs: Outputs of the network for an instance: classes, or numbers.

    Raises:
        SettingError: The kind does not exist, or there are no such outputs.

    Example:
        >>> tasks = UnseenTasks(kind="regression", outputs=2)
        >>> len(tasks), tasks.task_type, tasks.device.type
        (0, 'regression', 'cpu')
    """

    tasks: tuple[Task, ...] = ()
    kind: TaskType = "classification"
    outputs: int = CLASSES

    def __post_init__(self) -> None:
        """Refuse an unknown kind."""
        if self.kind not in ("classification", "regression"):
            raise SettingError(f"task_type is {self.kind!r}; give 'classification' or 'regression', or a `task`")
        if type(self.outputs) is not int or self.outputs < 1:
            raise SettingError(f"outputs is {self.outputs!r}; give the number of classes, or of numbers to predict")

    @property
    def key(self) -> str:
        """The part of a seed that stands for it."""
        return f"unseen {self.kind} {self.outputs}"

    @property
    def name(self) -> str:
        """What it is called."""
        return "trained elsewhere"

    @property
    def task_type(self) -> TaskType:
        """Its kind."""
        return self.kind

    @property
    def device(self) -> torch.device:
        """Where losses are made; whoever trains moves them."""
        return torch.device("cpu")

    @property
    def ignore_index(self) -> int | None:
        """PyTorch's label that does not count, as nobody knows whether it comes up."""
        return IGNORED

    @property
    def metric_name(self) -> str:
        """What is told is the metric."""
        return "metric"

    @property
    def task_loss_name(self) -> str:
        """Not known."""
        return "task loss"


def fixed_probe(tasks: UnseenTasks, settings: LearnSettings) -> FilterProbe:
    """What the gradient filter looks at where there is no network to ask: drawn outputs, near 0 and wide (D9).

    Example:
        >>> from evomal.config import learn_settings
        >>> fixed_probe(UnseenTasks(outputs=3), learn_settings()).predictions.shape
        torch.Size([100, 3])
    """
    count = settings.filters.rejection_instances

    def drawn(part: str) -> torch.Tensor:
        return torch.randn(count, tasks.outputs, generator=generator(settings.seed, tasks.key, "filter", part))

    predictions, wider, kind = NEAR * drawn("near"), WIDER * drawn("wider"), tasks.kind
    metric = get_metric("mse" if kind == "regression" else "error_rate")
    targets = drawn("targets") if kind == "regression" else torch.arange(count) % max(2, tasks.outputs)
    return FilterProbe(predictions, wider, targets, float(metric(predictions, targets)), 0.0, metric, kind)
