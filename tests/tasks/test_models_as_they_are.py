"""Several inputs, picked outputs, models in float64: as the plain task of the same network, to the bit."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import evomal
from evomal.config import BaseSettings, LocalSearchSettings
from evomal.evaluation.finals.splits import final_split
from evomal.foundation.errors import DataError, ModelError, SettingError
from evomal.local_search import tune
from evomal.tasks import LazySplit, Task, probe
from evomal.tasks.inputs import Form, pack
from helpers.tasks import quick

G = torch.Generator().manual_seed(0)
X = torch.randn(120, 5, generator=G)
Y = (X[:, 0] + X[:, 3] > 0).long() + (X[:, 1] > 1)
A, B = X[:, :2], X[:, 2:]
DATA = {"plain": X, "tuple": (A.numpy(), B), "dict": {"second": B, "first": A.tolist()}}


class Network(nn.Module):
    """The same network whatever it is called with, and whatever it gives."""

    def __init__(self, kind):
        super().__init__()
        self.hidden, self.drop, self.last, self.kind = nn.Linear(5, 8), nn.Dropout(0.1), nn.Linear(8, 3), kind

    def forward(self, first, second=None):
        x = first if second is None else torch.cat([first, second], 1)
        logits = self.last(self.drop(self.hidden(x).tanh()))
        return {"loss": None, "logits": logits[:, :, None]} if self.kind == "dict" else logits


PICKED = {"plain": {}, "tuple": {}, "dict": {"outputs": lambda out: out["logits"].squeeze(2)}}


def _task(kind, x=None, **options):
    return Task(lambda: Network(kind), (DATA[kind] if x is None else x, Y), name="t", **(PICKED[kind] | options))


def _twin(kind, **options):
    """A task with the seeds of the plain one, which hang on the data's form."""
    task = _task(kind, test=(DATA[kind], Y), **options)
    task._fingerprint = _task("plain").fingerprint
    return task


KINDS = ("tuple", "dict")


def _loss():
    return evomal.SymbolicLoss("abs(log(mul(y, f)))", task_type="classification")


def _tuned(kind, **settings):
    loss = _loss()
    local = LocalSearchSettings(meta_steps=3, meta_lr=0.05, **settings)
    (outcome,) = tune([loss], _twin(kind), local, BaseSettings(lr=0.1, batch_size=16), 0)
    assert outcome.reason is None
    return loss.weights.tolist()


@pytest.mark.parametrize("base_steps", [1, 2])
def test_local_search(base_steps):
    plain = _tuned("plain", base_steps=base_steps)
    assert plain != _loss().weights.tolist()
    assert [_tuned(kind, base_steps=base_steps) for kind in KINDS] == [plain] * 2


def _searched(kind, lanes, **options):
    settings = quick(
        population_size=3, generations=2, meta_steps=2, partial_steps=4, rejection_steps=5, rejection_lr=0.08,
        lanes=lanes,
        base_steps=2 if lanes == 4 else 1,
    )  # fmt: skip
    result = evomal.EvoMAL(settings).learn(_twin(kind), **options)
    found = result.as_dict()
    return {name: value for name, value in found.items() if name != "seconds"}, result


@pytest.fixture(scope="module")
def plain():
    return {lanes: _searched("plain", lanes)[0] for lanes in (1, 4)}


@pytest.mark.parametrize(("kind", "lanes"), [("dict", 1), ("tuple", 4)])
def test_searches(kind, lanes, plain):
    assert _searched(kind, lanes)[0] == plain[lanes]


def test_a_search_that_goes_on(plain, tmp_path):
    _searched("dict", 1, out=tmp_path / "run")
    (tmp_path / "run" / "loss.json").unlink()  # as if it had been killed before that was written
    again, result = _searched("dict", 1, out=tmp_path / "run", resume=True)
    assert again == plain[1]
    other = _task("dict", test=(DATA["dict"], Y), outputs=lambda out: -out["logits"].squeeze(2))
    other._fingerprint = _task("plain").fingerprint
    # What is picked tells a task from another.
    with pytest.raises(evomal.EvomalError, match="was begun on another task"):
        evomal.EvoMAL(result.settings).learn(other, out=tmp_path / "run", resume=True)


def test_full_training_and_workers():
    options = {"steps": 20, "seeds": (0,), "lrs": (0.1,), "batch_size": 16}
    plain = evomal.meta_test(_twin("plain"), _loss(), **options)
    for kind in KINDS:
        sent = pickle.loads(pickle.dumps(_twin(kind)))
        assert evomal.meta_test(sent, _loss(), **options).mean == plain.mean
        assert sent.form == _task(kind).form


