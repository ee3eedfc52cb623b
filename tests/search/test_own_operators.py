"""Operators and terminals as settings, and operators of one's own: from Python, and from their file."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch.autograd import grad, gradcheck

import evomal
from evomal.cli.app import main
from evomal.config import learn_settings
from evomal.engines.warm_start import resolved
from evomal.expressions import OPERATORS, canonical, evaluate, forget_operator, parse, register_operator, simplify
from evomal.foundation.errors import EvomalError, ExpressionError, LossFileError, SettingError
from evomal.losses import SymbolicLoss
from evomal.losses.batched_families import stack
from evomal.losses.exports import export
from evomal.losses.slopes import Predictions, slope_gradient
from evomal.search import EvoMAL
from evomal.store import comparable, read_journal
from helpers import stops
from helpers.tasks import blobs, line

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_operator.py"
WORDS = ["--operators", "add", "mul", "log", "ratio", "--terminals", "y", "f", "-1", "prior", "progress"]
SMALL = [
    *("--dataset", "iris", "--model", "linear", "--preset", "quick", "--generations", "1", "--population", "3"),
    *("--meta-steps", "2", "--partial-steps", "10", "--no-rejection"),
]
WEIGHTED = "mul(-1, ratio(mul(y, log(f)), prior))"


@pytest.fixture(autouse=True)
def _nothing_stays():
    yield
    for name in [name for name, operator in OPERATORS.items() if operator.module is not None]:
        forget_operator(name)


@pytest.fixture
def ratio():
    return register_operator("ratio", 2, lambda a, b: a / b, lambda a, b: (1 / b, -a / b**2), module="mine")


# --- as settings -----------------------------------------------------------------------------------------------------


def test_formulas_are_made_of_what_the_settings_say(tmp_path):
    words = {"operators": ("log", "mul", "add"), "terminals": ("prior", "f", "y", "progress")}
    stops.learn(tmp_path / "a", task=blobs(), rejection=False, generations=2, **words)
    records = read_journal(tmp_path / "a")
    symbols = {node.symbol for record in records for node in parse(record["expression"]).preorder()}
    assert symbols == {"log", "mul", "add", "prior", "f", "y", "progress"}
    # Their order says nothing.
    again = {"operators": ("add", "log", "mul"), "terminals": ("y", "f", "prior", "progress")}
    stops.learn(tmp_path / "b", task=blobs(), rejection=False, generations=2, **again)
    assert comparable(read_journal(tmp_path / "b")) == comparable(records)


def test_a_search_with_them_goes_on_to_the_bit(tmp_path):
    words = {"terminals": ("y", "f", "1", "prior", "progress"), "lanes": 3, "rejection": False, "generations": 2}
    stops.learn(tmp_path / "whole", task=blobs(), **words)
    stops.learn(tmp_path / "parts", 9, task=blobs(), **words)
    stops.learn(tmp_path / "parts", task=blobs(), resume=True, **words)
    assert stops.in_order(stops.lines(tmp_path / "parts")) == stops.in_order(stops.lines(tmp_path / "whole"))
    assert (tmp_path / "parts" / "loss.json").read_bytes() == (tmp_path / "whole" / "loss.json").read_bytes()


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"operators": ("ad", "mul")}, "unknown operator 'ad'; did you mean 'add'?"),
        ({"terminals": ("y", "f", "priors")}, "unknown terminal 'priors'; did you mean 'prior'?"),
        ({"terminals": ("y", "1")}, "setting 'terminals': f is missing; a loss needs both y and f"),
        ({"operators": ("log", "abs")}, "setting 'operators': none takes two arguments"),
        ({"operators": ()}, "setting 'operators'"),
        ({"method": "taylorglo", "terminals": ("y", "f")}, "method taylorglo does not use it; leave it out"),
    ],
)
def test_words_that_make_no_loss(flat, message):
    with pytest.raises(SettingError) as caught:
        EvoMAL(**flat) if "method" not in flat else learn_settings(**flat)
    assert message in str(caught.value)


def test_what_a_search_begins_with_is_made_of_its_words():
    settings = learn_settings(start_from=("mul(y, log(f))",), operators=("add", "mul"))
    with pytest.raises(SettingError, match=r"holds 'log', which is none of this search's operators; add it to"):
        resolved(settings, "classification")
    known = resolved(learn_settings("practice", operators=("sub", "square", "abs")), "classification")
    assert known.genetic.start_from == ("square(sub(y, f))", "abs(sub(y, f))")


def test_a_terminal_that_the_task_does_not_have():
    soft = blobs()
    y = torch.nn.functional.one_hot(soft.train.y, 3).float()
    task = evomal.Task(soft.factory, (soft.train.x, y), task_type="classification", name="soft")
    with pytest.raises(SettingError, match="task 'soft' has no class labels to count; leave it out"):
        EvoMAL(stops.tiny(terminals=("y", "f", "prior"))).learn(task)
    with pytest.raises(SettingError, match="which the tasks one \\+ two differ in"):
        EvoMAL(stops.tiny(terminals=("y", "f", "prior"))).learn([blobs(name="one"), blobs(name="two", count=242)])
    wide = blobs(outputs=5)
    with pytest.raises(SettingError, match="labels of 3 classes but outputs for 5"):
        EvoMAL(stops.tiny(terminals=("y", "f", "prior"), rejection=False)).learn(wide)
    # In regression it is 1.
    assert EvoMAL(stops.tiny(terminals=("y", "f", "prior"), generations=1, rejection=False)).learn(line()).fitness > 0


# --- of one's own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tangent", [None, lambda a, b: (1 / b, -a / b**2)], ids=["autograd", "own"])
def test_an_operator_computes_as_torch_does(tangent):
    register_operator("ratio", 2, lambda a, b: a / b, tangent)
    loss = SymbolicLoss(WEIGHTED, task_type="classification", prior=(0.7, 0.2, 0.1)).double().requires_grad_()
    outputs, targets = torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 3
    weight = 1 / torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    oracle = torch.nn.CrossEntropyLoss(weight, reduction="sum")(outputs, targets) / 9
    torch.testing.assert_close(loss(outputs, targets), oracle, rtol=1e-5, atol=0)
    leaf = outputs.clone().requires_grad_()
    assert gradcheck(lambda z: loss(z, targets), (leaf,))
    (first,) = grad(loss(leaf, targets), leaf, create_graph=True)
    direction = torch.randn_like(outputs)
    (expected,) = grad((first * direction).sum(), loss.weights)
    torch.testing.assert_close(slope_gradient(loss, Predictions.of(loss, outputs, targets), direction), expected)
    lanes = stack([loss, SymbolicLoss("square(sub(y, f))", task_type="classification").double()])
    many = outputs.expand(2, 9, 3)
    torch.testing.assert_close(lanes.values(many, targets, lanes.coefficients())[0], oracle, rtol=1e-5, atol=0)


def test_it_is_written_drawn_and_sorted(ratio):
    tree = parse("ratio(log(f), y)")
    assert canonical(tree) == tree
    assert SymbolicLoss(tree, task_type="regression").formula() == "ratio(log(abs(f) + ε), y)"
    short = simplify(tree)
    assert (short.text, short.note) == ("ratio(log(abs(f) + 1e-07), y)", "SymPy does not know ratio")
    loss = SymbolicLoss(tree, task_type="regression")
    assert r"\operatorname{ratio}\left(" in export(loss, "latex")
    with pytest.raises(SettingError, match=r"says nothing of SymPy, which this needs; register it with sympy"):
        export(loss, "python")
    register_operator("ratio", 2, lambda a, b: a / b, sympy=lambda sp, a, b: a / b)
    assert "/ y" in export(loss, "python")


def test_another_function_under_its_name_takes_its_place(ratio):
    y, f = torch.tensor([6.0]), torch.tensor([3.0])
    assert SymbolicLoss("ratio(y, f)", task_type="regression").per_class(y, f) == 2
    register_operator("ratio", 2, lambda a, b: a - b)
    assert SymbolicLoss("ratio(y, f)", task_type="regression").per_class(y, f) == 3
    assert evaluate(parse("ratio(y, f)"), y, f) == 3


def test_a_formula_takes_it_along_to_other_processes(ratio):
    loss = SymbolicLoss(WEIGHTED, task_type="classification", prior=(0.5, 0.5))
    sent = pickle.dumps(loss)
    assert copy.deepcopy(loss).expression == loss.expression
    forget_operator("ratio")
    with pytest.raises(ExpressionError, match="unknown name 'ratio'"):
        parse(WEIGHTED)
    again = pickle.loads(sent)
    assert "ratio" in OPERATORS
    outputs, targets = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    assert torch.equal(again(outputs, targets), loss(outputs, targets))


def test_workers_compute_it(ratio, tmp_path):
    settings = stops.tiny(operators=("add", "mul", ratio), generations=2, rejection=False)
    assert settings.genetic.operators == ("add", "mul", "ratio")
    EvoMAL(settings).learn(line(), tmp_path / "here")
    EvoMAL(settings.model_copy(update={"workers": 2})).learn(line(), tmp_path / "there")
    records = read_journal(tmp_path / "here")
    assert any("ratio" in record["expression"] for record in records)
    assert comparable(read_journal(tmp_path / "there")) == comparable(records)


def test_a_loss_file_names_its_module_and_imports_nothing(ratio, tmp_path):
    path = tmp_path / "loss.json"
    SymbolicLoss("ratio(y, f)", task_type="regression").save(path)
    document = json.loads(path.read_text())
    assert (document["version"], document["operators"]) == (2, {"ratio": "mine"})
    assert evomal.load_loss(path).expression == parse("ratio(y, f)")
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    forget_operator("ratio")
    with pytest.raises(LossFileError, match=r"it needs operator 'ratio' of module mine; import that first"):
        evomal.load_loss(path)
    register_operator("ratio", 2, lambda a, b: a / b, module="other")
    with pytest.raises(LossFileError, match=r"of module mine, and that here is of other; import the other one"):
        evomal.load_loss(path)
    for odd in ("mine", {"ratio": 3}):
        path.write_text(json.dumps(document | {"operators": odd}))
        with pytest.raises(LossFileError, match="its operators must name the module of each"):
            evomal.load_loss(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Ratio", 2, lambda a, b: a / b), "give a name of small letters"),
        (("log", 1, torch.log), "there is one of that name already"),
        (("prior", 1, torch.log), "there is one of that name already"),
        (("ratio", 3, torch.log), "takes 3 arguments; operators take 1 or 2"),
        (("ratio", 2, None), "must be functions of 2 tensors"),
        (("ratio", 2, lambda a: a), "fails on tensors: TypeError"),
        (("soft", 1, lambda x: x.softmax(0)), "is no function of single numbers"),
        (("total", 1, lambda x: x.sum()), "is no function of single numbers"),
        (("wide", 1, lambda x: x.double()), "gives another dtype"),
        (("cube", 1, lambda x: x**3, lambda x: 3 * x), "its tangent in argument 1 at (-2.3) is -6.9"),
        (("cube", 1, lambda x: x**3, lambda: 1), "its tangent fails: TypeError"),
    ],
)
def test_what_is_no_operator(arguments, message):
    with pytest.raises(SettingError) as caught:
        register_operator(*arguments)
    assert message in str(caught.value)
    assert arguments[0] not in set(OPERATORS) - {"log"}


def test_arguments_that_are_said_to_be_exchangeable_are():
    with pytest.raises(SettingError, match=r"^operator 'ratio' changes when its arguments are exchanged; omit commuta"):
        register_operator("ratio", 2, lambda a, b: a / b, commutative=True)
    assert "ratio" not in OPERATORS
    assert register_operator("mean", 2, lambda a, b: (a + b) / 2, commutative=True).commutative
    forget_operator("mean")


def test_the_example(tmp_path, fork):
    assert len(EXAMPLE.read_text().splitlines()) <= 30
    ended = fork(script=EXAMPLE, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert float(ended.out.split("balanced error ")[1]) < 0.4


def test_on_the_command_line(tmp_path, capsys):
    out = str(tmp_path / "a")
    learn = ["learn", *SMALL, *WORDS, "--start-from", WEIGHTED, "--out", out]
    assert main(learn) == 2
    told = capsys.readouterr().err
    assert "unknown operator 'ratio'" in told
    assert "one of your own has to be registered first" in told
    assert not (tmp_path / "a").exists()
    assert main(["--import", str(EXAMPLE), *learn]) == 0
    kept = tmp_path / "kept.json"
    loss = SymbolicLoss(WEIGHTED, task_type="classification", prior=(0.5, 0.25, 0.25))
    loss.save(kept)
    capsys.readouterr()
    forget_operator("ratio")
    assert main(["show", str(kept)]) == 2
    assert "it needs operator 'ratio' of module own_operator; import that first" in capsys.readouterr().err
    assert main(["--import", str(EXAMPLE), "show", str(kept)]) == 0
    assert "prior" in capsys.readouterr().out
    forget_operator("ratio")
    assert main(["learn", "--resume", out]) == 2
    assert "unknown operator 'ratio'" in capsys.readouterr().err
    assert main(["--import", str(EXAMPLE), "learn", "--resume", out]) == 0
    assert main(["--import", str(tmp_path / "none.py"), "list"]) == 2
    assert "there is no Python file" in capsys.readouterr().err


def test_nothing_but_an_error_of_ours(ratio):
    with pytest.raises(EvomalError, match="operator 'ratio' takes 2 arguments, not 1"):
        parse("ratio(f)")
