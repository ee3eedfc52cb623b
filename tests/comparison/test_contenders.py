import pytest

from evomal.comparison.contenders import FITNESS_LRS, read_contender, read_contenders
from evomal.config import learn_settings
from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.losses import HANDCRAFTED
from evomal.losses.published import PUBLISHED
from evomal.search import METHODS

KNOWN = ", ".join(sorted([*METHODS, *HANDCRAFTED, *PUBLISHED]))


@pytest.mark.parametrize("name", ["evomal", "gplfl", "ml3", "taylorglo", "glo"])
def test_a_method_has_the_settings_that_learn_would_give_it(name):
    contender = read_contender(name, "quick", {"partial_steps": 3, "meta_steps": None})
    assert (contender.name, contender.kind, contender.remarks) == (name, "learned", ())
    assert contender.settings == learn_settings("quick", method=name, partial_steps=3)


@pytest.mark.parametrize(
    ("name", "flat", "expected"),
    [
        ("evomal+scale-control", {}, {"scale_control": True}),
        ("taylorglo+fitness-lrs", {}, {"fitness_lrs": FITNESS_LRS}),
        ("evomal+fitness-lrs", {"fitness_lrs": (1.0, 2.0)}, {"fitness_lrs": (1.0, 2.0)}),
        ("glo+scale-control+fitness-lrs", {}, {"scale_control": True, "fitness_lrs": FITNESS_LRS}),
    ],
)
def test_variants(name, flat, expected):
    method = name.partition("+")[0]
    assert read_contender(name, None, flat).settings == learn_settings(method=method, **(flat | expected))


def test_a_search_has_its_seed_and_one_worker():
    contender = read_contender("evomal", None, {})
    assert contender.seeded(7) == learn_settings(method="evomal", seed=7)


def test_evaluations_count_each_rate():
    few = {"population_size": 4, "generations": 5}
    assert read_contender("evomal", None, few).evaluations == 20
    assert read_contender("evomal+fitness-lrs", None, few).evaluations == 60
    assert read_contender("ml3", None, few).evaluations == 1
    assert read_contender("focal", None, few).evaluations == 0


def test_what_a_method_cannot_have_is_said_and_left_out():
    flat = {"meta_steps": 7, "rejection": True, "output_activation": "softplus", "generations": 3, "sigma": None}
    assert read_contender("evomal", None, flat).remarks == ()
    assert read_contender("gplfl", None, flat).remarks == (
        "setting 'meta_steps': gplfl always has 0, so 7 does not hold for it",
    )
    assert read_contender("ml3", None, flat).remarks == (
        "setting 'rejection': ml3 always has False, so True does not hold for it",
        "setting 'output_activation': ml3 always has identity, so softplus does not hold for it",
        "ml3 does not use meta_steps, generations",
    )
    assert read_contender("ml3", None, {"meta_steps": 7}).settings == learn_settings(method="ml3")
    assert read_contender("evomal+scale-control", None, {"scale_control": False}).remarks == (
        "setting 'scale_control': evomal+scale-control always has True, so False does not hold for it",
    )
    assert read_contender("gplfl", None, {"meta_steps": 0}).remarks == ()


def test_handcrafted_losses_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "focal").mkdir()
    for name, kind in [
        ("focal", "handcrafted"),
        ("./focal", "file"),
        ("run", "file"),
        ("missing.json", "file"),
        ("missing/run", "file"),
    ]:
        contender = read_contender(name, None, {})
        assert (contender.name, contender.kind, contender.settings) == (name, kind, None)


def test_the_tasks_own_loss_by_its_name():
    assert read_contender("my_loss", None, {}, task_loss="my_loss").kind == "handcrafted"
    with pytest.raises(UnknownNameError):
        read_contender("my_loss", None, {}, task_loss="other")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("evomel", f"unknown method or loss 'evomel'; did you mean 'evomal'? (known: {KNOWN})"),
        ("focl", f"unknown method or loss 'focl'; did you mean 'focal'? (known: {KNOWN})"),
        ("evomel+scale-control", f"unknown method or loss 'evomel'; did you mean 'evomal'? (known: {KNOWN})"),
        (
            "evomal+scale",
            "unknown variant 'scale'; did you mean 'scale-control'? (known: fitness-lrs, scale-control)",
        ),
        ("evomal+", "unknown variant ''; known: fitness-lrs, scale-control"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UnknownNameError) as caught:
        read_contender(name, None, {})
    assert str(caught.value) == message


def test_what_is_not_searched_for_has_no_variants():
    with pytest.raises(SettingError) as caught:
        read_contender("focal+scale-control", None, {})
    assert str(caught.value) == (
        "'focal+scale-control': loss 'focal' is not searched for and has no variants; write 'focal'"
    )


def test_the_baseline_comes_first_unless_it_was_named():
    names = [contender.name for contender in read_contenders(["ml3", "focal"], "cross_entropy", None, {})]
    assert names == ["cross_entropy", "ml3", "focal"]
    names = [contender.name for contender in read_contenders(["ml3", "focal"], "focal", None, {})]
    assert names == ["ml3", "focal"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ml3", "focal", "ml3"], "'ml3' is there twice among the methods; give each once"),
        (
            ["evomal+scale-control+fitness-lrs", "evomal+fitness-lrs+scale-control"],
            "'evomal+scale-control+fitness-lrs' and 'evomal+fitness-lrs+scale-control' are the same; leave one of them "
            "out",
        ),
        (["run", "run/loss.json"], "'run' and 'run/loss.json' are the same; leave one of them out"),
    ],
)
def test_each_contender_once(tmp_path, monkeypatch, names, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(SettingError) as caught:
        read_contenders(names, "cross_entropy", None, {})
    assert str(caught.value) == message


def test_methods_that_differ_in_name_only_are_different_methods():
    # Without meta steps EvoMAL is GP-LFL; that is a control worth having.
    entries = read_contenders(["evomal", "gplfl"], "cross_entropy", None, {"meta_steps": 0})
    assert len(entries) == 3
