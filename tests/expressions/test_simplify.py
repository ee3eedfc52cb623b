import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import sympy
import torch

from evomal.expressions import _simplify_child, evaluate, parse, simplify, to_formula, to_latex, to_sympy
from evomal.foundation.errors import ExpressionError


def test_to_sympy_is_the_protected_form() -> None:
    y, f = sympy.symbols("y f", real=True)
    assert to_sympy(parse("log(f)"), epsilon=0) == sympy.log(sympy.Abs(f))
    assert to_sympy(parse("div(y, f)")) == y / sympy.sqrt(1 + f**2)
    assert to_sympy(parse("sqrt(f)"), [4.0]) == sympy.sqrt(4.0 * sympy.Abs(f) + 1e-7)


@pytest.mark.parametrize(
    ("text", "weights", "shown", "note"),
    [
        ("abs(square(sub(y, f)))", None, "(f - y)**2", ""),
        ("sqrt(square(add(y, f)))", None, "Abs(f + y)", "ε omitted"),
        # Where the target is 0 the logarithm needs its ε.
        ("sqrt(square(log(mul(y, f))))", None, "sqrt(log(Abs(f*y) + 1.0e-7)**2 + 1.0e-7)", ""),
        ("abs(mul(y, f))", [0.5, 2.0, 1.00001], "Abs(f*y)", "numbers rounded to 3 digits"),
        # Without ε this constant would be minus infinity.
        ("add(mul(y, f), log(sub(1, 1)))", None, "f*y - 16.1", ""),
        # SymPy's Max and Min compare neither an infinity nor what evalf makes of 1 - 1.
        ("abs(max(f, log(y)))", None, "Abs(Max(f, log(Abs(y) + 1.0e-7)))", ""),
        ("max(abs(abs(f)), log(y))", None, "Max(log(Abs(y)), Abs(f))", "ε omitted"),
        ("min(mul(f, 1), add(y, -1))", None, "Min(f, y - 1)", ""),
        ("min(log(sub(1, 1)), mul(y, f))", None, "Min(-16.1, f*y)", ""),
    ],
)
def test_simplified_formulas(text: str, weights: list[float] | None, shown: str, note: str) -> None:
    result = simplify(parse(text), weights, time_limit=30)
    assert (result.text, result.note) == (shown, note)


def test_latex_names_the_base_model() -> None:
    assert simplify(parse("mul(y, f)"), time_limit=30).latex == r"f_\theta(x) y"


def test_a_formula_that_takes_too_long_is_shown_plainly() -> None:
    tree = parse("div(max(tanh(min(y, f)), sqrt(f)), min(max(tanh(add(y, f)), log(sub(y, 1))), sign(max(f, y))))")
    result = simplify(tree, time_limit=0.0)
    assert result.note == "simplification stopped after 0 s"
    assert result.text == to_formula(tree, digits=3, ascii=True)
    assert result.latex == to_latex(tree)


def test_a_child_that_cannot_start_leaves_the_plain_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package's name `simplify` is the function; the module of that name is found in sys.modules.
    monkeypatch.setattr(sys.modules[simplify.__module__], "CHILD", "evomal.expressions.no_such_module")
    result = simplify(parse("abs(abs(f))"), [2.0, 3.0])
    assert (result.text, result.note) == ("abs(2*abs(3*f))", "simplification failed")


def test_a_child_that_does_not_stop_itself_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[simplify.__module__], "START_UP", 0.0)
    result = simplify(parse("abs(abs(f))"), time_limit=0.001)
    assert (result.text, result.note) == ("abs(abs(f))", "simplification stopped after 0.001 s")


def test_weights_are_checked_before_a_child_is_started() -> None:
    with pytest.raises(ExpressionError, match="has 1 edges"):
        simplify(parse("abs(f)"), [])


def test_a_script_without_main_guard_in_an_odd_folder_can_simplify(tmp_path: Path) -> None:
    # A file that would shadow the standard library, were the working directory searched.
    (tmp_path / "json.py").write_text("raise RuntimeError('shadowed')\n")
    code = "from evomal.expressions import *\nprint(simplify(parse('abs(abs(f))'), time_limit=30).text)\n"
    (tmp_path / "code").mkdir()
    script = tmp_path / "code" / "script.py"
    script.write_text(code)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Abs(f)\n"


def test_importing_the_room_imports_neither_torch_nor_sympy() -> None:
    code = "import sys, evomal.expressions; print(sorted({'torch', 'sympy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_formulas_of_max_min_and_log_are_all_simplified_and_keep_their_value() -> None:
    """A child for each would take long: its work is done here, and checked by plain arithmetic."""
    draw = random.Random(3)

    def formula(depth: int) -> str:
        if depth == 0:
            return draw.choice(["y", "f", "1", "-1"])
        if draw.random() < 0.6:
            return f"{draw.choice(['max', 'min', 'sub', 'mul'])}({formula(depth - 1)}, {formula(depth - 1)})"
        return f"{draw.choice(['log', 'abs'])}({formula(depth - 1)})"

    for expression in (parse(formula(2)) for _ in range(60)):
        plain, _ = _simplify_child._without_epsilon(str(expression), None)
        shown = _simplify_child._shorter(plain, 15)
        for y, f in ((1.0, 0.3), (0.0, 0.8), (-1.3, 0.4)):
            wanted = float(evaluate(expression, *(torch.tensor(value, dtype=torch.float64) for value in (y, f))))
            assert abs(_simplify_child._value(shown, y, f) - wanted) <= 1e-3 * (1 + abs(wanted))
