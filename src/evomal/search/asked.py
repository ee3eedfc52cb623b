"""What ask and tell is made of: candidates that wait to be told, in a file, and tasks that only a user's code knows."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evomal.config import LearnSettings
from evomal.evaluation.candidate import Candidate
from evomal.evaluation.dispatch import Flow
from evomal.evaluation.evaluator import Evaluator
from evomal.evaluation.filters import WIDER, FilterProbe, gradient_signature
from evomal.foundation.errors import SettingError
from evomal.foundation.files import storing, write_atomically
from evomal.foundation.plain_json import NotPlainError, read_json
from evomal.foundation.seeds import generator
from evomal.losses import LearnedLoss, TaskType
from evomal.losses.criterion import IGNORED
from evomal.store import RunFolder
from evomal.store.journal_schema import CandidateRow
from evomal.tasks import Task, TaskSet
from evomal.tasks.metrics import get_metric

ASKED = "asked.json"
FORMAT, VERSION = "evomal-asked", 1
NO_GRADIENT = "0.0e+00"
MAX_SHOWN = 60  # characters of a value that is quoted
CLASSES, NUMBERS = 10, 1  # outputs of a network, unless something else is said
NEAR = 0.1  # standard deviation of the logits of an untrained network, roughly


@dataclass(frozen=True, slots=True)
class AskedCandidate:
    """A loss to train with, or one that was trained with.

    Args:
        id: What `Search.tell` knows it by; the same in every process.
        loss: A criterion, ``loss(outputs, targets) -> scalar``.
        metric: What was told; None while it waits.
    """

    id: str
    loss: LearnedLoss
    metric: float | None = None

    @property
    def formula(self) -> str:
        """The loss in one line."""
        return self.loss.formula(digits=4)


class Waiting(Exception):
    """The outer loop cannot go on before somebody has trained.

    Args:
        candidates: The candidates to be trained with.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        super().__init__(len(candidates))
        self.candidates = list(candidates)


class AskingEvaluator(Evaluator):
    """Filters and tunes as every search does, and leaves partial training to somebody else."""

    trains = False

    def _train(self, flow: Flow, done: Callable[[Candidate], None]) -> None:
        left = []
        for candidate, loss in flow.survivors():
            if not self.tasks and self._never_moves(loss):
                candidate.outcome, candidate.reason = "rejected", "its gradient is zero: no network would learn from it"
                done(candidate)
            else:
                left.append(candidate)
        if left:
            raise Waiting(left)

    def _never_moves(self, loss: LearnedLoss) -> bool:
        """Without a task nothing else would keep it from being trained with (with one, the rejection filter does)."""
        return all(norm == NO_GRADIENT for probe in self.probes for norm in gradient_signature(loss, probe).split())


def id_of(candidate: Candidate) -> str:
    """What a candidate is told by.

    Example:
        >>> from evomal.engines.genome import Network
        >>> id_of(Candidate(2, 7, Network(50), "initial"))
        '2.7'
    """
    return f"{candidate.generation}.{candidate.index}"


def write_asked(folder: RunFolder, candidates: Sequence[Candidate], task_type: str, settings: LearnSettings) -> None:
    """Write down who waits, with all that local search and filters found out.

    Raises:
        StorageError: It cannot be written.
    """
    folder.require_there()
    waiting = [replace(candidate, outcome="trained") for candidate in candidates]
    records = [CandidateRow.of(candidate, task_type, settings).record() for candidate in waiting]
    path = folder.path / ASKED
    with storing(path):
        text = json.dumps({"format": FORMAT, "version": VERSION, "candidates": records}, allow_nan=False)
        write_atomically(path, text + "\n")


def read_asked(folder: RunFolder, settings: LearnSettings) -> dict[str, Candidate]:
    """Who was asked for last, by id; nobody where that cannot be read: whoever asks again makes it anew."""
    try:
        document = read_json((folder.path / ASKED).read_bytes())
        if document["format"] != FORMAT or document["version"] != VERSION:
            return {}
        candidates = [CandidateRow.read(record).candidate(settings) for record in document["candidates"]]
    except (OSError, NotPlainError, KeyError, TypeError, ValueError):
        return {}
    for candidate in candidates:
        candidate.outcome = None
    return {id_of(candidate): candidate for candidate in candidates}


def told(candidate: Candidate, metric: float) -> Candidate:
    """A candidate with the metric of whoever trained with it; an infinite one says that the training failed."""
    candidate.trainings, candidate.fitness = candidate.trainings + 1, metric
    candidate.seconds["train"] = 0.0  # it passed the filters; how long it took is not known
    candidate.outcome = "trained" if math.isfinite(metric) else "failed"
    candidate.reason = candidate.reason if math.isfinite(metric) else "its training was told to have failed"
    return candidate


def metrics_of(metrics: Any) -> dict[str, float]:
    """What is told, as ids and numbers.

    Raises:
        SettingError: It is no mapping, or one of its metrics is not a number.

    Example:
        >>> metrics_of({"0.3": 0.25})
        {'0.3': 0.25}
    """
    if not isinstance(metrics, Mapping):
        raise SettingError(
            f"what is told is a {type(metrics).__name__}; give metrics by id, such as tell({{'0.3': 0.12}})"
        )
    return {str(key): _metric(key, value) for key, value in metrics.items()}


def _metric(key: Any, value: Any) -> float:
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if math.isnan(number) or number == -math.inf:
        shown = repr(value)
        shown = shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 1] + "…"
        raise SettingError(
            f"the metric of candidate '{key}' is {shown}, which is not a number; give one that is the lower the "
            "better, or float('inf') for a training that failed"
        )
    return number


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