def test_fingerprints_and_folds():
    task, again = _task("dict"), _task("dict")
    assert task.fingerprint == again.fingerprint
    renamed = _task("dict", {"first": A, "third": B})
    changed = _task("dict", {"first": A + 1e-6, "second": B})
    assert len({task.fingerprint, renamed.fingerprint, changed.fingerprint, _task("tuple").fingerprint}) == 4
    ours, plain = (final_split(each, 3, 1, 0) for each in (_twin("dict"), _twin("plain")))
    for one, other in zip(ours, plain, strict=True):
        unpacked = task.form.unpack(one.x)
        assert torch.equal(torch.cat([unpacked["first"], unpacked["second"]], 1), other.x)
    assert task.divided(0.3, 1000).form == task.form
    assert task.to("cpu").make_model(0)(task.train.x).shape == (108, 3)


def test_the_gradient_of_ones_own_model():
    plain, several, loss = Network("plain").eval(), Network("dict").eval(), _loss()
    several.load_state_dict(plain.state_dict())
    expected = evomal.meta_gradient(loss, plain, [(X, Y)], (X, Y), lr=0.1)
    for inputs in (DATA["tuple"], DATA["dict"], [A, B]):
        found = evomal.meta_gradient(loss, several, [(inputs, Y)], (inputs, Y), lr=0.1, **PICKED["dict"])
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    found = evomal.meta_gradient(loss, several, [(DATA["dict"], Y)] * 2, (DATA["dict"], Y), lr=0.1, **PICKED["dict"])
    twice = evomal.meta_gradient(loss, plain, [(X, Y)] * 2, (X, Y), lr=0.1)
    assert all(torch.equal(one, other) for one, other in zip(found, twice, strict=True))
    with pytest.raises(DataError, match=r"inputs of valid_batch has the inputs first: \[2\], but others have"):
        evomal.meta_gradient(loss, several, [(DATA["dict"], Y)], ({"first": A}, Y))


def test_types_pass_unchanged():
    inputs = {"ids": torch.randint(0, 2**40, (7, 3)), "mask": torch.rand(7, 3) > 0.5, "one": torch.rand(7),
              "half": torch.rand(7, 2, 2).half(), "bytes": torch.arange(7, dtype=torch.uint8)[:, None]}  # fmt: skip
    packed, form = pack(inputs, "x", "d")
    for index in (torch.arange(7), torch.tensor([3])):
        for name, part in form.unpack(packed[index]).items():
            assert part.dtype == inputs[name].dtype
            assert torch.equal(part, inputs[name][index])


class Pairs(torch.utils.data.Dataset):
    """Items with inputs by name, or in a tuple; with noise, or without."""

    def __init__(self, kind, noise=0.0):
        self.kind, self.noise = kind, noise

    def __len__(self):
        return len(Y)

    def __getitem__(self, row):
        first = A[row] + self.noise * torch.randn(2)
        return ((first, B[row]) if self.kind == "tuple" else {"first": first, "second": B[row]}), Y[row]


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_data_sets_of_several_inputs(kind):
    task, lazy, plain = (
        _task(kind),
        *(Task(lambda: Network(kind), Pairs(kind), name="t", resident=r, **PICKED[kind]) for r in (False, None)),
    )
    assert isinstance(lazy.train, LazySplit)
    index = torch.tensor([4, 0, 50])
    assert plain.form == lazy.form == task.form
    for one in (lazy.train, pickle.loads(pickle.dumps(lazy.train)), plain.train):
        assert torch.equal(one.take(index)[0], task.train.take(index)[0])
    probe(lazy)
    assert lazy.fingerprint == pickle.loads(pickle.dumps(lazy)).fingerprint


def test_a_data_set_that_augments_is_not_frozen():
    task = Task(lambda: Network("dict"), Pairs("dict", noise=0.1), (DATA["dict"], Y))
    assert isinstance(task.train, LazySplit)
    one, same, other = (task.train.take(torch.tensor(rows))[0][0] for rows in ([3, 4], [3, 4], [3, 5]))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    frozen = Task(lambda: Network("dict"), Pairs("dict", noise=0.1), (DATA["dict"], Y), resident=True)
    assert not isinstance(frozen.train, LazySplit)
    assert not isinstance(Task(lambda: Network("dict"), Pairs("dict")).train, LazySplit)


def test_images_of_classes_last():
    y = torch.arange(60).reshape(20, 3) % 4
    tokens = torch.nn.functional.one_hot(y, 4)
    make = lambda: nn.Sequential(nn.Flatten(2), nn.Linear(4, 4))  # noqa: E731
    with pytest.raises(
        ModelError, match=r"labels \[B, ...\]; .* by Task\(outputs=lambda out: out\.transpose\(1, 2\)\)"
    ):
        probe(Task(make, (tokens.float(), y)))
    task = Task(make, (tokens.float(), y), outputs=lambda out: out.transpose(1, 2))
    probe(task)
    fitted = evomal.meta_test(task.__class__(make, (tokens.float(), y), test=(tokens.float(), y), outputs=task.outputs),
                              _loss(), steps=60, seeds=(0,), lrs=(1.0,))  # fmt: skip
    assert fitted.mean == 0


