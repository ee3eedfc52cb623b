import json
import pickle
import re
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import evomal
from evomal.comparison.comparison import TABLE
from evomal.comparison.folder import CONFIG as COMPARISON
from evomal.comparison.folder import SEARCHES
from evomal.comparison.train_journal import TrainingJournal
from evomal.expressions import parse
from evomal.foundation import files
from evomal.foundation.errors import LossFileError, SettingError
from evomal.losses import HandcraftedLoss, NeuralLoss, SymbolicLoss, TaylorLoss, load_loss, loss_from_entries

GOOD = {
    "format": "evomal-loss",
    "version": 1,
    "family": "symbolic",
    "task_type": "classification",
    "expression": "abs(log(mul(y, f)))",
    "weights": [1.0, 1.0, 1.0, 1.0],
    "output_activation": "identity",
}


LOSS = SymbolicLoss(GOOD["expression"], task_type="classification")
GOOD_HEAD = {"format": "evomal-loss", "version": 1, "task_type": "classification"}


def _written(folder, data):
    path = folder / "loss.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def _refused(path, what):
    """The one sentence must name the file."""
    with pytest.raises(LossFileError) as caught:
        load_loss(path)
    assert str(caught.value) == f"loss file '{path}': {what}"


@pytest.mark.parametrize("activation", ["identity", "softplus"])
@pytest.mark.parametrize("task_type", ["classification", "regression"])
def test_round_trip_to_the_bit(tmp_path, task_type, activation):
    formula = "sub(tanh(mul(f, add(y, 1))), mul(y, log(f)))"
    for seed in range(20):
        weights = torch.randn(10, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed - 10)
        loss = SymbolicLoss(formula, weights, task_type=task_type, output_activation=activation)
        loss.info = {"seed": seed, "learned_on": {"dataset": "digits"}, "note": "φ ≠ 1", "fitness": None}
        loss.save(tmp_path / "a" / "loss.json")
        other = load_loss(str(tmp_path / "a" / "loss.json"))
        assert torch.equal(other.weights, loss.weights)
        assert other.weights.dtype == torch.float32
        assert other.expression == loss.expression
        assert (other.task_type, other.output_activation, other.info) == (task_type, activation, loss.info)
        assert not other.weights.requires_grad  # finished until requires_grad_() is called


def test_the_file_is_what_the_design_says(tmp_path):
    SymbolicLoss(GOOD["expression"], task_type="classification").save(tmp_path / "loss.json")
    assert json.loads((tmp_path / "loss.json").read_text()) == GOOD


def test_a_file_by_hand_may_leave_the_activation_out_and_hold_integers(tmp_path):
    data = {name: value for name, value in GOOD.items() if name != "output_activation"}
    loss = load_loss(_written(tmp_path, data | {"weights": [2, 1, 0, -3], "fitness": 0.1}))
    assert loss.weights.tolist() == [2.0, 1.0, 0.0, -3.0]
    assert (loss.output_activation, loss.info) == ("identity", {"fitness": 0.1})


def test_unknown_entries_stay_through_a_second_saving(tmp_path):
    path = _written(tmp_path, GOOD | {"from_the_future": [1, {"a": None}]})
    load_loss(path).save(path)
    assert json.loads(path.read_text()) == GOOD | {"from_the_future": [1, {"a": None}]}


def test_info_never_overrides_what_the_loss_is(tmp_path):
    loss = SymbolicLoss("square(sub(y, f))", task_type="regression")
    loss.info = {"version": 2, "weights": [], "seed": 1}
    loss.save(tmp_path / "loss.json")
    assert load_loss(tmp_path / "loss.json").info == {"seed": 1}


