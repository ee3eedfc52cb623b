"""What the estimators share: they read the data, search for a loss, train a network with it, and predict with that."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from evomal.config import PRACTICE, LearnSettings, learn_settings, train_settings
from evomal.foundation.errors import BaselineError, SettingError
from evomal.foundation.seeds import derive
from evomal.losses import TaskType
from evomal.losses.criterion import LossFunction
from evomal.search import LearnResult, make_method
from evomal.tasks import Batches, Metric, Task, make_factory
from evomal.tasks.datasets.data import is_constant
from evomal.tasks.factories import Factory, checked_factory
from evomal.tasks.models.registry import ModelFactory
from evomal.training import fit, one_thread
from evomal.training.evaluate import CHUNK, evaluation_mode

Array = Any  # whatever scikit-learn takes for one


class LossSearch(BaseEstimator):  # type: ignore[misc]
    """An estimator but for its targets: `fit` and `predict` of classes or numbers are added to it."""

    _task_type: ClassVar[TaskType]

    def __init__(
        self,
        model: Callable[..., nn.Module] | None = None,
        *,
        preset: str | None = PRACTICE,
        method: str = "evomal",
        settings: Mapping[str, Any] | LearnSettings | None = None,
        steps: int | None = None,
        task_loss: str | LossFunction | None = None,
        metric: str | Metric | Callable[..., Any] | None = None,
        standardise: bool = True,
        device: str = "cpu",
        progress: bool | None = False,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.preset = preset
        self.method = method
        self.settings = settings
        self.steps = steps
        self.task_loss = task_loss
        self.metric = metric
        self.standardise = standardise
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _search(self, X: Array, targets: Array, outputs: int) -> None:
        """Learn a loss on the data, and train the network with it on all of them."""
        settings = self._settings()
        self._centre, self._scale = moments(X, self.standardise)
        task = Task(
            self._factory(X.shape[1], outputs),
            (self._inputs(X), targets),
            task_loss=self.task_loss or ("cross_entropy" if self._task_type == "classification" else "mse"),
            metric=self.metric,
            name=type(self).__name__,
            model_name="mlp" if self.model is None else getattr(self.model, "__name__", "custom"),
            task_type=self._task_type,
            device=self.device,
        )
        self.result_ = make_method(settings).learn(task, progress=self.progress)
        self.loss_, self.verdict_ = self.result_.loss, self.result_.verdict
        self.report_ = self.result_.as_dict()
        self.lr_ = _rate_of(self.result_)
        self.network_ = self._trained(task)

    def _settings(self) -> LearnSettings:
        """The settings of the search; its seed is drawn from `random_state`."""
        asked = self.steps
        if asked is None and not isinstance(self.settings, LearnSettings):
            asked = dict(self.settings or {}).get("steps")
        if asked is not None:
            train_settings(steps=asked)  # refused before the search, not after it
        if isinstance(self.settings, LearnSettings):
            if self.random_state is None:
                return self.settings
            return self.settings.model_copy(update={"seed": self._seed()})
        given = dict(self.settings or {})
        steps = given.pop("steps", None) or self.steps
        flat = {"method": self.method, "seed": self._seed()} | given
        settings = learn_settings(self.preset, **flat)
        if steps is None or not settings.finals.finals:
            return settings
        return learn_settings(self.preset, **flat, steps=steps)  # of the finals too, as the loss will be used

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _steps(self) -> int:
        """Base steps of the training that `fit` ends with."""
        if self.steps is not None:
            return self.steps
        finals = self.result_.settings.finals
        if finals.finals or isinstance(self.settings, LearnSettings):
            return finals.steps
        return int(dict(self.settings or {}).get("steps") or train_settings(self.preset).steps)

    def _factory(self, features: int, outputs: int) -> Factory:
        if self.model is None:
            return make_factory("mlp", ModelFactory("mlp", (features,), outputs))
        factory = checked_factory(self.model)
        return factory if _takes_nothing(factory) else partial(self.model, features, outputs)

    def _inputs(self, X: Array) -> Array:
        return (X - self._centre) / self._scale

    def _trained(self, task: Task) -> nn.Module:
        """A fresh network, trained on all the data."""
        settings, loss, steps = self.result_.settings, self.loss_, self._steps()
        base = settings.base.model_copy(update={"lr": self.lr_})
        together = task.pooled() or task.train
        with one_thread():
            model = task.make_model(derive(settings.seed, task.key, "estimator", "init"))
            batches = Batches.of(together, base.batch_size, settings.seed, task.key, "estimator", "batches")
            noise = derive(settings.seed, task.key, "estimator", "noise")
            ended = fit(model, loss, together, batches, steps, base, noise, task.own)
        if ended.reason is not None:
            raise BaselineError(
                f"the network of {type(self).__name__} could not be trained with {self.report_['formula']} at rate "
                f"{self.lr_:.3g}: {ended.reason}; give a smaller `lr` in `settings`, or more `steps`"
            )
        # Rows of float32 products differ in their last bits with their company; a prediction should not.
        return (model.double() if self.model is None else model).eval()

    def _outputs(self, X: Array) -> Tensor:
        """Raw outputs of the network, on the CPU."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        like = next(parameter for parameter in self.network_.parameters() if parameter.is_floating_point())
        x = torch.from_numpy(np.ascontiguousarray(self._inputs(X)))
        with evaluation_mode(self.network_), torch.no_grad():
            parts = [self.network_(part.to(like)) for part in x.split(CHUNK)]
        return torch.cat(parts).double().cpu()


def moments(values: Array, wanted: bool) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, 1 for one that is constant; 0 and 1 where they are not wanted."""
    if not wanted:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    mean, deviation = values.mean(0), values.std(0)
    return mean, np.where(is_constant(mean, deviation, len(values)), 1.0, deviation)


def _rate_of(result: LearnResult) -> float:
    """The learning rate that a loss was chosen at."""
    if result.verdict is not None and result.verdict.lr is not None:
        return result.verdict.lr
    return result.settings.base.lr * result.best.fitness_lr


def _takes_nothing(factory: Callable[..., Any]) -> bool:
    """Whether a factory can be called without arguments."""
    try:
        inspect.signature(factory).bind()
    except TypeError:
        return False
    except ValueError as error:
        raise SettingError(f"model {factory!r} tells nothing of its arguments; give a function") from error
    return True
