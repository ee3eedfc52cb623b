"""Functions, modules and results of searches as contenders."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import evomal
from evomal.comparison.digests import digest
from evomal.comparison.plan import make_plan
from evomal.executors import InProcess
from evomal.foundation.errors import SettingError
from evomal.foundation.serialization import by_value
from evomal.losses import TaylorLoss, get_handcrafted
from evomal.search import GPLFL

CLASSES = {"task_type": "classification"}
ONE = {"seeds": (0, 1), "lrs": ()}


def smoothed(outputs, targets):
    return cross_entropy(outputs, targets, label_smoothing=0.1)


class Sharp(nn.Module):
    """Counts its calls in a buffer, which its value depends on."""

    def __init__(self, power=1.0):
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, outputs, targets):
        self.calls += 1
        return cross_entropy(outputs, targets) * self.power / self.calls.sqrt()


def _tests(comparison, name):
    (found,) = (each for each in comparison.contenders if each.name == name)
    return [run.test for run in found.runs]


@pytest.fixture(scope="module")
def searched(iris):
    return GPLFL(population_size=2, generations=1, partial_steps=5, rejection=False, finals=False).learn(iris)


@pytest.fixture(scope="module")
def mixed(iris, searched, tmp_path_factory):
    """A comparison with one contender of each kind that Python may give."""
    module, path = Sharp(), tmp_path_factory.mktemp("mixed") / "c"
    given = [smoothed, module, searched, lambda f, y: 2 * cross_entropy(f, y), get_handcrafted("focal")]
    done = evomal.compare(iris, given, (0, 1), out=path, steps=9)
    assert (float(module.calls), module.power.requires_grad) == (0.0, True)  # the user's own is left alone
    return done, path, given


def test_each_has_a_name_and_is_trained_with_as_it_is(iris, mixed, searched):
    done, path, given = mixed
    kinds = {each.name: each.kind for each in done.contenders}
    assert kinds == {
        "cross_entropy": "handcrafted", "smoothed": "own", "Sharp": "own", "gplfl-seed0": "found", "custom": "own",
        "focal-2": "own",
    }  # fmt: skip
    for name, loss in zip([*kinds][1:], given, strict=True):
        loss = Sharp() if name == "Sharp" else loss.loss if name == "gplfl-seed0" else loss
        alone = [evomal.meta_test(iris, loss, steps=9, seeds=(seed,)).runs[0].test for seed in (0,)]
        assert _tests(done, name)[:1] == alone, name
    assert (path / "table.md").read_text() == str(done)
    assert "gplfl-seed0 is one loss that a search found: p speaks of this loss, not of the method" in str(done)
    assert evomal.comparison.read_comparison(path).contenders == done.contenders


def test_a_module_that_keeps_something_begins_each_training_as_it_was_given(compare, iris):
    done = compare(methods=(Sharp(),), **ONE).comparison
    alone = evomal.meta_test(iris, Sharp(), steps=15, seeds=(1,), batch_size=32, lr=0.1)
    assert _tests(done, "Sharp")[1] == alone.runs[0].test


class Sending(InProcess):
    """Sends jobs as worker processes get them, without the price of starting some."""

    def as_finished(self, function, shared, jobs):
        return super().as_finished(function, shared, pickle.loads(pickle.dumps(by_value({"jobs": jobs})))["jobs"])


def test_workers_get_the_code_of_functions(compare, tmp_path):
    def local(outputs, targets):
        return cross_entropy(outputs, targets, label_smoothing=0.1)

    given = (local, lambda f, y: 2 * cross_entropy(f, y), Sharp())
    there = compare(tmp_path / "there", methods=given, executor=Sending(), **ONE).comparison
    here = compare(tmp_path / "here", methods=given, **ONE).comparison
    for name in ("local", "custom", "Sharp"):
        assert _tests(there, name) == _tests(here, name)


def test_it_goes_on_and_what_computes_something_else_is_trained_again(compare):
    def mine(factor):
        def mine(outputs, targets):
            return factor * cross_entropy(outputs, targets)

        return mine

    def the_same(outputs, targets):
        return -torch.log_softmax(outputs, 1)[torch.arange(len(targets)), targets].mean()

    the_same.__name__ = "mine"
    for loss, left in [(mine(1), 4), (mine(1), 0), (the_same, 0), (mine(1.01), 2), (mine(1.01), 0)]:
        assert compare(methods=(loss,), **ONE).watcher.left == (0, left)
    # Neither is a loss of that name which people wrote.
    compare(methods=("focal",), **ONE)
    focal = get_handcrafted("focal")
    assert compare(methods=("focal", focal), **ONE).watcher.left == (0, 2)


def test_a_change_is_seen_where_a_fresh_network_sees_none(iris):
    def clipped(outputs, targets):
        return cross_entropy(outputs.clamp(-3, 3), targets)

    assert digest(clipped, iris) != digest(cross_entropy, iris) == digest(nn.CrossEntropyLoss(), iris)
    taylor = TaylorLoss([0, 0, 0, 0, 0, 2.0, 0, 0], **CLASSES)
    assert digest(taylor) == digest(taylor, iris)  # told by its file, however it was given


@pytest.fixture(scope="module")
def handed_out(searched):
    """Results of searches whose verdict names a loss that people wrote."""

    def handed_out(name, **given):
        return replace(searched, loss=get_handcrafted(name, **given))

    return handed_out


def test_what_a_search_handed_out_of_handcrafted_losses_is_as_if_it_had_been_named(compare, iris, handed_out):
    named = compare(methods=("focal(gamma=3)", "logit_adjusted_cross_entropy"), **ONE)
    counted = handed_out("logit_adjusted_cross_entropy", class_counts=[3, 2, 1])  # of the task that it searched on
    given = compare(methods=(handed_out("focal(gamma=3)"), counted), **ONE)
    assert given.watcher.left == (0, 0)  # the very same trainings
    assert given.timeless == named.timeless
    assert {each.kind for each in given.comparison.contenders} == {"handcrafted"}
    assert len(compare(methods=(handed_out("cross_entropy"), "focal(gamma=3)"), **ONE).comparison.contenders) == 2
    for twice in ((handed_out("focal"), "focal"), (handed_out("focal"), handed_out("focal"))):
        with pytest.raises(SettingError) as caught:
            make_plan(twice, "cross_entropy", (0, 1))
        assert (
            str(caught.value) == "'focal' is there twice among the methods, as a search handed it out; give each once"
        )


def test_training_knows_it_by_its_name_too(iris, handed_out, tmp_path):
    few = {"steps": 2, "out": tmp_path / "r.json"}
    result = evomal.train(iris, [handed_out("focal"), "focal"], **few)
    assert [each.name for each in result] == ["focal"]
    again = evomal.train(iris, resume=tmp_path / "r.json")  # a name is enough to go on
    assert [each.name for each in again] == ["focal"]


def test_what_tells_a_handcrafted_loss(iris):
    focal, steeper = get_handcrafted("focal"), get_handcrafted("focal(gamma=3)")
    assert None is not digest(focal) == digest(get_handcrafted("focal")) != digest(steeper)
    one, other = (get_handcrafted("class_weighted_cross_entropy", class_counts=[n, 10, 10]) for n in (10, 20))
    assert digest(one) != digest(other)
    assert digest(cross_entropy) is None
    # A class of the user's own may compute something else under the same name.
    doubled = get_handcrafted("focal")
    doubled.per_instance = lambda f, y: 2 * cross_entropy(f, y, reduction="none")
    assert digest(doubled, iris) != digest(focal, iris)


def test_one_file_is_one_contender_however_its_path_is_written(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TaylorLoss([0, 0, 0, 0, 0, 2.0, 0, 0], **CLASSES).save("l.json")
    assert compare(methods=("l.json",), **ONE).watcher.left == (0, 4)
    again = compare(methods=("./l.json",), **ONE)
    assert again.watcher.left == (0, 0)
    assert [each.name for each in again.comparison.contenders] == ["cross_entropy", "l.json"]
    with pytest.raises(SettingError, match=r"^'l.json' and './l.json' are the same; leave one of them out$"):
        compare(methods=("l.json", "./l.json"), **ONE)


def _fails(outputs, targets):
    raise RuntimeError("no\nluck")


ON = "on outputs [64, 3] and targets [64] it"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (nn.CrossEntropyLoss(reduction="none"), f"{ON} gives shape [64]; let it return one number (reduction='mean')"),
        (lambda f, y: 3.0, f"{ON} gives a float; let it return a tensor with one number"),
        (_fails, f"{ON} fails: RuntimeError: no luck; let it take (outputs, targets)"),
        (lambda f: f.sum(), f"{ON} fails: TypeError: "),
        (lambda f, y: (f.argmax(1) != y).float().mean(), f"{ON} gives no gradient; compute it with differentiable "),
        (lambda f, y: torch.ones((), requires_grad=True) + 0, f"{ON} does not depend on the outputs; check for "),
        (lambda f, y: f.sum() / 0, f"{ON} gives inf with a gradient of length inf; keep both finite"),
        (TaylorLoss([0] * 8, task_type="regression"), "loss 'TaylorLoss' is for regression, but task 'iris/linear' "),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_with_is_said_in_a_line_before_the_run(iris, tmp_path, loss, message):
    with pytest.raises(SettingError) as caught:
        evomal.compare(iris, [loss], (0, 1), out=tmp_path / "c", steps=5)
    name, said, rest = str(caught.value).partition(" cannot be compared here: ")
    assert said
    assert rest.startswith(message)
    assert "\n" not in rest
    assert not (tmp_path / "c").exists()
    with pytest.raises(SettingError) as caught:
        evomal.train(iris, loss, out=tmp_path / "t.json", steps=5)
    assert str(caught.value) in (f"{name} cannot be trained with: {rest}", rest)
    assert not (tmp_path / "t.json").exists()


def test_a_loss_that_broadcasts_one_output_is_said_before_the_run():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    task = evomal.Task(lambda: nn.Linear(3, 1), (x, x[:, 0]), test=(x, x[:, 0]), task_loss="mse")
    with pytest.raises(SettingError, match=r"^'own' cannot be trained with: it compares every output with every "):
        evomal.train(task, [_named("own", lambda f, y: (f - y).abs().mean())], steps=5, seeds=(0,))
    fits = evomal.train(task, [_named("own", lambda f, y: (f[:, 0] - y).abs().mean())], steps=5, seeds=(0,))
    assert len(fits[0].test.runs) == 1


def _named(name, loss):
    loss.__name__ = name
    return loss


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Sharp], "methods is the class Sharp; give a loss that is built, such as Sharp()"),
        ([3], "setting 'methods': [3] is no list of such values; write methods=['evomal', 'focal', 'loss.json']"),
        ([smoothed, smoothed], "'smoothed' and 'smoothed-2' are the same; leave one of them out"),
    ],
)
def test_what_is_no_contender(iris, tmp_path, given, message):
    with pytest.raises(SettingError) as caught:
        evomal.compare(iris, given, (0, 1), out=tmp_path / "c", steps=5)
    assert str(caught.value) == message
