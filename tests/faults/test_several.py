"""Several agents of one group on RabbitMQ, ended and started at random: each event once."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.receivers import Statsd
from tests.faults.stream import Publisher
from tests.servers.agent import Agent
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.e2e

SECONDS = float(os.environ.get("SEVERAL_SECONDS", "10"))
"""How long agents come and go; `make faults` sets 60."""

RATE = 300.0
"""Attempts published in a second."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_three_agents_count_each_event_once(
    number: int, statsd: Statsd, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Whoever is ended, the others count on, and it goes on with what it had when it is back."""
    url, chance = rabbitmq.fresh_url(), random.Random(number)
    agents = [_agent(tmp_path / str(place), url, statsd.port) for place in range(3)]
    for agent in agents:
        agent.listen()
    publisher = Publisher(rabbitmq.port, url.rpartition("/")[2], RATE)
    publisher.start()
    deadline, ended = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        one = chance.choice(agents)
        moment = time.monotonic() + chance.uniform(0.2, 1.0)
        wait_until(lambda until=moment: time.monotonic() > until, 2, "the moment has come")
        os.kill(one.pid, number)
        one.stop()
        one.listen()
        ended += 1
    published = publisher.stop()
    wait_until(lambda: statsd.count("succeeded") >= published, 20, "all are counted")
    for agent in agents:
        assert 0 == agent.stop()
    doubled = statsd.count("succeeded") - published
    print(f"{ended} times signal {number}: {published} published, {doubled} counted twice")

    assert 0 <= doubled <= (ended * RATE if number == signal.SIGKILL else 0)


def _agent(folder: Path, url: str, port: int) -> Agent:
    folder.mkdir()
    flags = ("--state-dir", str(folder / "state"), "--flush-interval", "0.5")
    return Agent(folder, url, [f"statsd://127.0.0.1:{port}"], "faults", *flags)