INVALID = "it is not complete, valid JSON; save the loss anew, or mend the file"
NO_TEXT = "it needs an expression (text); write it anew"
LIST = "it needs weights (a list of numbers); write it anew"
CODE = "it is a pickle or an archive, which could run code; give a JSON file"
NO_VERSION = "which never was one; this evomal reads 2; give a file written by evomal"
NUMBER = "it has a number that no float holds, or of more than 320 characters; give a file written by evomal"
DEEP = "its entries nest more than 20 deep; give a file written by evomal"
NOT_FINITE = "the weights of formula 'abs(log(mul(y, f)))' hold a number that is not finite; give finite ones"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": "other"}, "its \"format\" is not 'evomal-loss'; give a file written by evomal"),
        ({"format": None}, "its \"format\" is not 'evomal-loss'; give a file written by evomal"),
        ({"version": 3}, "it comes from the future (version 3; this evomal reads 2); update evomal"),
        ({"version": 10**6}, "it comes from the future (version 1000000; this evomal reads 2); update evomal"),
        ({"version": 0}, f'its "version" is 0, {NO_VERSION}'),
        ({"version": -1}, f'its "version" is -1, {NO_VERSION}'),
        ({"version": 1.0}, f'its "version" is 1.0, {NO_VERSION}'),
        ({"version": 2.0}, f'its "version" is 2.0, {NO_VERSION}'),
        ({"version": True}, f'its "version" is True, {NO_VERSION}'),
        ({"version": "1"}, f"its \"version\" is '1', {NO_VERSION}"),
        ({"version": None}, f'its "version" is None, {NO_VERSION}'),
        ({"family": "linear"}, "its family 'linear' is unknown; use 'symbolic', 'taylor', 'neural' or 'handcrafted'"),
        (
            {"family": ["symbolic"]},
            "its family ['symbolic'] is unknown; use 'symbolic', 'taylor', 'neural' or 'handcrafted'",
        ),
        ({"task_type": "ranking"}, "task_type is 'ranking'; use 'classification', 'regression' or 'multilabel'"),
        ({"task_type": None}, "task_type is None; use 'classification', 'regression' or 'multilabel'"),
        ({"task_type": {}}, "task_type is {}; use 'classification', 'regression' or 'multilabel'"),
        ({"output_activation": "relu"}, "output_activation is 'relu'; use 'identity' or 'softplus'"),
        (
            {"weights": [1.0, 1.0, 1.0]},
            "formula 'abs(log(mul(y, f)))' has 4 weights but those given have shape [3]; give a flat list",
        ),
        (
            {"weights": []},
            "formula 'abs(log(mul(y, f)))' has 4 weights but those given have shape [0]; give a flat list",
        ),
        ({"weights": [1.0, 1.0, 1.0, 1e39]}, NOT_FINITE),  # infinite in float32
        ({"weights": [1, 1, 1, 10**310]}, NUMBER),
        ({"weights": [1, 1, 1, -(10**400)]}, NUMBER),
        ({"learned_on": {"images": [10**400]}}, NUMBER),
        ({"weights": [1.0, 1.0, 1.0, "1.0"]}, LIST),
        ({"weights": [1.0, 1.0, 1.0, True]}, LIST),
        ({"weights": [1.0, 1.0, 1.0, None]}, LIST),
        ({"weights": [1.0, 1.0, 1.0, [1.0]]}, LIST),
        ({"weights": {"0": 1.0}}, LIST),
        ({"weights": 1.0}, LIST),
        ({"weights": None}, LIST),
        ({"expression": 1}, NO_TEXT),
        ({"expression": ["abs"]}, NO_TEXT),
        ({"expression": "abs(log(mul(y, 1)))"}, "formula 'abs(log(mul(y, 1)))' lacks f; a loss needs both y and f"),
        ({"expression": "abs(log(mul(1, f)))"}, "formula 'abs(log(mul(1, f)))' lacks y; a loss needs both y and f"),
        ({"expression": ""}, "the formula is empty; write one such as 'mul(y, f)'"),
        (
            {"expression": "mull(y, f)"},
            "unknown name 'mull'; did you mean 'mul'? (position 1 of 'mull(y, f)')",
        ),
        (
            {"expression": "abs(" * 5000 + "mul(y, f)" + ")" * 5000},
            "the formula is nested 5001 deep; at most 64 levels are allowed",
        ),
    ],
)
def test_an_odd_entry_is_refused(tmp_path, change, what):
    _refused(_written(tmp_path, GOOD | change), what)


