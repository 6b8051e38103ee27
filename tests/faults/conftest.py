"""What the fault tests share."""

from collections.abc import Iterator

import pytest

from tests.faults.stream import Statsd


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    """A StatsD that adds up."""
    server = Statsd()
    server.start()
    yield server
    server.close()
