from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from evomal.cli import main

SMALL = [
    *("--preset", "paper-mnist", "--dataset", "digits", "--model", "mlp", "--generations", "2", "--population", "4"),
    *("--meta-steps", "3", "--partial-steps", "20"),
    *("--rejection-steps", "5", "--rejection-lr", "0.1", "--rejection-threshold", "0.05"),
]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., Ended]:
    """Runs a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOMAL_TRACEBACK", raising=False)

    def run(*arguments: object) -> Ended:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture(scope="session")
def learned(tmp_path_factory) -> Path:
    """A run folder; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("learned") / "a"
    assert main(["learn", *SMALL, "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def small() -> list[str]:
    return list(SMALL)