TAYLOR = {**GOOD_HEAD, "family": "taylor", "weights": [0.0, 1, 2, 3, 4, 5, 6, 7]}
NEURAL = {**GOOD_HEAD, "family": "neural", "hidden": 2, "weights": [0.5] * 10}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weights": [1.0] * 7}, "a Taylor loss has 8 weights but those given have shape [7]; give a flat list"),
        (
            {"weights": [1.0] * 7 + [1e39]},
            "the weights of a Taylor loss hold a number that is not finite; give finite ones",
        ),
        ({"weights": [1] * 7 + [10**400]}, NUMBER),
        ({"weights": [1.0] * 7 + [True]}, LIST),
        ({"weights": [1.0] * 7 + ["1"]}, LIST),
        ({"weights": [[1.0] * 8]}, LIST),
        ({"weights": None}, LIST),
        ({"weights": 1.0}, LIST),
        ({"task_type": None}, "task_type is None; use 'classification', 'regression' or 'multilabel'"),
    ],
)
def test_an_odd_entry_of_a_taylor_loss_is_refused(tmp_path, change, what):
    assert load_loss(_written(tmp_path, TAYLOR)).coefficients == TAYLOR["weights"]
    _refused(_written(tmp_path, TAYLOR | change), what)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"hidden": 3},
            "a neural loss with hidden = 3 has 18 weights but those given have shape [10]; give a flat list",
        ),
        ({"hidden": 0}, "hidden is 0; give a whole number from 1 to 256"),
        ({"hidden": 257}, "hidden is 257; give a whole number from 1 to 256"),
        ({"hidden": 10**300}, f"hidden is {10**300}; give a whole number from 1 to 256"),
        ({"hidden": "x" * 1000}, f"hidden is '{'x' * 255} … {'x' * 64}'; give a whole number from 1 to 256"),
        ({"hidden": 2.0}, "hidden is 2.0; give a whole number from 1 to 256"),
        ({"hidden": True}, "hidden is True; give a whole number from 1 to 256"),
        ({"hidden": None}, "hidden is None; give a whole number from 1 to 256"),
        ({"hidden": "2"}, "hidden is '2'; give a whole number from 1 to 256"),
        (
            {"weights": []},
            "a neural loss with hidden = 2 has 10 weights but those given have shape [0]; give a flat list",
        ),
        ({"weights": {}}, LIST),
        ({"weights": [None] * 10}, LIST),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_odd_entry_of_a_neural_loss_is_refused(tmp_path, change, what):
    assert load_loss(_written(tmp_path, NEURAL)).coefficients == NEURAL["weights"]
    _refused(_written(tmp_path, NEURAL | change), what)


@pytest.mark.parametrize("scale", [0, 0.0, -1, -0.5, True, None, "2", [1.0], {}])
@pytest.mark.parametrize("document", [GOOD, TAYLOR, NEURAL], ids=lambda document: document["family"])
def test_an_odd_scale_is_refused(tmp_path, document, scale):
    path = _written(tmp_path, document | {"scale": scale})
    _refused(path, f"scale is {scale!r}; give a number above 0 and below 1e30")


@pytest.mark.parametrize("document", [GOOD, TAYLOR, NEURAL], ids=lambda document: document["family"])
def test_a_scale_that_is_no_finite_number_is_refused(tmp_path, document):
    text = json.dumps(document | {"scale": 7.25})
    _refused(_written(tmp_path, text.replace("7.25", "NaN").encode()), INVALID)
    for huge in ("1e400", "1" + "0" * 400, "0." + "3" * 400):
        _refused(_written(tmp_path, text.replace("7.25", huge).encode()), NUMBER)