def _by_hand(steps, lr):
    """Plain PyTorch in float64, on the same batches."""
    task = _double()
    model = task.make_model(evomal.foundation.seeds.derive(0, task.key, "full", "init"))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    batches = evomal.tasks.Batches.of(task.train, 16, 0, task.key, "full", "batches")
    rows = torch.tensor(X.double().numpy())
    stay = (rows[:, None] == task.train.x[None]).all(2).nonzero()[:, 0]  # which rows are trained on
    for step in range(steps):
        index = batches.index(step)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(rows[stay][index]), TARGETS[stay][index]).backward()
        optimizer.step()
    with torch.no_grad():
        return float(nn.functional.mse_loss(model.eval()(rows), TARGETS))


TARGETS = (X.double() @ torch.arange(5.0).double() / 3)[:, None]


def _double(**options):
    x = X.double().numpy()
    make = lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double()  # noqa: E731
    return Task(make, (x, TARGETS.numpy()), test=(x, TARGETS.numpy()), task_loss="mse", name="double", **options)


def test_models_in_float64():
    task = _double()
    assert {task.train.x.dtype, task.train.y.dtype, task.make_model(0)(task.train.x).dtype} == {torch.float64}
    trained = evomal.meta_test(task, "mse", steps=30, seeds=(0,), lrs=(0.05,), batch_size=16)
    assert trained.mean == pytest.approx(_by_hand(30, 0.05), rel=1e-12)
    small = quick(population_size=3, generations=1, meta_steps=2, partial_steps=5, rejection=False)
    found = [
        evomal.EvoMAL(small.model_copy(update={"execution": small.execution.model_copy(update={"lanes": lanes})}))
        .learn(task).fitness for lanes in (1, 3)
    ]  # fmt: skip
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert Task(lambda: nn.Linear(5, 3), (X.double().numpy(), Y)).train.x.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": (A, B[:-1])}, DataError, r"^x\[1\] of the .*has 119 rows but x\[0\] has 120; give one row"),
        ({"x": {"a": A[:-1], "b": B[:-1]}}, DataError, "has 119 rows in x but 120 in y; give one target for each"),
        ({"x": {"a": A, "b": float("nan") * B}}, DataError, r"^x\['b'\] of .*holds nan \(first in row 0\)"),
        ({"x": {"a": torch.tensor(3), "b": A}}, DataError, r"^x\['a'\] of .* is one number; give a row"),
        ({"x": {"a": {"b": A}}}, DataError, r"^x\['a'\] of .* is a dict; give a tensor or an array"),
        ({"x": {1: A}}, DataError, "is a dict of no inputs; name each by a word that the model knows"),
        ({"outputs": 3}, SettingError, "^outputs is a int; give a function, outputs=lambda out: out\\['logits'\\]"),
        ({"x": {"first": A, "odd": B}}, ModelError, r"takes \(first, second=None\), but .* inputs first, odd"),
        ({"x": (A, B, B)}, ModelError, r"^model 'm' takes \(first, second=None\), but instances have 3 inputs: "),
        ({"outputs": lambda out: None}, ModelError, r"^the task's outputs gives a NoneType of what .*\(a tensor"),
        ({"outputs": lambda out: out.a}, ModelError, "^the task's outputs fails on what the model gives"),
        ({"valid": ((A, B), Y)}, DataError, "has the inputs 0: .*, but training has the inputs first"),
        ({"valid": (X, Y)}, DataError, "has one input, but training has the inputs first"),
        ({"augmentation": "flip"}, SettingError, "has several inputs; augment in a data set's own code"),
    ],
)  # fmt: skip
def test_bad_input(change, error, message):
    change = {"x": DATA["dict"]} | change
    with pytest.raises(error, match=message) as caught:
        probe(Task(lambda: Network("tuple"), (change.pop("x"), Y), model_name="m", **change))
    assert "\n" not in str(caught.value)


def test_what_a_model_gives_is_named():
    class Odd(Network):
        def forward(self, x):
            return {"logits": super().forward(x)}

    with pytest.raises(
        ModelError, match=r"gives a dict with logits for x \[.*, 5\]; .* pick it by Task\(outputs=lambda out"
    ):
        probe(Task(lambda: Odd("plain"), (X, Y)))


def test_items_that_do_not_go_together():
    def items(*given):
        return [(given[row % len(given)], int(Y[row])) for row in range(20)]

    for given, message in (
        ((({"a": A[0]}), {"b": A[0]}), "items have different inputs"),
        (([1.0, 2.0],), "items are lists of plain numbers; give tensors or arrays"),
        (({"a": A[0]}, {"a": X[0]}), "cannot be stacked"),
    ):
        with pytest.raises(DataError, match=message):
            Task(lambda: Network("dict"), items(*given))
    form = Form.of({"a": A})
    with pytest.raises(DataError, match=r"x\['a'\] of d has instances of shape \[3\] .*, but the first ones \[2\]"):
        form.pack([B], "x", "d")
