"""The estimators, by scikit-learn's own checks and in its company."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import evomal
from evomal.config import learn_settings
from evomal.foundation.errors import BaselineError, EvomalError, ModelError, SettingError
from evomal.sklearn import LossSearchClassifier, LossSearchRegressor

TINY = {
    "population_size": 2, "generations": 1, "partial_steps": 3, "rejection": False, "gradient_equivalence": False,
    "momentum": 0.9, "batch_size": 32, "finals": False,
}  # fmt: skip
CLASSES = TINY | {"start_from": ("cross_entropy",), "lr": 0.1}
NUMBERS = TINY | {"start_from": ("mse",), "lr": 0.03}
OPTIONS = {"preset": None, "method": "gplfl", "random_state": 0}
CLASSIFIER = LossSearchClassifier(settings=CLASSES, steps=25, **OPTIONS)
REGRESSOR = LossSearchRegressor(settings=NUMBERS, steps=40, **OPTIONS)
X, Y = load_iris(return_X_y=True)


@parametrize_with_checks([CLASSIFIER, REGRESSOR])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    return clone(CLASSIFIER).fit(X, Y)


def test_what_is_learned(iris):
    assert iris.score(X, Y) > 0.8
    assert isinstance(iris.loss_, evomal.SymbolicLoss)
    assert iris.report_["formula"] == iris.loss_.formula(digits=4)
    assert (iris.verdict_, iris.report_["verdict"], iris.lr_) == (None, None, 0.1)
    assert iris.predict_proba(X).sum(1) == pytest.approx(np.ones(150))
    assert iris.loss_(torch.zeros(2, 3), torch.tensor([0, 1])).dim() == 0


def test_the_network_is_trained_on_all_the_data_with_the_loss():
    """As by hand, in batches of all rows, from a network that begins with zeros."""

    def zeros(features, outputs):
        layer = nn.Linear(features, outputs)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    fitted = clone(CLASSIFIER).set_params(model=zeros, settings=CLASSES | {"batch_size": 150}).fit(X, Y)
    layer, x = zeros(4, 3), torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    for _ in range(25):
        optimizer.zero_grad()
        fitted.loss_(layer(x), torch.tensor(Y)).backward()
        optimizer.step()
    with torch.no_grad():
        expected = layer(x).softmax(1).numpy()
    assert np.allclose(fitted.predict_proba(X), expected, atol=1e-5)


def test_labels_that_are_words(iris):
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    model = clone(CLASSIFIER).fit(X.tolist(), names.astype(object))
    assert model.classes_.tolist() == sorted(set(names))
    assert (model.predict_proba(X) == iris.predict_proba(X)).all()
    assert model.score(X, names) == iris.score(X, Y)


class Frame:
    """As little of a data frame as scikit-learn looks at, as pandas may not be there."""

    def __init__(self, values, columns):
        from narwhals._utils import Implementation, Version

        self.values, self.columns, self.shape, self.ndim = values, columns, values.shape, 2
        self._version, self._implementation, self._native_frame = Version.V2, Implementation.UNKNOWN, self

    def __narwhals_dataframe__(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)

    def __len__(self):
        return len(self.values)

    def _with_version(self, version):
        return self


def test_data_frames(iris):
    pytest.importorskip("narwhals", reason="this scikit-learn looks at data frames in another way")
    names = ["a", "b", "c", "d"]
    model = clone(CLASSIFIER).fit(Frame(X, names), Y)
    assert model.feature_names_in_.tolist() == names
    assert model.n_features_in_ == 4
    assert (model.predict_proba(Frame(X, names)) == iris.predict_proba(X)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(Frame(X, names[::-1]))


def test_it_is_cloned_pickled_and_searched_over(iris):
    assert not hasattr(clone(iris), "loss_")
    again = pickle.loads(pickle.dumps(iris))
    assert (again.predict_proba(X) == iris.predict_proba(X)).all()
    assert again.report_ == iris.report_
    pipeline = make_pipeline(StandardScaler(), clone(CLASSIFIER))
    grid = {"losssearchclassifier__steps": [1, 25]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    assert search.best_params_ == {"losssearchclassifier__steps": 25}


def test_finals_and_their_verdict():
    finals = {"finals": True, "folds": 2, "retests": 1, "finalists": 1, "finals_budget": 600}
    model = clone(CLASSIFIER).set_params(settings=CLASSES | finals, steps=5).fit(X[::2], Y[::2])
    assert model.verdict_.steps == 5
    assert model.lr_ == model.verdict_.lr
    assert model.report_["verdict"]["kind"] == model.verdict_.kind
    assert model.result_.verdict == model.verdict_


class Wide(nn.Module):
    """A user's own model."""

    def __init__(self, features, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, outputs))

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(
    "model",
    [Wide, lambda: Wide(4, 3), lambda features, outputs: Wide(features, outputs).double()],
    ids=["a class", "no arguments", "float64"],
)
def test_models_of_ones_own(model):
    fitted = clone(CLASSIFIER).set_params(model=model).fit(X, Y)
    assert fitted.score(X, Y) > 0.8
    assert isinstance(fitted.network_, Wide)


