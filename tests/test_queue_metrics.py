"""Queues as their operator sees them: real brokers, a real client, the agent, its datagrams."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery

from celery_statsd.names import escape
from tests.servers.agent import Agent
from tests.servers.process import REPOSITORY, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.wire import Wire
from tests.servers.worker import Cluster

APP = "lengths"
PATIENCE = 15.0


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A receiver."""
    with Wire(APP) as made:
        yield made


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
    broker: str, wire: Wire, tmp_path: Path
) -> None:
    """Its right length within a flush or two, and that nobody takes it where the broker knows;
    so whoever scales by it can scale up again."""
    flags = ("--probe-interval", "0.5", "--state-dir", str(tmp_path / "state"))
    agent = Agent(tmp_path, broker, [wire.address], APP, *flags)
    app = client_of(broker)
    with agent:
        send(app, "etl", 3)
        wait_until(lambda: wire.queue("etl", "length") == 3, PATIENCE, "its length is told")
        assert 0 == wire.queue("etl", "level")
        if broker.startswith("amqp"):
            assert (0, 3) == (wire.queue("etl", "consumers"), wire.queue("etl", "unconsumed"))
        wait_until(lambda: wire.queue("etl", "oldest_age_s") is not None, PATIENCE, "its age")
        agent.stop()
        wire.forget()
        send(app, "etl", 100)
        agent.listen()
        wait_until(lambda: wire.queue("etl", "length") == 103, PATIENCE, "it is told again")
        assert 1 == wire.queue("etl", "level")


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


def test_what_waits_is_red_though_no_event_ever_came(
    broker: str, wire: Wire, tmp_path: Path
) -> None:
    """Neither a client nor a worker tells anything; it is red within seconds, after a restart of
    the agent too, and no longer when a worker takes it."""
    flags = ("--probe-interval", "0.5", "--inspect-interval", "2", "-Q", "etl")
    agent = Agent(tmp_path, broker, [wire.address], APP, *flags)
    app = client_of(broker)
    app.conf.task_send_sent_event = False
    send(app, "etl", 3)

    def is_red() -> bool:
        told = [wire.queue("etl", metric) for metric in ("length", "consumers", "unconsumed")]
        return told == [3, 0, 3] and wire.queue("etl", "safe_to_scale_down") == 0

    with agent:
        wait_until(is_red, PATIENCE, "it is red")
        agent.stop()
        wire.forget()
        agent.listen()
        wait_until(is_red, PATIENCE, "it is red again")
        with Cluster(tmp_path, broker) as cluster:
            cluster.worker("w", "threads", ["etl"], 2)
            wait_until(lambda: wire.queue("etl", "consumers") == 1, PATIENCE, "somebody takes it")
            wait_until(lambda: wire.queue("etl", "length") == 0, PATIENCE, "it is empty")
            assert 0 == wire.queue("etl", "unconsumed")
            is_safe = lambda: wire.queue("etl", "safe_to_scale_down") == 1  # noqa: E731
            wait_until(is_safe, PATIENCE, "nothing waits, nothing is held")


def test_what_is_wrong_is_told_of_real_workers(broker: str, wire: Wire, tmp_path: Path) -> None:
    """One task has all slots of a queue and others wait; other workers have nothing to do; and an
    ETA is too far off for Redis."""
    flags = ("--probe-interval", "0.5", "--inspect-interval", "2")
    app = client_of(broker)
    with (
        Agent(tmp_path, broker, [wire.address], APP, *flags),
        Cluster(tmp_path, broker) as cluster,
    ):
        cluster.worker("busy", "threads", ["etl"], 2)
        cluster.worker("idle", "threads", ["mails"], 2)
        wait_until(lambda: wire.queue("mails", "consumers") == 1, PATIENCE, "they are known")
        assert 1 == wire.queue("mails", "safe_to_scale_down")
        for name, seconds, number in (("media.encode", 60, 12), ("shop.orders.create", 0, 5)):
            for _ in range(number):
                app.send_task(name, (seconds,), queue="etl")
        for kind in ("head_of_line", "idle_elsewhere"):
            wait_until(lambda k=kind: wire.queue("etl", k) == 1, PATIENCE, f"{kind} is told")
        assert (0, 0) == (wire.queue("etl", "stuck"), wire.queue("etl", "safe_to_scale_down"))
        assert [0, 0] == [wire.queue("mails", kind) for kind in ("head_of_line", "idle_elsewhere")]
        app.send_task("shop.orders.create", queue="mails", countdown=7200)
        node = escape(cluster.workers[1].nodename)
        wait_until(lambda: wire.at(f"worker.{node}.scheduled") == 1, PATIENCE, "it keeps it")
        assert 7100 < (wire.at(f"worker.{node}.eta_ahead_s") or 0) <= 7200
        if broker.startswith("redis"):
            wait_until(lambda: wire.at(f"worker.{node}.redelivered") == 1, PATIENCE, "told")
        else:
            assert wire.at(f"worker.{node}.redelivered") is None
        wait_until(
            lambda: wire.queue("mails", "safe_to_scale_down") == 0, PATIENCE, "it is held by one"
        )


def test_of_partitions_the_first_looks(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """And asks; the others would tell the same once more."""
    broker, heard = rabbitmq.fresh_url(), [Wire(APP), Wire(APP)]
    with ExitStack() as stack:
        for part, wire in enumerate(heard, 1):
            flags = ("--partitions", "2", "--partition", str(part), "--probe-interval", "0.5")
            folder = tmp_path / str(part)
            folder.mkdir()
            more = ("-Q", "etl", "--inspect-interval", "2")
            agent = Agent(folder, broker, [wire.address], APP, *flags, *more)
            stack.enter_context(wire)
            stack.enter_context(agent)
        send(client_of(broker), "etl", 3)
        first, second = heard
        told = lambda: first.at("queue.etl.unconsumed", "p1") == 3  # noqa: E731
        wait_until(told, PATIENCE, "the first tells it")
        wait_until(lambda: second.known, PATIENCE, "the second speaks")
        assert not [path for path in second.known if ".queue.etl.length" in path]
