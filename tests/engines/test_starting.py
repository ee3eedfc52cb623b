import json
import math
import random
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.config import learn_settings
from evomal.engines.genome import Formula
from evomal.engines.warm_start import FORMULAS, resolved, starts
from evomal.expressions import MAX_DEPTH, canonical, parse
from evomal.foundation.errors import EvomalError, LossFileError, SettingError, UnknownNameError
from evomal.losses import HANDCRAFTED, NeuralLoss, SymbolicLoss, TaylorLoss, get_handcrafted


def _settings(*entries, **flat):
    return learn_settings(**{"preset": "quick", "start_from": entries or None} | flat)


def _resolved(*entries, task_type="classification", **flat):
    return resolved(_settings(*entries, **flat), task_type).genetic.start_from


def _saved(path, expression="abs(sub(f, y))", weights=(1.5, 0.25, -3.0), task_type="classification", **options):
    SymbolicLoss(expression, weights, task_type=task_type, **options).save(path)
    return str(path)


@pytest.mark.parametrize("name", [name for name in FORMULAS if HANDCRAFTED[name].task_type == "classification"])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_a_formula_of_classification_is_the_handcrafted_loss(name, classes):
    draw = torch.Generator().manual_seed(classes)
    # Logits within 3: ε = 1e-7 is small beside every probability.
    logits = (6 * torch.rand(40, classes, generator=draw, dtype=torch.float64) - 3).requires_grad_()
    labels = torch.arange(40) % max(2, classes)
    soft = torch.rand(40, classes, generator=draw, dtype=torch.float64)
    soft = soft if classes == 1 else soft / soft.sum(dim=1, keepdim=True)
    formula, loss = SymbolicLoss(FORMULAS[name], task_type="classification"), get_handcrafted(name)
    for targets in (labels if classes > 1 else labels.double().unsqueeze(1), soft):
        torch.testing.assert_close(formula(logits, targets), loss(logits, targets), rtol=1e-4, atol=1e-4)
        slopes = [torch.autograd.grad(each(logits, targets), logits)[0] for each in (formula, loss)]
        torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in FORMULAS if HANDCRAFTED[name].task_type == "regression"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_formula_of_regression_is_the_handcrafted_loss_summed_over_outputs(name, outputs):
    draw = torch.Generator().manual_seed(outputs)
    f = (3 * torch.randn(60, outputs, generator=draw, dtype=torch.float64)).requires_grad_()
    y = torch.randn(60, outputs, generator=draw, dtype=torch.float64)
    formula, loss = SymbolicLoss(FORMULAS[name], task_type="regression"), get_handcrafted(name)
    torch.testing.assert_close(formula(f, y), outputs * loss(f, y), rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(value, f)[0] for value in (formula(f, y), outputs * loss(f, y))]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


def test_formulas_of_names_are_canonical_and_low_enough_for_the_usual_search():
    for name, text in FORMULAS.items():
        assert str(canonical(parse(text))) == text
        assert _resolved(name, task_type=HANDCRAFTED[name].task_type) == (text,)


@pytest.mark.parametrize("name", sorted(set(HANDCRAFTED) - set(FORMULAS)))
def test_names_that_are_no_formula(name):
    with pytest.raises(SettingError) as caught:
        _resolved(name)
    assert str(caught.value) == (
        f"setting 'start_from': '{name}' is no formula in y and f of these operators; of the handcrafted losses, "
        "cross_entropy, binary_cross_entropy, binary_focal, focal, mse, mae, huber are"
    )


def test_entries_become_canonical_text_in_their_order_each_once(tmp_path):
    path = _saved(tmp_path / "loss.json")
    entries = (" log( mul(f,y) ) ", path, "mse", "log(mul(y, f))", "square(sub(y, f))", "mul(f, y)[2,3e0]", path)
    assert _resolved(*entries[:2], *entries[3:]) == (
        "log(mul(y, f))",
        "abs(sub(f, y)) [1.5, 0.25, -3.0]",
        "square(sub(y, f))",
        "mul(y, f) [3.0, 2.0]",
    )
    with pytest.raises(SettingError, match="'mse' is for regression"):
        _resolved(*entries)


def test_nothing_to_start_from_changes_nothing():
    given = _settings()
    assert resolved(given, "regression") == given
    assert starts(given) == []