@pytest.mark.parametrize("document", [GOOD, TAYLOR, NEURAL], ids=lambda document: document["family"])
def test_a_scale_stays_and_entries_build_the_same_loss(tmp_path, document):
    loss = load_loss(_written(tmp_path, document | {"scale": 0.125, "seed": 1}))
    assert (loss.scale, loss.info) == (0.125, {"seed": 1})
    entries = loss.all_entries()
    assert entries == {name: value for name, value in document.items() if name not in ("format", "version")} | {
        "scale": 0.125
    }
    other = loss_from_entries(entries)
    assert other.all_entries() == entries
    outputs, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(other(outputs, targets), loss(outputs, targets))
    assert not any(parameter.requires_grad for parameter in other.parameters())
    loss.scale = 1
    assert "scale" not in loss.all_entries()


def test_entries_of_an_unknown_family():
    for entries in ({}, {"family": None}, {"family": {}}, {"family": "x"}):
        with pytest.raises(SettingError) as caught:
            loss_from_entries(entries)
        family = entries.get("family")
        assert (
            str(caught.value)
            == f"its family {family!r} is unknown; use 'symbolic', 'taylor', 'neural' or 'handcrafted'"
        )


@pytest.mark.parametrize("name", [name for name in GOOD if name != "output_activation"])
def test_a_missing_entry_is_refused(tmp_path, name):
    path = _written(tmp_path, {other: value for other, value in GOOD.items() if other != name})
    with pytest.raises(LossFileError) as caught:
        load_loss(path)
    assert str(caught.value).startswith(f"loss file '{path}': ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have(tmp_path, number):
    text = json.dumps(GOOD).replace("[1.0, ", f"[{number}, ")
    _refused(_written(tmp_path, text.encode()), INVALID)
    _refused(_written(tmp_path, text.replace("weights", "fitness").encode()), INVALID)


def test_a_number_that_is_too_large_for_a_float(tmp_path):
    _refused(_written(tmp_path, json.dumps(GOOD).replace("[1.0, ", "[1e400, ").encode()), NUMBER)


def test_a_number_of_a_hundred_thousand_digits(tmp_path):
    _refused(_written(tmp_path, json.dumps(GOOD).replace("[1.0, ", f"[{'1' * 100_000}, ").encode()), NUMBER)


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch {}')",
        "mul(y, __import__('pathlib').Path('{}').touch())",
        "exec(open('{}', 'w'))",
        "(lambda: open('{}', 'w'))()",
    ],
)
def test_code_is_not_run(tmp_path, code):
    trace = tmp_path / "trace"
    path = _written(tmp_path, GOOD | {"expression": code.format(trace)})
    with pytest.raises(LossFileError, match=r"^loss file '.*loss\.json': "):
        load_loss(path)
    assert not trace.exists()


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_not_run(tmp_path, protocol):
    trace = tmp_path / "trace"
    data = pickle.dumps(_Touch(trace), protocol)
    _refused(_written(tmp_path, data), CODE if protocol >= 2 else INVALID)
    assert not trace.exists()


