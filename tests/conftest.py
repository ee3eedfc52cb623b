"""What tests of several rooms share."""

import sys
from collections.abc import Iterator

import hypothesis
import pytest

from helpers import forks
from helpers.forks import Forks

# The same examples each time, however slow the machine: what fails, fails for a reason. `python -m fuzz` looks further.
hypothesis.settings.register_profile("evomal", deadline=None, derandomize=True)
hypothesis.settings.load_profile("evomal")


@pytest.fixture(scope="session")
def fork() -> Iterator[Forks]:
    """Follows orders in forks of a warm process, which is started when it is first needed."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture(scope="session", autouse=True)
def _warm_workers(fork) -> Iterator[None]:
    """Workers of this process are forks of the warm one, too; tests/executors has real ones."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            patch.setattr(forks.loky, "fork_exec", fork.worker)
        yield
