"""Run all benchmarks, or those named: python -m benchmarks [single_call in_a_generation base_step candidate]."""

import sys

from benchmarks.base_step import base_step
from benchmarks.candidate import candidate
from benchmarks.measuring import machine, one_thread
from benchmarks.meta_gradient import in_a_generation, single_call

BENCHMARKS = {f.__name__: f for f in (single_call, in_a_generation, base_step, candidate)}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise SystemExit(f"unknown benchmark '{unknown[0]}'; known: {', '.join(BENCHMARKS)}")
    one_thread()
    print(machine())
    for name in names:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
