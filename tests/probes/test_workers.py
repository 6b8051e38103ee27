"""Real workers are asked on real brokers: what they answer, and that nothing of it stays there."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from celery import Celery
from redis import Redis as Client

from celery_statsd.errors import AskRefused, BrokerLost, ConfigError
from celery_statsd.probes.workers import Inspector, Letter
from celery_statsd.source.base import Broker
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.worker import Cluster
from tests.source.rabbit import queues, vhost

PATIENCE = 5.0

ASKED = (
    *("active", "active_queues", "conf", "ping", "registered", "reserved", "revoked"),
    *("scheduled", "stats"),
)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    """A place of its own on a real broker."""
    server: Redis | RabbitMQ = request.getfixturevalue(
        {"redis": "redis_server"}.get(request.param, request.param)
    )
    return server.fresh_url()


@pytest.fixture(scope="module")
def cluster(url: str, clusters: Callable[[str], Cluster]) -> Cluster:
    """Two workers of different queues."""
    made = clusters(url)
    made.worker("one", "threads", ["q.any", "mails"], 3, "-O", "fair")
    made.worker("two", "solo", ["etl"], 1)
    return made


@pytest.fixture
def left(request: pytest.FixtureRequest, url: str) -> Callable[[], set[object]]:
    """Tells all that is at the broker: keys and members of sets, or queues and exchanges."""
    if url.startswith("redis"):

        def keys() -> set[object]:
            with Client.from_url(url) as client:
                found = set(client.scan_iter())
                sets = [key for key in found if client.type(key) == b"set"]
                return found | {(key, one) for key in sets for one in client.smembers(key)}

        return keys
    server: RabbitMQ = request.getfixturevalue("rabbitmq")

    def things() -> set[object]:
        exchanges = server.ctl("list_exchanges", "-p", vhost(url), "--no-table-headers")
        return {*exchanges.splitlines(), *map(tuple, queues(server, url, "name"))}

    return things


def names(cluster: Cluster) -> list[str]:
    return [worker.nodename for worker in cluster.workers]


def test_all_questions_are_answered_within_one_timeout(url: str, cluster: Cluster) -> None:
    """By each worker, in Celery's own words."""
    inspector = Inspector(Broker((url,)))
    began = time.monotonic()
    answers = inspector.ask(ASKED, 30.0, names(cluster))
    assert 10.0 > time.monotonic() - began
    one, two = (answers[name] for name in names(cluster))
    assert set(ASKED) == set(one) == set(two)
    assert {"q.any", "mails"} == {queue["name"] for queue in one["active_queues"]}
    assert ["etl"] == [queue["name"] for queue in two["active_queues"]]
    assert (3, 1) == (one["stats"]["pool"]["max-concurrency"], two["stats"]["prefetch_count"] // 4)
    assert {"ok": "pong"} == one["ping"]
    assert "shop.orders.create" in one["registered"]
    assert [[], [], []] == [two[question] for question in ("active", "reserved", "scheduled")]
    assert "workload" not in one["conf"].get("broker_url", "")
    assert 0 == inspector.unreadable


def test_the_answers_are_those_of_celery_itself(url: str, cluster: Cluster) -> None:
    """Its own inspect gives the same."""
    with Celery(broker=url) as app:
        inspect = app.control.inspect(timeout=PATIENCE, destination=names(cluster))
        expected = {
            question: getattr(inspect, question)() for question in ("active_queues", "registered")
        }
    answers = Inspector(Broker((url,))).ask(list(expected), PATIENCE, names(cluster))
    assert expected == {
        question: {name: told[question] for name, told in answers.items()} for question in expected
    }


def test_nothing_is_left_at_the_broker(
    url: str, cluster: Cluster, left: Callable[[], set[object]]
) -> None:
    """No queue, exchange, key or binding that was not there before; also of answers that come when
    nobody waits for them any more."""
    inspector = Inspector(Broker((url,)))
    inspector.ask(["ping"], PATIENCE, names(cluster))
    before = left()
    assert before
    for _ in range(3):
        inspector.ask(ASKED, 0.0)
        assert set(names(cluster)) == set(inspector.ask(["ping"], PATIENCE, names(cluster)))
    wait_until(lambda: left() <= before, PATIENCE, "nothing new is there")
    two = cluster.workers[1]
    os.kill(two.pid, signal.SIGSTOP)
    try:
        assert [two.nodename] != list(inspector.ask(ASKED, 0.2))
    finally:
        os.kill(two.pid, signal.SIGCONT)
    # It answers in order: what it had to say before has gone nowhere by then.
    inspector.ask(["ping"], PATIENCE, [two.nodename])
    wait_until(lambda: left() <= before, PATIENCE, "nothing new is there")


def test_who_does_not_answer_is_absent(url: str, cluster: Cluster) -> None:
    """It costs the others nothing but the timeout."""
    one, two = cluster.workers
    os.kill(two.pid, signal.SIGSTOP)
    try:
        answers = Inspector(Broker((url,))).ask(["ping", "stats"], 1.0)
    finally:
        os.kill(two.pid, signal.SIGCONT)
    assert {one.nodename: {"ping", "stats"}} == {name: set(told) for name, told in answers.items()}


def test_only_those_who_are_meant_answer(url: str, cluster: Cluster) -> None:
    """And it is over when they have."""
    one = names(cluster)[0]
    began = time.monotonic()
    assert {one: {"ping": {"ok": "pong"}}} == Inspector(Broker((url,))).ask(["ping"], 30.0, [one])
    assert 10.0 > time.monotonic() - began


def test_arguments_go_with_a_question(url: str, cluster: Cluster) -> None:
    """As `conf` takes one."""
    one = names(cluster)[0]
    asked = {"conf": {"with_defaults": True}}
    answers = Inspector(Broker((url,))).ask(asked, PATIENCE, [one])
    assert 4 == answers[one]["conf"]["worker_prefetch_multiplier"]


def test_events_are_enabled(url: str, cluster: Cluster) -> None:
    """Of these workers alone; whoever sends them already says so."""
    one, two = names(cluster)
    inspector = Inspector(Broker((url,)))
    assert {one: "task events enabled"} == inspector.enable_events([one], PATIENCE)
    assert {two: "task events already enabled"} == inspector.enable_events([two], PATIENCE)
    assert {} == inspector.enable_events([])


def test_nobody_is_asked_to_do_anything(url: str) -> None:
    """Only to tell."""
    with pytest.raises(ValueError, match="shutdown"):
        Inspector(Broker((url,))).ask(["shutdown"], 1.0)


def test_without_workers_nobody_answers(request: pytest.FixtureRequest, url: str) -> None:
    """That is no error."""
    name = "redis_server" if url.startswith("redis") else "rabbitmq"
    fresh = request.getfixturevalue(name).fresh_url()
    assert {} == Inspector(Broker((fresh,))).ask(["ping"], 0.3)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-python-serialize", b"\x80\x04."),
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("", b""),
    ],
)
def test_an_answer_that_is_not_plain_is_not_read(kind: str, body: bytes) -> None:
    """Nothing is unpickled; it is counted."""
    inspector = Inspector(Broker(("redis://localhost",)))
    assert [] == list(inspector._read(Letter("t", kind, "binary", body)))
    assert 1 == inspector.unreadable


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_gone_is_told(scheme: str) -> None:
    """And another one of the list is tried the next time."""
    inspector = Inspector(Broker((f"{scheme}://127.0.0.1:{free_port()}/0",) * 2))
    for _ in range(2):
        with pytest.raises(BrokerLost):
            inspector.ask(["ping"], 1.0)