def test_archives_are_refused(tmp_path):
    path = tmp_path / "loss.json"
    torch.save(SymbolicLoss(GOOD["expression"], task_type="classification"), path)
    _refused(path, CODE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("loss.json", json.dumps(GOOD))
    _refused(path, CODE)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", INVALID),
        (b"\x00" * 500, INVALID),
        (json.dumps(GOOD).encode("utf-16"), INVALID),
        (json.dumps(GOOD).encode("utf-32"), INVALID),
        (json.dumps(GOOD).encode() * 2, INVALID),
        (b"[" * 5000 + b"]" * 5000, DEEP),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, DEEP),
        (b"[" * 3_999_999, DEEP),
        (b"[]", "it is not a JSON object; give a file written by evomal"),
        (b"null", "it is not a JSON object; give a file written by evomal"),
        (b'"evomal-loss"', "it is not a JSON object; give a file written by evomal"),
        (b"{}", "its \"format\" is not 'evomal-loss'; give a file written by evomal"),
        (b" " * 4_000_001, "it has more than 4,000,000 bytes; give a file written by evomal"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_such_a_document(tmp_path, data, what):
    _refused(_written(tmp_path, data), what)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    SymbolicLoss(GOOD["expression"], task_type="classification").save(tmp_path / "loss.json")
    data = (tmp_path / "loss.json").read_bytes()
    assert data.endswith(b"}\n")
    for length in range(len(data) - 1):
        _refused(_written(tmp_path, data[:length]), INVALID)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cross_entropy", "a handcrafted loss of that name; use evomal.HandcraftedLoss('cross_entropy')"),
        ("ldam", "a handcrafted loss of that name; use evomal.HandcraftedLoss('ldam', class_counts=…)"),
        ("ngl", "a published loss of that name; use evomal.losses.published.published_loss('ngl')"),
    ],
)
def test_a_name_in_place_of_a_file(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    _refused(name, f"there is no such file, but {message}")
    SymbolicLoss(GOOD["expression"], task_type="classification").save(name)
    assert evomal.load_loss(name).formula()  # a file may be called so


def test_folders_of_other_results(tmp_path):
    compared, trained = tmp_path / "cmp", tmp_path / "trained"
    for folder in (compared, trained):
        folder.mkdir()
    (compared / COMPARISON).touch()
    what = f"it is the folder of a comparison, and no loss; see its results by `evomal report {compared}`, or name the "
    _refused(compared, what + "folder of one of its searches")
    search = compared / SEARCHES / "evomal-seed0"
    search.mkdir(parents=True)
    loss = SymbolicLoss(GOOD["expression"], task_type="classification")
    loss.save(search / "loss.json")
    _refused(compared, f"{what}folder of one of its searches, such as '{search}'")
    (compared / COMPARISON).rename(compared / TABLE)
    _refused(compared, f"{what}folder of one of its searches, such as '{search}'")
    for mark in (TrainingJournal(trained).path, TrainingJournal(trained).out):
        mark.touch()
        _refused(
            trained,
            "it is the folder of a training's results, and no loss; name a loss file, or the run folder of a search",
        )
        mark.unlink()
    (trained / "train.json").touch()
    loss.save(trained / "loss.json")
    assert evomal.load_loss(trained).formula() == loss.formula()


def test_paths_that_are_no_files(tmp_path):
    _refused(tmp_path / "none.json", "it cannot be read (No such file or directory); check the path")
    _refused(tmp_path / "loss.json", "it cannot be read (No such file or directory); check the path")
    with pytest.raises(LossFileError, match=re.escape(f"loss file '{tmp_path}/loss.json': it cannot be read")):
        evomal.load_loss(tmp_path)  # a run folder stands for its loss.json
    _refused("/dev/zero", "it has more than 4,000,000 bytes; give a file written by evomal")


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def _loads_or_is_refused(folder, data):
    path = _written(folder, data)
    try:
        loss = load_loss(path)
    except LossFileError as error:
        return str(error).startswith(f"loss file '{path}': ")
    return all(bool(parameter.isfinite().all()) for parameter in loss.parameters()) and loss.scale > 0


@settings(deadline=None, derandomize=True, max_examples=100)
@given(data=st.binary(max_size=400))
def test_random_bytes(anywhere, data):
    assert _loads_or_is_refused(anywhere, data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*GOOD.values(), "y", "f"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(document=VALUES)
def test_random_documents(anywhere, document):
    assert _loads_or_is_refused(anywhere, document)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    document=st.sampled_from([GOOD, TAYLOR, NEURAL]),
    changes=st.dictionaries(st.sampled_from([*GOOD, "hidden", "scale"]), VALUES, min_size=1, max_size=3),
)
def test_random_changes_of_a_good_document(anywhere, document, changes):
    assert _loads_or_is_refused(anywhere, document | changes)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(position=st.integers(0, len(json.dumps(GOOD)) - 1), byte=st.integers(0, 255))
def test_one_byte_of_a_good_file_changed(anywhere, position, byte):
    data = bytearray(json.dumps(GOOD).encode())
    data[position] = byte
    assert _loads_or_is_refused(anywhere, bytes(data))


def _with_nan(loss):
    with torch.no_grad():
        loss.weights[0] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_with_nan, "Out of range float values are not JSON compliant"),
        (lambda loss: loss.info.update(fitness=float("inf")), "Out of range float values are not JSON compliant"),
        (lambda loss: loss.info.update(when=object), "Object of type type is not JSON serializable"),
    ],
    ids=["weights", "number", "object"],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, spoil, why):
    path = tmp_path / "loss.json"
    loss = SymbolicLoss(GOOD["expression"], task_type="classification")
    loss.save(path)
    before = path.read_bytes()
    spoil(loss)
    with pytest.raises(LossFileError) as caught:
        loss.save(path)
    assert str(caught.value).startswith(f"loss file '{path}': the loss cannot be written ({why}")
    assert str(caught.value).endswith("); keep weights finite and info plain")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["loss.json"]


