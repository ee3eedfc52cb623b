"""The child process of `simplify`: reads a request on standard input, answers in lines of JSON.

The plain formula is answered first and the better one last, so that whoever waits has something when time
is up.
"""

import json
import os
import sys
import threading
from typing import Any

from evomal.expressions.operators import EPSILON, TERMINALS
from evomal.expressions.simplify import TIMED_OUT, to_sympy
from evomal.expressions.text import parse

# Away from the kinks and from each other: two formulas that agree at all of them are taken to be equal.
_POINTS = ((0.37, 0.61), (-1.3, 0.42), (1.7, -0.83), (-0.21, -2.9))
# What classes meet: a target of 0 is where a logarithm or a root may need its ε.
_CLASSES = ((0.0, 0.31), (1.0, 0.31), (0.0, 0.87), (1.0, 0.87))


def main() -> None:
    """Answer one request, and stop by an own clock whatever SymPy is doing."""
    request = json.load(sys.stdin)
    import sympy  # noqa: F401  (its import does not count)

    clock = threading.Timer(request["time_limit"], os._exit, (TIMED_OUT,))
    clock.daemon = True
    clock.start()
    plain, notes = _without_epsilon(request["formula"], request["weights"])
    _answer(_shown(plain, request["digits"]), notes, done=False)
    _answer(_shorter(plain, request["digits"]), notes, done=True)


def _without_epsilon(formula: str, weights: list[float] | None) -> tuple[Any, list[str]]:
    """The formula without ε, unless a logarithm then becomes infinite, also at a target of 0."""
    import sympy

    expression = parse(formula)
    protected = to_sympy(expression, weights, EPSILON)
    try:
        bare = to_sympy(expression, weights, 0.0)
    except ValueError:  # Max and Min cannot compare an infinity
        return protected, []
    if bare.has(sympy.oo, sympy.zoo, sympy.nan) or not _same_values(bare, protected, 1e-3, _POINTS + _CLASSES):
        return protected, []
    return _with_real_logs(bare), ["ε omitted"] if bare != protected else []


def _with_real_logs(formula: Any) -> Any:
    """The formula rebuilt with logarithms known to be real, as protected ones are: √(log²) becomes |log|."""
    import sympy

    names: dict[Any, Any] = {}

    def named(argument: Any) -> Any:
        return names.setdefault(sympy.log(argument), sympy.Dummy(real=True))

    rebuilt = formula.replace(sympy.log, named)
    for logarithm, name in reversed(names.items()):  # outer ones first: they contain the names of inner ones
        rebuilt = rebuilt.xreplace({name: logarithm})
    return rebuilt


def _shorter(plain: Any, digits: int) -> Any:
    import sympy

    shown = [_shown(plain, digits)]
    try:
        simplified = sympy.simplify(plain)
    except (ValueError, TypeError, NotImplementedError, ZeroDivisionError):  # SymPy's own limits, seen with Max and Min
        return shown[0]
    if _same_values(simplified, plain, tolerance=1e-6):
        shown.append(_shown(simplified, digits))
    return min(shown, key=lambda formula: len(str(formula)))


def _same_values(first: Any, second: Any, tolerance: float, points: tuple[tuple[float, float], ...] = _POINTS) -> bool:
    """Whether two formulas agree, relatively, at a few points."""
    for y, f in points:
        a, b = (_value(formula, y, f) for formula in (first, second))
        if not abs(a - b) <= tolerance * (1 + abs(b)):
            return False
    return True


def _value(formula: Any, y: float, f: float) -> complex:
    """The number that a formula has at a point; NaN where it has none, such as at the infinity of a logarithm."""
    # Further terminals differ from point to point too, within what they may be.
    values = {symbol: {"y": y, "f": f}.get(symbol.name, 0.05 + abs(f) / 3) for symbol in formula.free_symbols}
    for put_in in (_substituted, _replaced):
        try:
            return complex(put_in(formula, values))
        except (TypeError, ValueError):  # infinite; or Max and Min cannot compare what evalf made of a difference of 0
            continue
    return complex("nan")


def _substituted(formula: Any, values: dict[Any, float]) -> Any:
    return formula.evalf(subs=values)


def _replaced(formula: Any, values: dict[Any, float]) -> Any:
    """The formula at numbers that are put in before anything is evaluated: differences of equal ones are 0."""
    import sympy

    return formula.xreplace({symbol: sympy.Float(value) for symbol, value in values.items()}).evalf()


def _shown(formula: Any, digits: int) -> Any:
    """The formula with its decimals rounded, and whole ones without a decimal point."""
    import sympy

    rounded = {number: sympy.Float(number, digits) for number in formula.atoms(sympy.Float)}
    whole = {number: sympy.Integer(value) for number, value in rounded.items() if float(value).is_integer()}
    return formula.xreplace({**rounded, **whole})


def _answer(formula: Any, notes: list[str], *, done: bool) -> None:
    import sympy

    names = {symbol: TERMINALS[symbol.name].latex for symbol in formula.free_symbols}
    latex = sympy.latex(formula, symbol_names=names)
    print(json.dumps({"text": str(formula), "latex": latex, "notes": notes, "done": done}), flush=True)


if __name__ == "__main__":
    main()
