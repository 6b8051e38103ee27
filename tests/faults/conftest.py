"""What the fault tests share: receivers, and the table of the session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.receivers import Receiver, Statsd
from tests.faults.stream import Publisher, vhost
from tests.faults.table import LONG, MODE, SOAK, Row, Table
from tests.faults.trial import Trial
from tests.servers.rabbitmq import RabbitMQ

TABLE = Table()

RATE = 200.0
"""Attempts a second."""

at_length = pytest.mark.at_length
"""What takes too long for the short form."""

Under = Callable[..., Trial]
"""Begins a trial."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for."""
    unasked = [name for name, asked in (("at_length", LONG), ("soak", SOAK)) if not asked]
    out = [item for item in items if any(map(item.get_closest_marker, unasked))]
    if out:
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers of a kind, and ends them at the end."""
    with ExitStack() as stack:

        def start(kind: Callable[..., Receiver], *arguments: str) -> Receiver:
            receiver = kind(*arguments)
            receiver.start()
            stack.callback(receiver.close)
            return receiver

        yield start


@pytest.fixture
def statsd(receive: Callable[..., Receiver]) -> Receiver:
    """A StatsD that adds up."""
    return receive(Statsd)


@pytest.fixture
def under(rabbitmq: RabbitMQ, statsd: Receiver, tmp_path: Path) -> Iterator[Under]:
    """Begins a trial on RabbitMQ, on a vhost of its own.

    `port` is where the agent finds the broker, `sink` where the receiver, if not where they are;
    `ahead` the worker's clock in seconds, `env` what bends the agent (see `site`).
    """
    with ExitStack() as stack:

        def begin(
            *flags: str,
            receiver: Receiver | None = None,
            port: int | None = None,
            rate: float | None = RATE,
            ahead: float = 0.0,
            **how: Any,
        ) -> Trial:
            url = rabbitmq.fresh_url()
            stream = Publisher(rabbitmq.port, vhost(url), rate, ahead)
            theirs = url.replace(str(rabbitmq.port), str(port or rabbitmq.port))
            trial = Trial(tmp_path, "RabbitMQ", theirs, receiver or statsd, stream, *flags, **how)
            return stack.enter_context(trial)

        yield begin


@pytest.fixture
def record() -> Callable[[Row], None]:
    """Puts a row into the table of the session."""
    return TABLE.add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, where somebody asked for it."""
    if TABLE.rows and (MODE or SOAK):
        terminalreporter.section("faults")
        terminalreporter.write_line(TABLE.text())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the documents after a long run; a part of one, or one that failed, joins them."""
    if TABLE.rows and LONG:
        config = session.config
        all_of_it = [Path(__file__).parent] == [Path(arg).resolve() for arg in config.args]
        TABLE.write(whole=exitstatus == 0 and all_of_it and not config.option.keyword)