def test_a_saving_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loss.json"
    SymbolicLoss(GOOD["expression"], task_type="classification").save(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        SymbolicLoss("square(sub(y, f))", task_type="classification").save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["loss.json"]


def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    text = json.dumps({"format": "evomal-loss"})[:-1] + ', "weights": [1.0], "weights": [2.0]}'
    _refused(_written(tmp_path, text.encode()), INVALID)


def test_entries_that_nest_too_deep_are_refused(tmp_path):
    good = json.dumps(GOOD)[:-1]
    deepest = _written(tmp_path, (good + ', "past": ' + "[" * 19 + "]" * 19 + "}").encode())
    load_loss(deepest).save(deepest)
    for depth in (20, 500, 800, 900, 960, 980):  # JSON is read to a depth at which a recursive look would fail
        text = good + ', "past": ' + "[" * depth + "]" * depth + "}"
        _refused(_written(tmp_path, text.encode()), DEEP)


def test_a_formula_as_high_as_may_be_and_nearly_as_large(tmp_path):
    high = "abs(" * 60 + "add(y, f)" + ")" * 60
    wide = "y"
    for _ in range(7):
        wide = f"mul({wide}, {wide})"
    formula = f"add(add({high}, {wide}), add({wide}, {wide}))"
    formula = f"add(y, {formula})"
    assert (parse(formula).height, parse(formula).size) == (64, 833)
    edges = parse(formula).edges
    loss = load_loss(_written(tmp_path, GOOD | {"expression": formula, "weights": [3e38] * edges}))
    assert loss(torch.randn(2, 3), torch.tensor([0, 1])).shape == ()
    assert loss.formula().count("3") > 800
    loss.save(tmp_path / "again.json")
    assert load_loss(tmp_path / "again.json").all_entries() == loss.all_entries()


def test_a_text_that_is_too_long_is_refused(tmp_path):
    load_loss(_written(tmp_path, GOOD | {"note": "x" * 100_000}))
    for change in ({"note": "x" * 100_001}, {"x" * 100_001: 1}, {"expression": "x" * 100_001}):
        _refused(
            _written(tmp_path, GOOD | change),
            "it has a text of more than 100,000 characters; give a file written by evomal",
        )


def test_a_file_from_the_future_is_named_so_whatever_its_limits(tmp_path):
    future = GOOD | {"version": 3, "expression": None, "deep": json.loads("[" * 50 + "]" * 50), "long": "x" * 200_000}
    what = "it comes from the future (version 3; this evomal reads 2); update evomal"
    _refused(_written(tmp_path, future), what)


def test_a_long_quotation_is_shortened(tmp_path):
    with pytest.raises(LossFileError) as caught:
        load_loss(_written(tmp_path, GOOD | {"family": "x" * 90_000}))
    message = str(caught.value).removeprefix(f"loss file '{tmp_path}/loss.json': ")
    assert len(message) < 500
    assert message.endswith("; use 'symbolic', 'taylor', 'neural' or 'handcrafted'")


@pytest.mark.parametrize(
    ("info", "why"),
    [
        ({"past": json.loads("[" * 30 + "]" * 30)}, "its entries nest more than 20 deep"),
        ({"note": "x" * 100_001}, "it has a text of more than 100,000 characters"),
        ({"notes": ["x" * 90_000] * 50}, "it has more than 4,000,000 bytes"),
        ({"seed": 10**320}, "it has a number that no float holds, or of more than 320 characters"),
        ({1: "a", "1": "b"}, "it is not complete, valid JSON"),
        (None, "'NoneType' object has no attribute 'items'"),
    ],
    ids=["deep", "long", "large", "number", "twice", "none"],
)
def test_what_could_not_be_read_is_not_written(tmp_path, info, why):
    loss = SymbolicLoss(GOOD["expression"], task_type="classification")
    loss.info = info
    with pytest.raises(LossFileError) as caught:
        loss.save(tmp_path / "loss.json")
    remedy = "keep weights finite and info plain"
    assert str(caught.value) == f"loss file '{tmp_path}/loss.json': the loss cannot be written ({why}); {remedy}"
    assert list(tmp_path.iterdir()) == []


def test_info_puts_no_scale_beside_a_loss_without_one(tmp_path):
    loss = SymbolicLoss(GOOD["expression"], task_type="classification")
    loss.info = {"scale": 5.0, "seed": 1}
    loss.save(tmp_path / "loss.json")
    assert (load_loss(tmp_path / "loss.json").scale, load_loss(tmp_path / "loss.json").info) == (1.0, {"seed": 1})


def test_odd_names_of_files_are_refused_too():
    with pytest.raises(LossFileError, match=r"it cannot be read \(File name too long\); check the path"):
        load_loss("x" * 5000)
    with pytest.raises(LossFileError, match=r"it cannot be read \(embedded null byte\); check the path"):
        load_loss("x\0.json")


@pytest.mark.parametrize("path", ["", None, 3, b"loss.json"])
def test_what_is_no_path(path):
    for use in (LOSS.save, load_loss):
        with pytest.raises(LossFileError, match=r"it is no path; give the name of a file, such as 'loss.json'$"):
            use(path)


def test_paths_that_nothing_can_be_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (".", tmp_path, str(tmp_path) + "/"):
        with pytest.raises(LossFileError, match=r"it is a folder; name a file in it, such as loss\.json$"):
            LOSS.save(folder)
    (tmp_path / "file").write_text("")
    for path, why in (
        ("file/loss.json", "File exists|Not a directory"),
        ("x" * 300, "File name too long"),
        ("x\0", "embedded null byte"),
    ):
        with pytest.raises(LossFileError, match=rf"it cannot be written \(({why})\); "):
            LOSS.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "loss",
    [
        SymbolicLoss("abs(log(mul(y, f)))", task_type="classification"),
        TaylorLoss([0.1] * 8, task_type="classification"),
        NeuralLoss(task_type="classification", hidden=3),
        HandcraftedLoss("cross_entropy"),
        HandcraftedLoss("focal"),
    ],
    ids=lambda loss: loss.formula()[:12],
)
def test_reduction_and_ignore_index_are_given_when_a_loss_is_read(tmp_path, loss):
    file = tmp_path / "loss.json"
    loss.save(file)
    outputs, labels = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]]), torch.tensor([0, 255, 1])
    usual = evomal.load_loss(file)
    assert (usual.reduction, usual.ignore_index) == ("mean", -100)
    alone = usual(outputs[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(evomal.load_loss(file, ignore_index=255)(outputs, labels), alone)
    each = evomal.load_loss(file, reduction="none", ignore_index=255)(outputs, labels)
    assert each.shape == (3,)
    assert each[1] == 0
    torch.testing.assert_close(each.sum() / 2, alone)
    torch.testing.assert_close(evomal.load_loss(file, "sum", 255)(outputs, labels), 2 * alone)
    assert evomal.load_loss(file, ignore_index=None).ignore_index is None
    with pytest.raises(SettingError, match=r"^reduction is 'avg'; use 'mean', 'sum' or 'none'$"):
        evomal.load_loss(file, reduction="avg")
    with pytest.raises(SettingError, match=r"^ignore_index is 1.5; give the label that does not count"):
        evomal.load_loss(file, ignore_index=1.5)