def test_what_is_resolved_needs_no_file_any_more(tmp_path):
    path = _saved(tmp_path / "loss.json")
    (tmp_path / "run").mkdir()
    folder = _saved(tmp_path / "run" / "loss.json", "add(mul(f, y), 1)", (2, 3, 4, 5)).removesuffix("/loss.json")
    first = resolved(_settings(path, folder, "focal"), "classification")
    Path(path).unlink()
    # Through the text of a run folder's config.yaml.
    read = learn_settings("quick", start_from=yaml.safe_load(yaml.safe_dump(list(first.genetic.start_from))))
    again = resolved(read, "classification")
    assert again == resolved(again, "classification") == first
    assert starts(again) == starts(first)
    assert [formula.weights for formula in starts(first)] == [(1.5, 0.25, -3.0), (5.0, 2.0, 4.0, 3.0), None]


def test_a_file_that_is_called_like_a_formula_does_not_change_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _saved(tmp_path / "mul(y, f)")
    _saved(tmp_path / "cross_entropy")
    _saved(tmp_path / "a(1)")
    assert _resolved("mul(y, f)", "cross_entropy", "a(1)") == (
        "mul(y, f)",
        FORMULAS["cross_entropy"],
        "abs(sub(f, y)) [1.5, 0.25, -3.0]",
    )


def test_a_loss_from_a_file_begins_as_it_was(tmp_path):
    """Its value and every coefficient, to the bit, though its arguments are sorted."""
    text = "add(mul(log(f), y), max(f, sub(y, f)))"
    weights = torch.randn(parse(text).edges, generator=torch.Generator().manual_seed(0)).tolist()
    path = _saved(tmp_path / "loss.json", text, weights)
    (formula,) = starts(resolved(_settings(path), "classification"))
    assert str(formula.expression) != text
    assert sorted(formula.weights) == sorted(weights)
    before = SymbolicLoss(text, weights, task_type="classification")
    after = SymbolicLoss(formula.expression, formula.weights, task_type="classification")
    outputs, labels = torch.randn(30, 4, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 4
    assert torch.equal(before(outputs, labels), after(outputs, labels))


def test_scale_control_finds_the_scale_of_a_loss_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _saved(Path("loss.json"), scale=0.25)
    assert _resolved(path, scale_control=True) == ("abs(sub(f, y)) [1.5, 0.25, -3.0]",)
    with pytest.raises(SettingError) as caught:
        _resolved(path)
    assert str(caught.value) == (
        "setting 'start_from': 'loss.json' has a scale of 0.25, which no candidate has at first; "
        "switch scale_control on, which finds it"
    )


@pytest.mark.parametrize(
    ("entry", "flat", "message"),
    [
        ("abs(f)", {}, "'abs(f)' lacks y; a loss needs both y and f"),
        ("1", {}, "'1' lacks y and f; a loss needs both y and f"),
        ("abs(abs(mul(y, f)))", {"max_height": 2, "max_depth": 2},
         "'abs(abs(mul(y, f)))' has height 3, above max_height 2"),
        ("huber", {"max_height": 5}, "'huber' has height 6, above max_height 5"),
        ("mul(y, f) [1]", {}, "'mul(y, f) [1]' has 2 edges and needs as many coefficients, not 1"),
        ("mul(y, f) [1, 1e31]", {}, "'mul(y, f) [1, 1e31]' has a coefficient that is not finite or above 1e+30"),
        ("mul(y, f) [1, NaN]", {}, "'mul(y, f) [1, NaN]' has a coefficient that is not finite or above 1e+30"),
        *[(f"mul(y, f) {listed}", {}, f"'mul(y, f) {listed}' has coefficients that are no list of numbers; write them "
           "as in 'abs(sub(y, f)) [2, 1, 0.5]'") for listed in ("[1, two]", "[1, true]", "[1, [2]]", "[1, 2", "[1] 2")],
        ("abs(lg(f))", {}, "unknown name 'lg'; did you mean 'log'? (position 5 of 'abs(lg(f))')"),
        ("abs(f", {}, "')' or ',' is missing at the end (position 6 of 'abs(f')"),
        ("", {}, "the formula is empty; write one such as 'mul(y, f)'"),
        ("abs(" * 65 + "f" + ")" * 65, {}, f"the formula is nested 65 deep; at most {MAX_DEPTH} levels are allowed"),
        ("mae", {}, "'mae' is for regression, but the task is classification; give another loss"),
        ("focal", {"output_activation": "softplus"},
         "'focal' has the output activation identity, this search softplus; give output_activation identity, or "
         "another loss"),
    ],
)  # fmt: skip
def test_entries_that_cannot_begin_a_search(entry, flat, message):
    flat = {"task_type": "regression" if entry == "huber" else "classification"} | flat
    with pytest.raises(SettingError) as caught:
        _resolved(entry, **flat)
    assert str(caught.value) == f"setting 'start_from': {message}"
    if entry not in HANDCRAFTED:
        with pytest.raises(SettingError) as again:
            starts(_settings(entry, **{name: flat[name] for name in flat if name != "task_type"}))
        assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda path: TaylorLoss([0.5] * 8, task_type="classification").save(path), {},
         "is a taylor loss and no formula; give a symbolic one"),
        (lambda path: NeuralLoss(task_type="classification").save(path), {},
         "is a neural loss and no formula; give a symbolic one"),
        (_saved, {"task_type": "regression"}, "is for classification, but the task is regression; give another loss"),
        (lambda path: _saved(path, output_activation="softplus"), {},
         "has the output activation softplus, this search identity; give output_activation softplus, or another loss"),
        (lambda path: _saved(path, "abs(abs(abs(mul(y, f))))", [1.0] * 5),
         {"max_height": 3, "max_depth": 3}, "has height 4, above max_height 3"),
    ],
)  # fmt: skip
def test_losses_in_files_that_cannot_begin_a_search(make, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("loss.json"))
    with pytest.raises(SettingError) as caught:
        _resolved("loss.json", **options)
    assert str(caught.value) == f"setting 'start_from': 'loss.json' {message}"


