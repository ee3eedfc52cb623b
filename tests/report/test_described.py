import pytest

from evomal.foundation.errors import RunFolderError
from evomal.foundation.serialization import cleaned
from evomal.losses import NeuralLoss, SymbolicLoss, TaylorLoss
from evomal.report.described import best_formulas, describe, history, shown, table_of_formulas, table_of_weights

LINE = {"task_type": "regression", "generation": 0, "index": 0, "fitness": 0.5, "score": 0.7, "outcome": "trained"}
SQUARES = {"expression": "square(sub(y, f))", "output_activation": "identity", "weights": [1.0, 2.0, 1.0]}
TAYLOR = {"family": "taylor", "weights": [0, 0.5, 0, 2, 0, 0, 0, 0]}
NEURAL = {"family": "neural", "hidden": 1, "weights": [1.0, 2.0, 3.0, 4.0]}


def _cells(table):
    return [list(column.cells) for column in table.columns]


def test_a_formula_has_every_form_and_an_edge_for_each_coefficient():
    loss = SymbolicLoss("square(sub(y, f))", [0.5, 1.0, 2.0], task_type="regression", scale=1e-5)
    told = describe(loss)
    assert (told["family"], told["scale"], told["weights"]) == ("symbolic", 1e-5, [0.5, 1.0, 2.0])
    assert told["formula"] == "1e-05·((0.5·(y - 2·f))²)"
    assert told["short"] == "2.5e-06·(y - 2·f)²"
    assert told["latex"].startswith(r"1 \cdot 10^{-5} \left(")
    assert told["simplified"]["latex"].startswith(r"1 \cdot 10^{-5} \left(")
    assert told["simplified"]["text"].startswith("1e-05*(")
    assert _cells(table_of_weights(told)) == [["0", "1", "2"], ["0.5", "1", "2"], ["sub(y, f)", "y", "f"]]
    lines = shown(told, {"seed": 3})
    assert list(lines) == ["in short", "formula", "simplified", "LaTeX", "expression", "task type", "seed"]
    assert lines["expression"] == "square(sub(y, f))"


def test_a_taylor_loss_has_latex_and_a_part_for_each_parameter():
    told = describe(TaylorLoss([0, 0.5, 0, 2, 0, 0, 0, 1], task_type="regression", scale=2))
    assert told["formula"] == "2·((f - 0.5)² + 0.5·y²·(f - 0.5))"
    assert told["latex"].startswith(r"2 \left(\left(f_\theta(x) - 0.5\right)^2 + 0.5\,y^2")
    assert [(row["parameter"], row["weight"]) for row in told["parameters"]] == [
        (f"θ{i}", weight) for i, weight in enumerate(told["weights"])
    ]
    names, values, parts = _cells(table_of_weights(told))
    assert (names[7], values[7], parts[7]) == ("θ7", "1", "½(y - θ0)²(f - θ1)")
    assert list(shown(told, {})) == ["formula", "LaTeX", "task type"]


def test_a_network_has_the_units_of_its_layers_and_no_table():
    told = describe(NeuralLoss(task_type="classification", hidden=3))
    assert (told["sizes"], len(told["weights"])) == ([2, 3, 3, 1], 18)
    assert table_of_weights(told) is None
    assert shown(told, {}) == {
        "formula": "softplus network 2–3–3–1 of y and f (18 weights)",
        "task type": "classification",
    }


def test_the_past_is_told_without_what_a_terminal_would_obey():
    assert history({"tuned_for": {"lr": 0.1, "nesterov": False}, "note": "a\x1b[31mb"}) == {
        "tuned for": "lr 0.1, nesterov False",
        "note": cleaned("a\x1b[31mb"),
    }
    assert "\x1b" not in cleaned("a\x1b[31mb")


def test_the_best_come_first_whatever_their_family():
    lines = [
        {**LINE, **SQUARES, "index": 0},
        {**LINE, **TAYLOR, "index": 1, "fitness": 0.25, "scale": 3},
        {**LINE, **NEURAL, "index": 2, "fitness": None, "outcome": "rejected"},
        {**LINE, **SQUARES, "index": 3, "fitness": 0.125, "weights": None},
        {**LINE, **TAYLOR, "index": 4, "fitness": 0.75},
        {**LINE, **NEURAL, "index": 5, "weights": [1.0, 2.0, 3.0, 5.0], "fitness": None, "score": 0.9},
    ]
    rows = best_formulas(lines, 9)
    assert [(row["index"], row["family"], row["size"], row["fitness"]) for row in rows] == [
        *((3, "symbolic", 4, 0.125), (1, "taylor", 8, 0.25), (5, "neural", 4, None), (2, "neural", 4, None))
    ]
    assert [row["formula"] for row in rows[:3]] == [
        *("(y - f)²", "3·((f - 0.5)²)", "softplus network 2–1–1–1 of y and f (4 weights)")
    ]
    assert best_formulas(lines, 2) == rows[:2]
    fitness, size, outcome, _ = _cells(table_of_formulas(rows))
    assert (fitness, size) == (["0.125", "0.25", "–", "–"], ["4", "8", "4", "4"])
    assert outcome == ["trained", "trained", "trained", "rejected"]


@pytest.mark.parametrize(
    "damage",
    [
        {"expression": None},
        {"weights": [1.0]},
        {"fitness": "good"},
        {"family": "linear"},
        {"family": "taylor"},
        {"family": "neural", "hidden": 0},
        {"scale": "much"},
    ],
)
def test_a_damaged_line_is_named(damage):
    with pytest.raises(RunFolderError, match=r"^the journal is damaged at generation 3, index 7 \(.*\); it cannot be"):
        best_formulas([{**LINE, **SQUARES, "generation": 3, "index": 7, **damage}], 1)


def test_shares_and_progress_are_told():
    loss = SymbolicLoss("mul(mul(prior, progress), sub(y, f))", task_type="classification", prior=(0.9, 0.1))
    lines = shown(describe(loss), {})
    assert lines["prior"] == "0.9, 0.1, the classes' shares of the training labels"
    assert lines["progress"].startswith("the share of steps done: set criterion.progress = k / steps")
    assert lines["simplified"].startswith("prior*progress*")