def test_one_output_stands_for_two_classes():
    two = X[:100], np.where(Y[:100] == 1, "yes", "no")
    fitted = clone(CLASSIFIER).set_params(model=lambda features, outputs: nn.Linear(features, 1)).fit(*two)
    assert fitted.score(*two) > 0.95
    assert fitted.predict_proba(X[:7]).shape == (7, 2)


def test_targets_are_brought_back():
    x, y = load_diabetes(return_X_y=True)
    model = clone(REGRESSOR).fit(x, y)
    assert model.score(x, y) > 0.3
    shifted = clone(REGRESSOR).fit(x, 1000 * y + 5)
    assert np.allclose(shifted.predict(x), 1000 * model.predict(x) + 5, rtol=1e-3)
    both = clone(REGRESSOR).fit(x, np.column_stack([y, -y]))
    assert both.predict(x).shape == (len(y), 2)


def test_a_feature_or_target_that_is_constant_in_training_is_only_moved():
    """200 times 0.1 have a deviation of 7e-17 in floats; divided by it, a new 0.1001 would be 1e12."""
    constant = np.full(200, 0.1)
    x = np.c_[np.random.default_rng(0).normal(size=(200, 3)), constant]
    targets = np.c_[x[:, 0], constant]
    model = clone(REGRESSOR).fit(x, targets)
    np.testing.assert_allclose(model._scale, StandardScaler().fit(x).scale_)
    np.testing.assert_allclose(model._target_scale, StandardScaler().fit(targets).scale_)
    moved = x + np.array([0, 0, 0, 1e-4])
    np.testing.assert_allclose(model.predict(moved), model.predict(x), atol=1e-3)


def test_settings_as_an_object_and_seeds():
    settings = learn_settings(**CLASSES, method="gplfl", seed=5)
    model = LossSearchClassifier(settings=settings, steps=3)
    assert model.fit(X, Y).result_.settings.seed == 5
    assert model.set_params(random_state=1).fit(X, Y).result_.settings.seed != 5
    one, other = (clone(CLASSIFIER).set_params(steps=3, random_state=seed).fit(X, Y) for seed in (1, 2))
    assert one.result_.settings.seed == model.result_.settings.seed != other.result_.settings.seed


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"settings": {"populaton": 3}}, SettingError, "unknown setting 'populaton'"),
        ({"method": "evomall"}, EvomalError, "unknown method 'evomall'; did you mean 'evomal'"),
        ({"model": nn.Linear(4, 3)}, ModelError, "model is a built Linear; give a function that builds a fresh one"),
        ({"model": lambda: nn.Linear(5, 3)}, ModelError, r"cannot be run .* on x of shape \[8, 4\]"),
        (
            {"model": lambda features, classes, width: nn.Linear(features, classes)},
            ModelError,
            r"^model '<lambda>' cannot be built by its factory, called with \(4, 3\): TypeError: .*missing 1 required",
        ),
        ({"steps": 0}, SettingError, r"^setting 'steps': input should be greater than or equal to 1 \(got 0\)$"),
        (
            {"steps": None, "settings": CLASSES | {"steps": 2.5}},
            SettingError,
            "^setting 'steps': input should be a valid",
        ),
        ({"steps": -1, "settings": learn_settings(**CLASSES)}, SettingError, r"^setting 'steps': .* \(got -1\)$"),
        ({"settings": CLASSES | {"lr": 1e20}}, BaselineError, "itself fails in partial training|could not be trained"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message) as caught:
        clone(CLASSIFIER).set_params(**change).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_it_is_found_in_the_package():
    assert evomal.sklearn.LossSearchClassifier is LossSearchClassifier
