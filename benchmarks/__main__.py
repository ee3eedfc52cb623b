"""Run benchmarks by name: python -m benchmarks [NAME …], or one with its own options: python -m benchmarks NAME --help.

Without a name the short ones run. The long ones (generation, search, … suite) must be named.
"""

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from benchmarks.measuring import machine, one_thread

SHORT = {
    "single_call": "meta_gradient",
    "in_a_generation": "meta_gradient",
    "base_step": "base_step",
    "candidate": "candidate",
    "parts": "parts",
}
LONG = {
    name: name
    for name in (
        "generation",
        "search",
        "memory",
        "racing",
        "rejection",
        "lanes",
        "gpu",
        "suite",
        "cluster",
        "alternative",
    )
} | {"foretelling": "suite.foretelling"}
MODULES = SHORT | LONG
"""The module of each benchmark, a function of that name; imported when it is run."""


def benchmark(name: str) -> Callable[..., Any]:
    """The function of that name."""
    if name not in MODULES:
        raise SystemExit(f"unknown benchmark '{name}'; known: {', '.join(MODULES)}")
    return getattr(import_module(f"benchmarks.{MODULES[name]}"), name)


def options(function: Callable[..., Any], given: Sequence[str]) -> dict[str, Any]:
    """The keyword arguments that options stand for: `--meta-steps 50` is ``meta_steps=50``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {function.__name__}",
        description=inspect.getdoc(function),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        kinds = [*(kind for kind in get_args(parameter.annotation) if kind is not type(None)), parameter.annotation]
        how: dict[str, Any] = {"action": "store_true"} if kinds[0] is bool else {"type": kinds[0], "metavar": "X"}
        if kinds[0] in (int, float, str, bool, Path):
            parser.add_argument("--" + name.replace("_", "-"), default=parameter.default, **how)
    return vars(parser.parse_args(given))


def main() -> None:
    """Run the benchmarks that are named, or all."""
    arguments = sys.argv[1:]
    first = next((place for place, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    names, given = arguments[:first], arguments[first:]
    if given and len(names) != 1:
        raise SystemExit(f"options belong to one benchmark: python -m benchmarks NAME {' '.join(given)}")
    functions = [benchmark(name) for name in names or SHORT]
    calls = [(function, options(function, given) if given else {}) for function in functions]
    one_thread()
    print(machine())
    for function, keywords in calls:
        function(**keywords)


if __name__ == "__main__":
    main()
