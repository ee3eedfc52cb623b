"""The probe: what fits passes, what does not is named with its shapes."""

from functools import partial

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from evomal.foundation.errors import DataError, ModelError, SettingError
from evomal.tasks import Task, probe

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(60, 3, generator=G), torch.arange(60) % 3
BITS = Y % 2
IMAGES, MASKS = torch.randn(20, 1, 4, 4, generator=G), torch.randint(0, 2, (20, 4, 4), generator=G)
FLAT = nn.Flatten(0)


class Flat(nn.Module):
    """One output as [B]."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x)[:, 0]


def ignoring():
    y = Y.clone()
    y[::2] = -100
    return y


FITTING = {
    "classes": (lambda: nn.Linear(3, 3), X, Y, {}),
    "more outputs than classes": (lambda: nn.Linear(3, 5), X, Y, {}),
    "ignored labels": (lambda: nn.Linear(3, 3), X, ignoring(), {}),
    "soft labels": (lambda: nn.Linear(3, 3), X, nn.functional.one_hot(Y, 3).float(), {}),
    "one output [B, 1]": (lambda: nn.Linear(3, 1), X, BITS, {}),
    "one output [B]": (Flat, X, BITS, {}),
    "one output and float labels": (Flat, X, BITS.float(), {}),
    "one output and a column of labels": (lambda: nn.Linear(3, 1), X, BITS[:, None].float(), {}),
    "regression [B]": (Flat, X, X[:, 0], {"task_loss": "mse"}),
    "regression [B, 1] against [B]": (lambda: nn.Linear(3, 1), X, X[:, 0], {"task_loss": "mse"}),
    "regression [B, K]": (lambda: nn.Linear(3, 2), X, X[:, :2], {"task_loss": "mae", "metric": "mae"}),
    "images of labels": (lambda: nn.Conv2d(1, 2, 1), IMAGES, MASKS, {}),
    "batch norm and dropout": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout()), X, Y, {}),
}


@pytest.mark.parametrize(("model", "x", "y", "more"), FITTING.values(), ids=FITTING)
def test_what_fits_passes_and_draws_nothing(model, x, y, more):
    task = Task(model, (x, y), **more)
    before = torch.get_rng_state()
    probe(task)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("resident", [True, False])
def test_a_data_set_is_probed(resident):
    probe(Task(lambda: nn.Linear(3, 3), torch.utils.data.TensorDataset(X, Y), resident=resident))


def frozen():
    return nn.Linear(3, 3).requires_grad_(False)


ONE = nn.Linear(3, 3)


class Made(nn.Module):
    """A model with one layer and a `forward` of choice."""

    def __init__(self, forward):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.made = forward

    def forward(self, x):
        return self.made(self.layer(x))


def fails_in_eval():
    model = nn.Sequential(nn.Linear(3, 3))
    model.register_forward_hook(lambda module, _, out: out if module.training else out[:, :7, 0])
    return model


class Looked(nn.Module):
    """A table of numbers that is looked up by a layer, or by a function, with gradients of rows alone."""

    def __init__(self, layer):
        super().__init__()
        self.table = layer(4, 3, sparse=True) if layer else None
        self.numbers = None if layer else nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        rows = (x[:, :1] > 0).long()
        found = nn.functional.embedding(rows, self.numbers, sparse=True) if self.table is None else self.table(rows)
        return found.reshape(len(x), 3)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (
            lambda: Looked(nn.Embedding),
            Y,
            r"^gradients of model 'm' are sparse \(Embedding 'table'\), through which no loss can be learned; set "
            r"sparse=False in its embeddings$",
        ),
        (lambda: Looked(nn.EmbeddingBag), Y, r"are sparse \(EmbeddingBag 'table'\), through which no loss can be"),
        (lambda: Looked(None), Y, r"are sparse \(of a layer of its own\), through which no loss can be learned; set "),
        (
            lambda: nn.Linear(3, 10),
            torch.arange(60) % 12,
            r"model 'm' gives 10 outputs but data set 'd' has label 11 \(first in row 11 of the training split\); give "
            r"the model at least 12 outputs \(number of classes\), or mend the label",
        ),
        (
            lambda: nn.Linear(3, 1),
            Y,
            r"model 'm' gives 1 output, for two classes, but data set 'd' has label 2 \(first in row 2 of the training "
            r"split\); for numbers to predict, rather than classes, set task_loss='mse', for classes give the model 3",
        ),
        (
            lambda: nn.Linear(4, 3),
            Y,
            r"model 'm' cannot be run in train mode on x of shape \[8, 3\] \(torch\.float32\): RuntimeError: mat1 and",
        ),
        (fails_in_eval, Y, r"model 'm' cannot be run in eval mode on x of shape \[8, 3\] .*: IndexError: "),
        (frozen, Y, "model 'm' has no trainable parameters; give it some for a loss to train"),
        (lambda: ONE, Y, "model 'm' gives the same network twice; its factory must build a fresh one"),
        (lambda: Made(lambda h: (h, h)), Y, r"model 'm' gives a tuple of 2 for x \[8, 3\]; return one tensor"),
        (
            lambda: Made(lambda h: h / 0),
            Y,
            r"model 'm' gives outputs \[8, 3\] for x \[8, 3\] that are not finite; check",
        ),
        (lambda: Made(lambda h: h.mean()), Y, r"model 'm' gives outputs \[\] for x \[8, 3\]; give one row of outputs"),
        (lambda: Made(lambda h: h[:4]), Y, r"model 'm' gives outputs \[4, 3\] for x \[8, 3\]; give one row of outputs"),
        (
            lambda: Made(lambda h: h[:, :, None]),
            Y,
            r"gives outputs \[8, 3, 1\] .*, but labels are \[8\]; outputs \[B, C",
        ),
        (lambda: nn.Linear(3, 3), Y[:, None], r"outputs \[8, 3\] for x \[8, 3\], but labels are \[8, 1\]; outputs \[B"),
        (
            lambda: nn.Linear(3, 3),
            BITS.float(),
            r"but targets are floats \[8\]; give class labels as integers, or soft",
        ),
        (lambda: nn.Linear(3, 1), Y[:, None].repeat(1, 2) % 2, r"targets are \[8, 2\]; one output needs one target"),
        (
            lambda: Made(lambda h: h.detach().requires_grad_()),
            Y,
            r"no parameter of model 'm' takes part in task loss 'cross_entropy' on outputs \[8, 3\] and targets \[8\]",
        ),
    ],
)
def test_models_that_do_not_fit(model, y, message):
    with pytest.raises(ModelError, match=message):
        probe(Task(model, (X, y), dataset="d", model_name="m"))


def test_regression_outputs_that_do_not_fit():
    with pytest.raises(
        ModelError, match=r"outputs \[8, 3\] for x \[8, 3\], but targets are \[8\]; give one output for"
    ):
        probe(Task(lambda: nn.Linear(3, 3), (X, X[:, 0]), task_loss="mse"))


def no_gradient(outputs, targets):
    return (outputs.argmax(1) != targets).float().mean()


def unreduced(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def not_finite(outputs, targets):
    return (outputs - outputs).log().sum()


def root(outputs, targets):
    return (outputs - outputs.detach()).sqrt().sum()


def number(outputs, targets):
    return 1.0


def failing(outputs, targets):
    raise KeyError("k")


@pytest.mark.parametrize(
    ("loss", "kind", "message"),
    [
        (no_gradient, SettingError, r"task loss 'no_gradient' on outputs \[8, 3\] and targets \[8\] has no gradient; "),
        (unreduced, SettingError, r"task loss 'unreduced' .* gives shape \[8\]; return a scalar tensor"),
        (not_finite, SettingError, "task loss 'not_finite' .* gives -inf; it must be finite for an untrained network"),
        (root, ModelError, "gradients of task loss 'root' .* for model 'm' are not finite; check both"),
        (number, SettingError, "task loss 'number' .* gives float; return a scalar tensor"),
        (failing, SettingError, "task loss 'failing' .* fails: KeyError: 'k'"),
    ],
)
def test_task_losses_that_do_not_fit(loss, kind, message):
    with pytest.raises(kind, match=message):
        probe(Task(lambda: nn.Linear(3, 3), (X, Y), task_loss=loss, model_name="m"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"metric 'odd' gives nan on finite outputs \[8, 3\]; return a finite number"),
        (float("inf"), r"metric 'odd' on outputs \[8, 3\] and targets \[8\] gives inf; it must be a finite number"),
        (None, r"metric 'odd' on outputs \[8, 3\] and targets \[8\] gives a NoneType; return one number"),
    ],
)
def test_metrics_that_do_not_fit(value, message):
    def odd(outputs, targets):
        return value

    with pytest.raises(SettingError, match=message):
        probe(Task(lambda: nn.Linear(3, 3), (X, Y), metric=odd))


def test_errors_of_this_package_pass_through():
    def refusing():
        raise DataError("as it was said")

    with pytest.raises(DataError, match=r"^as it was said$"):
        probe(Task(refusing, (X, Y)))


def _task(y, outputs=3, **others):
    return Task(lambda: nn.Linear(3, outputs), (X, y), model_name="m", dataset="d", **others)


def test_one_odd_label_is_named_with_its_row_in_the_users_own_split():
    odd = Y.clone()
    odd[59] = 7
    with pytest.raises(ModelError, match=r"has label 7 \(first in row 59 of the training split\); .* mend the label$"):
        probe(_task(odd))
    for part in ("valid", "test"):
        with pytest.raises(ModelError, match=rf"has label 7 \(first in row 59 of the {part}[a-z]* split\)"):
            probe(_task(Y, **{part: (X, odd)}))


@pytest.mark.parametrize("outputs", [1, 3])
def test_whole_numbers_to_predict_are_not_taken_for_half_a_million_classes(outputs):
    prices = torch.arange(60) * 8_423 + 4
    with pytest.raises(ModelError) as caught:
        probe(_task(prices, outputs))
    assert str(caught.value).endswith(
        "has label 496961 (first in row 59 of the training split); for numbers to predict, rather than classes, set "
        "task_loss='mse'"
    )
    for loss in ("mse", nn.MSELoss(), nn.functional.l1_loss, partial(nn.functional.huber_loss, delta=2.0)):
        assert _task(prices - 9_000, task_loss=loss).task_type == "regression"


@pytest.mark.parametrize(
    ("last", "named"),
    [
        (nn.Softmax(1), "softmax"),
        (nn.Sequential(nn.Softmax(1), nn.Flatten()), "softmax"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.Sequential(nn.Unflatten(1, (-1, 1)), nn.Sigmoid(), nn.Flatten()), "sigmoid"),
    ],
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_model_that_gives_probabilities_is_refused(last, named, outputs):
    if outputs == 1 and named == "softmax":
        return
    y = Y if outputs == 3 else Y % 2
    task = Task(lambda: nn.Sequential(nn.Linear(3, outputs), last), (X, y), model_name="m")
    with pytest.raises(ModelError, match=rf"^model 'm' ends in a {named}, so that .*; leave the {named} out"):
        probe(task)


def test_what_only_looks_a_little_like_probabilities_is_not():
    probe(Task(lambda: nn.Sequential(nn.Linear(3, 3), nn.LogSoftmax(1)), (X, Y)))  # a softmax leaves it as it is
    probe(Task(lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (X, Y)))
    probe(Task(lambda: nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), (X, X[:, :1].sigmoid()), task_loss="mse"))


@pytest.mark.parametrize("rows", [3, 4])
def test_a_handful_of_rows_is_no_training_split(rows):
    task = Task(lambda: nn.Linear(3, 2), (X[:rows], torch.arange(rows) % 2), (X, Y % 2))
    with pytest.raises(DataError, match=rf"has {rows} training instances with a target .* give 5 or more$"):
        probe(task)


def test_the_metric_is_tried_on_every_class_however_rare():
    def one_minus_auc(outputs, targets):
        seen.append(targets.unique().tolist())
        return 1 - roc_auc_score(targets.numpy(), outputs[:, 1].numpy())

    seen, rare = [], torch.zeros(60, dtype=torch.int64)
    rare[[23, 41, 57]] = 1
    probe(_task(rare, 2, metric=one_minus_auc))
    assert seen[0] == [0, 1]


def test_a_metric_that_needs_more_instances_is_tried_on_what_it_will_judge():
    def strict(outputs, targets):
        sizes.append(len(targets))
        if len(targets) < 20:
            raise ValueError("too few")
        return outputs.mean()

    sizes = []
    probe(_task(Y, valid=(X[:30], Y[:30]), metric=strict))
    assert sizes[:2] == [8, 30]
    with pytest.raises(SettingError, match=r"^metric 'strict' on outputs \[8, 3\] .* fails: ValueError: too few$"):
        probe(_task(Y, valid=(X[:10], Y[:10]), metric=strict))


def _hinge(f, y):
    return (1 - f * (2 * y - 1)).relu().mean()


def _wrong_shares(f, y):
    return ((f > 0) != (y > 0)).double().mean()


COLUMN = "PyTorch broadcasts outputs of shape [N, 1] and targets of shape [N]; give both one shape"
ROW = "PyTorch broadcasts outputs of shape [N] and targets of shape [N, 1]; give both one shape"
ALL_PAIRS = "compares every output with every target"


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (nn.MSELoss(), X[:, 0]),
        (partial(nn.functional.huber_loss, delta=2.0), X[:, 0]),
        (nn.PoissonNLLLoss(), X[:, 0]),
        (lambda f, y: torch.maximum(0.9 * (y - f), 0.1 * (f - y)).mean(), X[:, 0]),
        (_hinge, BITS),
        (_hinge, BITS.float()),
    ],
    ids=["mse", "huber", "poisson", "quantile", "hinge", "hinge of floats"],
)
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_a_loss_that_broadcasts_one_output_is_refused(loss, y):
    """It trains towards the mean of the targets, whatever the inputs."""
    kind = {"task_loss": loss, "task_type": "classification" if loss is _hinge else "regression"}
    for model, good, bad, told in ((lambda: nn.Linear(3, 1), y[:, None], y, COLUMN), (Flat, y, y[:, None], ROW)):
        probe(Task(model, (X, good), **kind))
        with pytest.raises(SettingError) as caught:
            probe(Task(model, (X, bad), **kind))
        assert str(caught.value).partition("' ")[2] == f"{ALL_PAIRS}: {told}"
        # One that brings them side by side itself may have any shape, in one order or the other.
        probe(Task(model, (X, bad), **{**kind, "task_loss": lambda f, y: loss(f.reshape(-1), y.reshape(-1))}))


@pytest.mark.parametrize(
    ("metric", "y", "loss"),
    [
        (lambda f, y: (f - y).abs().mean(), X[:, 0], "mse"),
        (lambda f, y: ((f - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(), X[:, 0], "mse"),
        (lambda f, y: abs(f.numpy() - y.numpy()).mean(), X[:, 0], "mse"),
        (_wrong_shares, BITS, "cross_entropy"),
    ],
    ids=["mae", "1 - R²", "NumPy", "error rate"],
)
def test_a_metric_that_broadcasts_one_output_is_refused(metric, y, loss):
    probe(Task(lambda: nn.Linear(3, 1), (X, y[:, None]), task_loss=loss, metric=metric))
    with pytest.raises(SettingError) as caught:
        probe(Task(lambda: nn.Linear(3, 1), (X, y), task_loss=loss, metric=metric))
    assert str(caught.value) == f"metric '{metric.__name__}' {ALL_PAIRS}: {COLUMN}"
    probe(Task(lambda: nn.Linear(3, 1), (X, y), task_loss=loss, metric=lambda f, y: metric(f[:, 0], y)))


@pytest.mark.parametrize("y", [BITS, BITS.float()], ids=["labels", "floats"])
def test_a_loss_for_targets_like_the_outputs_says_so(y):
    with pytest.raises(SettingError, match=r"; give targets as floats of shape \[N, 1\]$"):
        probe(Task(lambda: nn.Linear(3, 1), (X, y), task_loss=nn.BCEWithLogitsLoss()))


def test_a_model_spread_over_devices_is_the_model_inside():
    task = Task(lambda: nn.DataParallel(nn.Linear(3, 3)), (X, Y))
    assert type(task.make_model(0)) is nn.Linear
    probe(task)
