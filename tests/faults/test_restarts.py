"""The agent stopped and killed at random moments under load, on RabbitMQ: every event that the
broker took is counted, once after clean stops, and after kills at most a flush of them twice."""

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

RESTARTS = int(os.environ.get("RESTARTS", "6"))
"""How often each way; `make faults` sets 50."""

RATE = 300.0
"""Attempts published in a second."""


def restarted(number: int, statsd: Statsd, rabbitmq: RabbitMQ, folder: Path) -> int:
    """How many attempts were published while the agent was ended by that signal RESTARTS times;
    in the end all that could be counted has been."""
    url = rabbitmq.fresh_url()
    flags = ("--state-dir", str(folder / "state"), "--flush-interval", "0.5")
    agent = Agent(folder, url, [f"statsd://127.0.0.1:{statsd.port}"], "faults", *flags)
    chance = random.Random(number)
    agent.listen()
    publisher = Publisher(rabbitmq.port, url.rpartition("/")[2], RATE)
    publisher.start()
    for _ in range(RESTARTS):
        _wait(chance.uniform(0.3, 1.5))
        os.kill(agent.pid, number)
        agent.stop()
        agent.listen()
    published = publisher.stop()
    wait_until(lambda: statsd.count("succeeded") >= published, 20, "all are counted")
    assert 0 == agent.stop()
    return published


def _wait(seconds: float) -> None:
    """Let the load go on for a while: the moment of the fault is the test's to choose."""
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > deadline, seconds + 1, "the moment has come")


def test_clean_stops_lose_and_double_nothing(
    statsd: Statsd, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """SIGTERM at any moment: what was published was counted, to the unit."""
    published = restarted(signal.SIGTERM, statsd, rabbitmq, tmp_path)

    assert published == statsd.count("succeeded")
    assert published == statsd.count("received")
    assert 0 == statsd.count("found")


def test_kills_lose_nothing_and_double_a_flush_at_most(
    statsd: Statsd, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """SIGKILL at any moment: nothing is missing; each kill may repeat the flush in hand."""
    published = restarted(signal.SIGKILL, statsd, rabbitmq, tmp_path)
    doubled = statsd.count("succeeded") - published
    print(f"{RESTARTS} kills: {published} published, {doubled} counted twice")

    assert 0 <= doubled <= RESTARTS * RATE
    assert 0 == statsd.count("found")
