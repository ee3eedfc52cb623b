import inspect
import pickle

import pytest

import evomal
from evomal.foundation import errors
from evomal.foundation.errors import EvomalError, SettingError, StorageError, UnknownNameError, nearest, unknown_name
from evomal.foundation.files import AGAIN, going_on

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_one_family():
    assert {kind.__name__ for kind in FAMILY} == {
        "BaselineError",
        "DataError",
        "EvomalError",
        "ExpressionError",
        "LossFileError",
        "ModelError",
        "RunFolderError",
        "SettingError",
        "StorageError",
        "UnknownNameError",
    }
    assert all(issubclass(kind, EvomalError) for kind in FAMILY)
    assert issubclass(UnknownNameError, SettingError)
    assert evomal.EvomalError is EvomalError


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_comes_back_from_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("one sentence")))
    assert (type(error), str(error)) == (kind, "one sentence")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet", "unknown model 'lenet'; did you mean 'lenet5'? (known: lenet5, linear, mlp)"),
        ("transformer", "unknown model 'transformer'; known: lenet5, linear, mlp"),
        ("", "unknown model ''; known: lenet5, linear, mlp"),
        ("MLP", "unknown model 'MLP'; did you mean 'mlp'? (known: lenet5, linear, mlp)"),
        ("LeNet5", "unknown model 'LeNet5'; did you mean 'lenet5'? (known: lenet5, linear, mlp)"),
        ("LENET", "unknown model 'LENET'; did you mean 'lenet5'? (known: lenet5, linear, mlp)"),
    ],
)
def test_an_unknown_name_says_what_is_known(name, message):
    error = unknown_name("model", name, {"mlp": 1, "lenet5": 2, "linear": 3})
    assert type(error) is UnknownNameError
    assert str(error) == message


def test_a_name_that_differs_in_case_alone_is_nearest():
    optimizers = ["adam", "adamw", "own", "rmsprop", "sgd"]
    near = [nearest(name, optimizers) for name in ("AdamW", "Adam", "SGD", "RMSprop", "lbfgs")]
    assert near == ["adamw", "adam", "sgd", "rmsprop", None]
    assert nearest("adamw", ["AdamW", "Adam"]) == "AdamW"
    assert nearest("Mine", ["mine", "mine2"], cutoff=1) == "mine"


def test_a_storage_error_keeps_how_to_go_on_from_a_worker_and_before_somebody_who_knows_better():
    error = pickle.loads(pickle.dumps(StorageError("'a' is full; make room there", "go on with `resume=True`")))
    assert str(error) == "'a' is full; make room there, then go on with `resume=True`"
    with pytest.raises(StorageError) as caught, going_on(AGAIN):
        raise error
    assert caught.value is error
    assert str(error) == "'a' is full; make room there, then do the same again"
    with pytest.raises(StorageError, match=r"^it ends here$"), going_on(AGAIN):
        raise StorageError("it ends here")
