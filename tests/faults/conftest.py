"""What the fault tests share: receivers, and the table of the session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.faults.receivers import Receiver, Statsd
from tests.faults.table import LONG, MODE, Row, Table

TABLE = Table()


@pytest.fixture
def receive() -> Iterator[Callable[[type[Receiver]], Receiver]]:
    """Starts receivers, and ends them at the end."""
    with ExitStack() as stack:

        def start(kind: type[Receiver]) -> Receiver:
            receiver = kind()
            receiver.start()
            stack.callback(receiver.close)
            return receiver

        yield start


@pytest.fixture
def statsd(receive: Callable[[type[Receiver]], Receiver]) -> Receiver:
    """A StatsD that adds up."""
    return receive(Statsd)


@pytest.fixture
def record() -> Callable[[Row], None]:
    """Puts a row into the table of the session."""
    return TABLE.add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, where somebody asked for it."""
    if TABLE.rows and MODE:
        terminalreporter.section("faults")
        terminalreporter.write_line(TABLE.text())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the documents after a long run; a part of one, or one that failed, joins them."""
    if TABLE.rows and LONG:
        TABLE.write(whole=exitstatus == 0 and not session.config.option.keyword)