@pytest.mark.parametrize("entry", ["loss.json", "runs/a", "./a"])
def test_files_that_are_not_there(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LossFileError, match="cannot be read"):
        _resolved(entry)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        _resolved("cross_entropi")
    assert str(caught.value) == (
        "unknown loss to start from 'cross_entropi'; did you mean 'cross_entropy'? "
        "(known: binary_cross_entropy, binary_focal, cross_entropy, focal, huber, mae, mse)"
    )


def test_more_losses_than_a_generation_holds():
    entries = ["mul(y, f)", "mul(f, y)", "add(y, f)", "sub(y, f)", "min(y, f)"]
    assert len(_resolved(*entries, population_size=4)) == 4
    for check in (_resolved, lambda *given, **flat: starts(_settings(*given, **flat))):
        with pytest.raises(SettingError) as caught:
            check(*entries, population_size=3)
        assert str(caught.value) == (
            "setting 'start_from': 4 losses to begin with do not fit into a generation of 3; give fewer, or a larger "
            "population_size"
        )


@pytest.mark.parametrize("method", ["taylorglo", "ml3"])
def test_methods_without_formulas_have_nothing_to_start_from(method):
    with pytest.raises(SettingError, match=f"^setting 'start_from': method {method} does not use it; leave it out$"):
        learn_settings(method=method, start_from=("mul(y, f)",))


def test_the_text_of_an_entry_is_the_key_of_its_genome():
    draw = random.Random(0)
    for text in ("mul(y, f)", "add(sub(y, f), 1)"):
        formula = Formula(parse(text), tuple(draw.gauss(0, 1) * 10.0 ** draw.randint(-20, 20) for _ in range(9)))
        formula = Formula(formula.expression, formula.weights[: formula.expression.edges]).canonical()
        assert starts(_settings(formula.key)) == [formula]
        assert starts(_settings(Formula(formula.expression).key)) == [Formula(formula.expression)]


PIECES = st.sampled_from(
    ["mul", "(", ")", "y", "f", ",", " ", "[", "]", "1", "-1", "1e999", "0.5", "NaN", "x.json", "/"]
)


@given(pieces=st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=10))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_whatever_an_entry_says_it_is_refused_or_can_be_written_down(pieces):
    try:
        first = resolved(_settings(pieces), "classification")
    except EvomalError:
        return
    assert resolved(first, "classification") == first
    assert all(math.isfinite(weight) for formula in starts(first) for weight in formula.weights or ())


@pytest.mark.parametrize("entry", ["[" * 50_000, "mul(y, f) " + "[" * 50_000, " " * 50_000 + "]", "f" * 50_000])
def test_long_entries_are_refused_at_once(entry):
    with pytest.raises(SettingError) as caught:
        _resolved(entry)
    assert len(str(caught.value)) < 400


def test_a_number_of_too_many_digits_is_refused():
    with pytest.raises(SettingError, match="coefficients that are no list of numbers"):
        _resolved(f"mul(y, f) {json.dumps([1, 10**400])}")
