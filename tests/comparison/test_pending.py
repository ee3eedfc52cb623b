import json

import pytest
import torch
from torch import nn

from evomal.comparison.pending import losses_of
from evomal.comparison.plan import make_plan
from evomal.foundation.errors import DataError, EvomalError, LossFileError, ModelError, SettingError
from evomal.losses import TaylorLoss
from evomal.tasks import Task, named_task

RATES, SEEDS = (0.1, 0.5), (0, 1)
BASE = {"batch_size": 32, "lr": 0.1}
CLASSES = {"task_type": "classification"}


def _own(model=None, x=None, y=None, **options):
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3 if y is None else y
    x = torch.randn(3, 4, generator=draw)[torch.arange(60) % 3] + 0.3 * torch.randn(60, 4, generator=draw)
    options = {"test": (x, y)} | options
    return Task(model or (lambda: nn.Linear(4, 3)), (x, y), name="own", **options)


def test_a_task_loss_of_the_user_is_the_baseline():
    def doubled(outputs, targets):
        return 2 * nn.functional.cross_entropy(outputs, targets)

    task = _own(task_loss=doubled, **CLASSES)
    plan = make_plan(["focal"], "doubled", SEEDS, None, RATES, "doubled", steps=15, **BASE)
    losses = losses_of(task, plan, None, {})
    assert losses["doubled", 0] is doubled
    assert losses["focal", 0].name == "focal"


class _OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class _NoSecondDerivative(nn.Linear):
    def forward(self, x):
        return _OnceOnly.apply(super().forward(x))


def _refused(kind, message, compare, tmp_path, **options):
    path = tmp_path / "refused"
    with pytest.raises(EvomalError) as caught:
        compare(path, **options)
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert not path.exists()


def test_methods_on_a_model_that_they_cannot_differentiate(compare, tmp_path):
    task = _own(lambda: _NoSecondDerivative(4, 3), model_name="odd")
    said = (
        "no meta-gradient can be taken through model 'odd' (RuntimeError: an operation is marked as differentiable "
        "only once); use operations that can be differentiated twice, or "
    )
    _refused(
        ModelError,
        f"'ml3' cannot be compared here: {said}another method",
        compare,
        tmp_path,
        task=task,
        methods=("taylorglo", "ml3"),
    )
    _refused(
        ModelError,
        f"'evomal' cannot be compared here: {said}`meta_steps=0`",
        compare,
        tmp_path,
        task=task,
        methods=("evomal",),
        meta_steps=1,
    )
    done = compare(task=task, methods=("taylorglo", "evomal"), lrs=())  # without meta steps
    assert done.watcher.left == (4, 6)


def test_losses_for_the_other_kind_of_task(compare, tmp_path):
    other = "is for regression, but task 'iris/linear' is classification; give another loss"
    _refused(SettingError, f"'mse' cannot be compared here: loss 'mse' {other}", compare, tmp_path, methods=("mse",))
    TaylorLoss([0, 0, 0, 1, 0, 0, 0, 0], task_type="regression").save(tmp_path / "r.json")
    name = str(tmp_path / "r.json")
    _refused(
        SettingError, f"'{name}' cannot be compared here: loss '{name}' {other}", compare, tmp_path, methods=(name,)
    )
    _refused(
        SettingError,
        "'focal' cannot be compared here: loss 'focal' is for classification, but task 'diabetes/linear' is "
        "regression; give another loss",
        compare,
        tmp_path,
        task=named_task("diabetes", "linear"),
        methods=("focal",),
        baseline="mse",
    )


def test_a_loss_that_counts_classes_where_there_are_none(compare, tmp_path):
    soft = nn.functional.one_hot(torch.arange(60) % 3).float()
    _refused(
        SettingError,
        "'logit_adjusted_cross_entropy' cannot be compared here: loss 'logit_adjusted_cross_entropy' counts class "
        "labels, and task 'own' has none to count; give another loss",
        compare,
        tmp_path,
        task=_own(y=soft),
        methods=("logit_adjusted_cross_entropy",),
    )


def test_a_task_without_a_test_split(compare, tmp_path):
    message = "task 'own' has no test split to compare on; give one as Task(..., test=(x, y))"
    _refused(DataError, message, compare, tmp_path, task=_own(test=None))


def test_a_file_that_is_not_there_or_damaged(compare, tmp_path):
    name = str(tmp_path / "no.json")
    message = f"'{name}' cannot be compared here: loss file '{name}': it cannot be read (No such file or directory); "
    _refused(LossFileError, message + "check the path", compare, tmp_path, methods=(name,))
    (tmp_path / "no.json").write_text(json.dumps({"format": "evomal-loss"})[:-3])
    with pytest.raises(LossFileError, match="it is not complete, valid JSON"):
        compare(tmp_path / "refused", methods=(name,))
    assert not (tmp_path / "refused").exists()


def test_a_task_loss_that_fails_the_filter_with_a_later_seed_is_found_at_once(compare, tmp_path, monkeypatch):
    # Whether it passes depends on the draw; a search with seed 1 would end hours after that with seed 0.
    from evomal.evaluation import probing

    drawn, true_probe = [], probing.make_probe
    monkeypatch.setattr(probing, "make_probe", lambda *parts: drawn.append(parts[-1]) or true_probe(*parts))
    monkeypatch.setattr(probing, "passes", lambda *parts: drawn[-1] != 1)
    with pytest.raises(
        SettingError, match=r"^'taylorglo' cannot be compared here: the task loss of 'iris/linear' does"
    ):
        compare(tmp_path / "refused", methods=("taylorglo",))
    assert drawn == [0, 1]
    assert not (tmp_path / "refused").exists()


def test_a_model_that_fails_is_found_at_once_where_nothing_is_searched_for(compare, tmp_path):
    class Failing(nn.Linear):
        def forward(self, x):
            raise ValueError("no such luck")

    message = (
        "model 'failing' cannot be run in train mode on x of shape [8, 4] (torch.float32): ValueError: no such luck"
    )
    task = _own(lambda: Failing(4, 3), model_name="failing")
    _refused(ModelError, message, compare, tmp_path, task=task, methods=("focal",))
