"""The two estimators: one for classes, one for numbers."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from evomal.losses import TaskType
from evomal.sklearn.loss_search import Array, LossSearch, moments
from evomal.tasks.probe import LEAST


class LossSearchClassifier(ClassifierMixin, LossSearch):  # type: ignore[misc]
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


class LossSearchRegressor(RegressorMixin, LossSearch):  # type: ignore[misc]
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
        self._target_centre, self._target_scale = moments(y, self.standardise)
        self._search(X, (y - self._target_centre) / self._target_scale, y.shape[1])
        return self

    def predict(self, X: Array) -> Array:
        """Predictions [N], or [N, n_outputs] where the targets had that form."""
        outputs = self._outputs(X).numpy()
        found = outputs.reshape(len(outputs), -1) * self._target_scale + self._target_centre
        return found[:, 0] if self._one else found
