"""Who looks and who asks, by the settings."""

import io
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from celery_statsd.chronicle import Chronicle
from celery_statsd.config import load
from celery_statsd.interview import PATIENCE
from celery_statsd.log import Log
from celery_statsd.lookout import Lookout
from celery_statsd.pipeline import Pipeline
from celery_statsd.probes.redis_mailbox import LINGERING
from tests.bodies import NOON, Process, body, client
from tests.servers.agent import Agent as AgentProcess
from tests.servers.process import wait_until
from tests.servers.redis import Redis
from tests.servers.wire import Wire
from tests.servers.worker import Cluster

LOG = Log(stream=io.StringIO())


def lookout(**settings: Any) -> tuple[Lookout | None, Chronicle]:
    chronicle = Chronicle(Pipeline, (), LOG)
    chronicle.open(None, NOON)
    made = load({key: str(value) for key, value in settings.items()}, {}, None, dict)
    return Lookout.of(made, chronicle, threading.Lock(), lambda: True, LOG), chronicle


@pytest.mark.parametrize(
    ("settings", "looks", "asks"),
    [
        ({}, True, True),
        ({"broker": "redis://h"}, True, True),
        ({"broker": "memory://"}, False, False),
        ({"probes": "false"}, False, False),
        ({"inspect_interval": 0}, True, False),
        ({"scope": "host"}, False, False),
        ({"partitions": 3, "partition": 1}, True, True),
        ({"partitions": 3, "partition": 2}, False, False),
    ],
)
def test_one_agent_of_a_cluster_looks(settings: dict[str, Any], looks: bool, asks: bool) -> None:
    """Of partitions the first; a host's not."""
    made, _ = lookout(**settings)
    assert looks is bool(made)
    assert asks is bool(made and made.interview)


def test_queues_are_known_by_settings_events_and_workers() -> None:
    """Each once, in this order."""
    made, chronicle = lookout(queues="etl,mails")
    assert made
    assert made.interview
    chronicle.feed([body(client().sent("a", NOON, queue="pay"))], NOON)
    chronicle.feed([body(Process("w@h").beat(NOON, 0))], NOON)
    assert ["etl", "mails", "pay"] == made.survey._names()
    assert ["w@h"] == list(made.interview._hands())


@pytest.mark.parametrize("kind", ["redis_server", "rabbitmq"])
def test_one_of_two_agents_asks_and_the_other_goes_on(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    """Each tells how often it has asked: who stands by, never; when the first is killed, the other
    one does. (On RabbitMQ once it is served: a worker beats.)"""
    url = request.getfixturevalue(kind).fresh_url()
    wire, flags = Wire("asked"), ("--inspect-interval", "1", "--probe-interval", "1")
    broker = url.partition(":")[0]

    def asks(host: str) -> float | None:
        return wire.at(f"broker.{broker}.asks", host)

    with ExitStack() as stack:
        stack.enter_context(wire)
        stack.enter_context(Cluster(tmp_path, url)).worker("w", "threads", ["q"], 1)
        agents = []
        for host in ("a", "b"):
            (tmp_path / host).mkdir()
            more = (*flags, "--host", host)
            agents.append(AgentProcess(tmp_path / host, url, [wire.address], "asked", *more))
            stack.enter_context(agents[-1])
            wait_until(lambda: (asks("a") or 0) >= 3, 30, "the first one asks")
        wait_until(lambda: (asks("a") or 0) >= 9, 30, "it goes on")
        assert 0 == asks("b")
        agents[0].kill()
        wait_until(lambda: (asks("b") or 0) >= 3, 30, "the other one asks")


def test_a_stop_in_the_middle_of_a_question_leaves_nothing(
    redis_server: Redis, tmp_path: Path
) -> None:
    """It waits for no answer, and clears away."""
    url = redis_server.fresh_url()
    flags = ("--inspect-interval", "0.5")
    agent = AgentProcess(tmp_path, url, ["statsd://127.0.0.1:9"], "chorus", *flags)
    with agent, Client.from_url(url) as client:
        wait_until(lambda: client.keys("*.reply.*"), 10, "it asks")
        began = time.monotonic()
        assert 0 == agent.stop()
        assert PATIENCE > time.monotonic() - began
        wait_until(lambda: not client.keys("*reply*"), LINGERING + 2, "nothing is left")
