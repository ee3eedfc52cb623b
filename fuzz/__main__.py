"""Fuzz one target for some minutes: python -m fuzz --minutes 5 loss_file.

With atheris (`pip install -e '.[fuzz]'`) the changes are led by what code they reach; without it hypothesis draws them.
What was found is written into the folder of --corpus and ends the run.
"""

import argparse
import importlib.util
import random
import sys
import time
from pathlib import Path
from typing import Any

LONGEST_INPUT = 20_000


def main() -> None:
    """Run a target for some minutes."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", help="such as loss_file; all are in fuzz/targets.py")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="inputs that reach new code, and finds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (given.corpus / given.target).mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is None:
        _with_hypothesis(given)
    else:
        _with_atheris(given)


def _with_atheris(given: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["evomal", "yaml"]):
        target = _target(given.target)
    from fuzz.mutation import mutated

    folder = given.corpus / given.target
    for number, sample in enumerate(target.samples()):
        (folder / f"sample{number}").write_bytes(sample)

    def change(data: bytes, longest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.3:
            return bytes(atheris.Mutate(data, longest))
        return mutated(data, draw, draw.choice((1, 1, 2, 4)))[:longest]

    options = [
        f"-max_total_time={round(given.minutes * 60)}", f"-max_len={LONGEST_INPUT}", f"-seed={given.seed or 1}",
        "-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=1", "-len_control=0",
        f"-artifact_prefix={given.corpus}/find-{given.target}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder)], target.check, custom_mutator=change)
    atheris.Fuzz()


def _with_hypothesis(given: argparse.Namespace) -> None:
    from hypothesis import HealthCheck, Phase, seed, settings
    from hypothesis import given as drawn

    from fuzz.inputs import inputs

    target = _target(given.target)
    until, done = time.monotonic() + 60 * given.minutes, 0

    def check(data: bytes) -> None:
        nonlocal done
        done += 1
        try:
            target.check(data)
        except BaseException:
            (given.corpus / f"find-{given.target}").write_bytes(data)  # the last one is the smallest
            raise

    batch: Any = settings(
        max_examples=100, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    number = given.seed
    while time.monotonic() < until:
        seed(number)(batch(drawn(inputs(target))(check)))()
        number += 1
    print(f"{given.target}: {done} inputs, nothing found")


def _target(name: str) -> Any:
    from fuzz.targets import TARGETS

    if name not in TARGETS:
        raise SystemExit(f"unknown target '{name}'; known: {', '.join(TARGETS)}")
    return TARGETS[name]


if __name__ == "__main__":
    main()
