"""Estimators of scikit-learn: a network, trained with the loss that a search found for these data.

They stand apart, as importing them imports scikit-learn: `from evomal.sklearn import LossSearchClassifier`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from evomal.config import PRACTICE, LearnSettings, learn_settings, train_settings
from evomal.foundation.errors import BaselineError, SettingError
from evomal.foundation.seeds import derive
from evomal.losses import TaskType
from evomal.losses.criterion import LossFunction
from evomal.search import LearnResult, make_method
from evomal.tasks import Batches, Metric, Task, make_factory
from evomal.tasks.factories import Factory, checked_factory
from evomal.tasks.models.registry import ModelFactory
from evomal.tasks.probe import LEAST
from evomal.training import fit, one_thread
from evomal.training.evaluate import CHUNK, evaluation_mode

Array = Any  # whatever scikit-learn takes for one


class _LossSearch(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: read the data, search, train a network, predict with it."""

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
        self._centre, self._scale = _moments(X, self.standardise)
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
        if isinstance(self.settings, LearnSettings):
            if self.random_state is None:
                return self.settings
            return self.settings.model_copy(update={"seed": self._seed()})
        given = dict(self.settings or {})
        if self.steps is not None and given.get("steps") is None:
            given["steps"] = self.steps  # of the finals too, as the loss will be used
        return learn_settings(self.preset, **({"method": self.method, "seed": self._seed()} | given))

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


class LossSearchClassifier(ClassifierMixin, _LossSearch):  # type: ignore[misc]
    """A network for classes, and the loss to train it with, both learned by `fit`.

    A search learns a loss on nine tenths of the data and validates on the rest; with its verdict, which may name a
    handcrafted one, a fresh network is trained on all of them. Searches take minutes: see `preset` and `settings`.

    Args:
        model: Makes a fresh network, as ``model()`` or ``model(n_features, n_outputs)``, of x [B, n_features] to logits
            [B, n_classes]; None means two hidden layers of 128 units.
        preset: Named settings; None means the paper's.
        method: How the loss is learned, such as ``"evomal"`` or ``"gplfl"``.
        settings: Single settings of the search by name, such as ``{"population_size": 10, "lr": 0.1}``, or a
            `evomal.config.LearnSettings`, which takes the place of `preset` and `method`.
        steps: Base steps of a full training, those of the finals included; None means those of the settings.
        task_loss: L_T, a name or a function of (outputs, targets); None means cross-entropy.
        metric: What the search minimises, a name or a function; None means the error rate.
        standardise: Bring each feature to mean 0 and deviation 1 first.
        device: Where networks are trained.
        progress: Show how the search goes; None: on a terminal or in a notebook.
        random_state: None, an integer, or a `numpy.random.RandomState`; with an integer `fit` is repeatable to the bit.

    Attributes:
        loss_: The loss that the network was trained with, a PyTorch criterion; ``loss_.save("loss.json")`` keeps it.
        lr_: Its learning rate.
        verdict_: What the finals came to, `evomal.search.verdict.Verdict`; None where there were none.
        report_: What came out, as plain values: formula, verdict, fitness, outcomes of all candidates.
        result_: All of the search; ``result_.report("report.html")`` writes its page.
        network_: The trained network, on standardised inputs.
        classes_: The labels, sorted.
        n_features_in_: Number of features.
        feature_names_in_: Their names, where X has some.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> quick = {"population_size": 4, "generations": 1, "partial_steps": 20, "lr": 0.1}
        >>> model = LossSearchClassifier(preset="quick", method="gplfl", settings=quick, steps=200, random_state=0)
        >>> X, y = load_iris(return_X_y=True)
        >>> model.fit(X, y).score(X, y) > 0.9
        True
    """

    _task_type: ClassVar[TaskType] = "classification"

    def fit(self, X: Array, y: Array) -> Self:
        """Learn a loss and train a network with it.

        Args:
            X: Features [N, n_features], an array or a data frame.
            y: Class labels [N], of any type.

        Returns:
            The estimator.

        Raises:
            ValueError: The data are none that scikit-learn takes, or of a single class.
            EvomalError: A setting is odd, the model does not fit, or nothing can be learned.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=LEAST + 1)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds the class {self.classes_[0]!r} alone; a classifier needs more than 1 class")
        self._search(X, labels, len(self.classes_))
        return self

    def predict_proba(self, X: Array) -> Array:
        """Probabilities of the classes [N, n_classes], in the order of `classes_`."""
        logits = self._outputs(X)
        if logits.dim() == 1 or logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits.reshape(-1, 1)), logits.reshape(-1, 1)], 1)
        return logits.softmax(1).numpy()

    def predict(self, X: Array) -> Array:
        """The most probable class of each row."""
        found = self.predict_proba(X).argmax(1)
        return self.classes_[found]


class LossSearchRegressor(RegressorMixin, _LossSearch):  # type: ignore[misc]
    """A network for numbers, and the loss to train it with, both learned by `fit`.

    As `LossSearchClassifier`, with targets [N] or [N, n_outputs]; with `standardise` the loss sees targets of mean 0
    and deviation 1, and predictions are brought back.

    Args:
        model: Makes a fresh network, as ``model()`` or ``model(n_features, n_outputs)``, of x [B, n_features] to [B,
            n_outputs]; None means two hidden layers of 128 units.
        preset: As of the classifier, like all others.
        method: How the loss is learned.
        settings: Single settings by name, or a `evomal.config.LearnSettings`.
        steps: Base steps of a full training.
        task_loss: None means squared error.
        metric: None means mean squared error.
        standardise: Bring features and targets to mean 0 and deviation 1.
        device: Where networks are trained.
        progress: Show how the search goes.
        random_state: As of the classifier.

    Attributes:
        loss_: As of the classifier, like ``lr_``, ``verdict_``, ``report_``, ``result_``, ``network_``,
            ``n_features_in_`` and ``feature_names_in_``.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> quick = {"population_size": 3, "generations": 1, "partial_steps": 20, "lr": 0.03}
        >>> model = LossSearchRegressor(preset="quick", method="gplfl", settings=quick, steps=200, random_state=0)
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model.fit(X, y).predict(X[:3]).shape
        (3,)
    """

    _task_type: ClassVar[TaskType] = "regression"

    def __sklearn_tags__(self) -> Any:
        """Several targets at once are taken."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Array, y: Array) -> Self:
        """Learn a loss and train a network with it.

        Args:
            X: Features [N, n_features], an array or a data frame.
            y: Targets [N] or [N, n_outputs].

        Returns:
            The estimator.

        Raises:
            ValueError: The data are none that scikit-learn takes.
            EvomalError: A setting is odd, the model does not fit, or nothing can be learned.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float64, ensure_min_samples=LEAST + 1, multi_output=True, y_numeric=True
        )
        y = np.asarray(y, dtype=np.float64)
        self._one = y.ndim == 1
        y = y.reshape(len(y), -1)
        self._target_centre, self._target_scale = _moments(y, self.standardise)
        self._search(X, (y - self._target_centre) / self._target_scale, y.shape[1])
        return self

    def predict(self, X: Array) -> Array:
        """Predictions [N], or [N, n_outputs] where the targets had that form."""
        outputs = self._outputs(X).numpy()
        found = outputs.reshape(len(outputs), -1) * self._target_scale + self._target_centre
        return found[:, 0] if self._one else found


def _moments(values: Array, wanted: bool) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, 1 for one that is constant; 0 and 1 where they are not wanted."""
    if not wanted:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    deviation = values.std(0)
    return values.mean(0), np.where(deviation > 0, deviation, 1.0)


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
