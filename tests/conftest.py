"""What tests of several rooms share."""

from collections.abc import Iterator

import pytest

from helpers.forks import Forks


@pytest.fixture(scope="session")
def fork() -> Iterator[Forks]:
    """Follows orders in forks of a warm process, which is started once."""
    forks = Forks()
    yield forks
    forks.close()
