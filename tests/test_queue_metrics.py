"""Queues as their operator sees them: real brokers, a real client, the agent, its datagrams."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.servers.agent import Agent
from tests.servers.process import REPOSITORY, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

APP = "lengths"
PATIENCE = 15.0


class Gauges:
    """A StatsD as far as gauges go: the last value of each."""

    def __init__(self) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = f"statsd://127.0.0.1:{self._socket.getsockname()[1]}"
        self._known: dict[str, float] = {}

    def of(self, queue: str, metric: str) -> float | None:
        """The last value of a queue's gauge, None when none came."""
        self._read()
        return self._known.get(f"celery.{APP}.queue.{queue}.{metric}.all")

    def forget(self) -> None:
        """As one that was started anew."""
        self._read()
        self._known.clear()

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        try:
            while True:
                for line in self._socket.recv(65_536).decode().splitlines():
                    path, _, value = line.partition(":")
                    if value.endswith("|g"):
                        self._known[path] = float(value[:-2])
        except BlockingIOError:
            return


@pytest.fixture
def gauges() -> Iterator[Gauges]:
    """A receiver."""
    made = Gauges()
    yield made
    made.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """A fresh place on a real broker."""
    kind = {"redis": "redis_server", "rabbitmq": "rabbitmq"}[request.param]
    server: Redis | RabbitMQ = request.getfixturevalue(kind)
    return server.fresh_url()


def client_of(broker: str) -> Celery:
    """A client that tells of what it sends."""
    app = Celery(broker=broker)
    app.conf.task_send_sent_event = True
    return app


def send(app: Celery, queue: str, number: int) -> None:
    """So many tasks that nobody takes."""
    with app.connection_for_write() as connection:
        for _ in range(number):
            app.send_task("shop.pay", queue=queue, connection=connection)


def asked(*arguments: str, broker: str) -> subprocess.CompletedProcess[str]:
    """`celery-statsd queues`, once."""
    command = [sys.executable, "-m", "celery_statsd", "queues", "-b", broker, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_queue_is_told_with_no_worker_and_after_a_restart(
    broker: str, gauges: Gauges, tmp_path: Path
) -> None:
    """Its right length within a flush or two, and that nobody takes it where the broker knows;
    so whoever scales by it can scale up again."""
    flags = ("--probe-interval", "0.5", "--state-dir", str(tmp_path / "state"))
    agent = Agent(tmp_path, broker, [gauges.address], APP, *flags)
    app = client_of(broker)
    with agent:
        send(app, "etl", 3)
        wait_until(lambda: gauges.of("etl", "length") == 3, PATIENCE, "its length is told")
        assert 0 == gauges.of("etl", "level")
        if broker.startswith("amqp"):
            assert (0, 3) == (gauges.of("etl", "consumers"), gauges.of("etl", "unconsumed"))
        wait_until(lambda: gauges.of("etl", "oldest_age_s") is not None, PATIENCE, "its age")
        agent.stop()
        gauges.forget()
        send(app, "etl", 100)
        agent.listen()
        wait_until(lambda: gauges.of("etl", "length") == 103, PATIENCE, "it is told again")
        assert 1 == gauges.of("etl", "level")


def test_the_command_tells_the_same(broker: str) -> None:
    """As a table, as JSON, as an exit code."""
    send(client_of(broker), "etl", 5)
    levels = ("--queue-levels", '{"etl": [2, 4, 6]}')
    table = asked("-Q", "etl,mails", broker=broker)
    assert "etl" in table.stdout
    if broker.startswith("amqp"):
        assert (1, True) == (table.returncode, "nobody takes it" in table.stdout)
    else:
        assert (0, True) == (table.returncode, "good" in table.stdout)
    plain = asked("-Q", "etl,mails", "--json", *levels, broker=broker)
    assert {"etl": 5, "mails": 0} == json.loads(plain.stdout)
    assert 1 == plain.returncode
    send(client_of(broker), "etl", 1)
    whole = asked("-Q", "etl", "--json", "--long", *levels, broker=broker)
    told = json.loads(whole.stdout)["etl"]
    assert (6, 3) == (told["length"], told["level"])
    assert 2 == whole.returncode


def test_a_broker_that_does_not_answer_is_unknown_to_the_command() -> None:
    """3, as Nagios has it; and one sentence."""
    for broker in ("redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"):
        found = asked("-Q", "etl", broker=broker)
        assert (3, "") == (found.returncode, found.stdout)
        assert 1 == len([line for line in found.stderr.splitlines() if line])


def test_a_transport_whose_queues_cannot_be_seen_is_told() -> None:
    """With exit code 2 and the key."""
    found = asked(broker="memory://")
    assert 2 == found.returncode
    assert "broker" in found.stderr