def test_the_next_url_is_tried_after_a_failure(url: str, cluster: Cluster) -> None:
    """And the one that is good is kept."""
    dead = f"{url.partition(':')[0]}://127.0.0.1:{free_port()}/1"
    inspector = Inspector(Broker((dead, url)))
    with pytest.raises(BrokerLost):
        inspector.ask(["ping"], 1.0)
    for _ in range(2):
        assert set(names(cluster)) == set(inspector.ask(["ping"], PATIENCE, names(cluster)))


def test_other_transports_cannot_be_asked() -> None:
    """With the key."""
    with pytest.raises(ConfigError, match="broker"):
        Inspector(Broker(("memory://",)))


def test_who_may_not_ask_is_refused(redis_server: Redis, rabbitmq: RabbitMQ) -> None:
    """That is no lost broker."""
    url = redis_server.fresh_url()
    with Client.from_url(url) as client:
        client.execute_command(
            *("ACL", "SETUSER", "mute", "on", ">secret", "resetkeys", "resetchannels"),
            *("-@all", "+ping", "+select"),
        )
    with pytest.raises(AskRefused):
        Inspector(Broker((url.replace("redis://", "redis://mute:secret@"),))).ask(["ping"], 1.0)
    amqp = rabbitmq.fresh_url()
    rabbitmq.ctl("add_user", "mute", "secret")
    rabbitmq.ctl("set_permissions", "-p", vhost(amqp), "mute", "", "", ".*")
    with pytest.raises(AskRefused):
        Inspector(Broker((amqp.replace("guest:guest", "mute:secret"),))).ask(["ping"], 1.0)
