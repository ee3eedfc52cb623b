"""What tests and doctests must not inherit from whoever starts them."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# Doctests are looked for in every file; these two can be read only where Triton is.
collect_ignore_glob = [] if find_spec("triton") else ["src/evomal/*/*_kernels.py"]

LONG = ("tests/faults", "tests/executors", "tests/test_benchmarks.py", "tests/test_examples.py", "tests/test_manual.py")
"""Of these a file takes longest: they come first, so that several processes end together."""

INHERITED = ("EVOMAL_TRACEBACK", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "RAY_ADDRESS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the order within a file and of the others stays as it is."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session", autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """A background job of a script ignores Ctrl-C, and with it all that it starts; others have other umasks."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.getsignal(number) for number in wanted}
    for number, handler in wanted.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    mask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        for name in INHERITED:
            patch.delenv(name, raising=False)
        yield
    os.umask(mask)
    for number, handler in before.items():
        signal.signal(number, handler)
