"""RabbitMQ's management API: all that rabbitmqctl tells, by three requests."""

import time
from collections.abc import Callable

import amqp
import pytest

from celery_statsd.errors import BrokerLost
from celery_statsd.probes.base import QueueFacts, Sight
from celery_statsd.probes.management import ManagementProbe
from celery_statsd.source.base import Broker
from tests.servers.process import free_port, wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel, queues, vhost

PATIENCE = 30.0
"""Seconds: the API's numbers are as old as RabbitMQ's statistics."""


def probe_of(rabbitmq: RabbitMQ, url: str, login: str = "guest:guest") -> ManagementProbe:
    api = f"http://{login}@127.0.0.1:{rabbitmq.management_port}"
    return ManagementProbe(Broker((url,), management=api))


def sight_when(probe: ManagementProbe, holds: Callable[[dict[str, QueueFacts]], bool]) -> Sight:
    """The first look at which that holds of the queues."""
    last: list[Sight] = []

    def look() -> bool:
        last[:] = [probe.look(["etl", "gone"])]
        return holds({facts.name: facts for facts in last[0].queues})

    wait_until(look, PATIENCE, "the statistics are new", poll=0.2)
    return last[0]


def test_what_rabbitmqctl_tells_is_told(rabbitmq: RabbitMQ) -> None:
    """Ready, held, consumers, memory; also of durable queues nobody asked for; not of others."""
    url = rabbitmq.fresh_url()
    probe = probe_of(rabbitmq, url)
    with channel(url, confirms=True) as plain, channel(url) as worker:
        for queue in ("mails", "etl", "celeryev.statsd.x"):
            plain.queue_declare(queue, durable=True, auto_delete=False)
        plain.queue_declare("passing", durable=False, auto_delete=True)
        for _ in range(5):
            plain.basic_publish(amqp.Message("x"), "", "mails")
        worker.basic_qos(0, 2, False)
        worker.basic_consume("mails", callback=lambda _: None)
        worker.connection.drain_events(timeout=5)
        sight_when(probe, _is_told_whole)
        wait_until(
            lambda: probe.look([]).memory_bytes is not None, PATIENCE, "the node's statistics"
        )
        sight = probe.look(["etl", "gone"])
        columns = ("name", "messages_ready", "messages_unacknowledged", "consumers")
        rows = {name: tuple(map(int, rest)) for name, *rest in queues(rabbitmq, url, *columns)}
    found = {f.name: (f.length, f.unacked, f.consumers) for f in sight.queues}
    assert {"etl": rows["etl"], "gone": (0, 0, 0), "mails": rows["mails"]} == found
    assert ["etl", "gone", "mails"] == list(found)
    memory = {facts.name: facts.memory_bytes for facts in sight.queues}
    assert 0 < (memory["mails"] or 0) < 10_000_000
    assert 2 <= (sight.connections or 0)
    assert 10_000_000 < (sight.memory_bytes or 0)


def test_the_age_of_the_oldest_is_told_where_messages_have_a_time(rabbitmq: RabbitMQ) -> None:
    """The head's timestamp; without one it is not known."""
    url = rabbitmq.fresh_url()
    probe = probe_of(rabbitmq, url)
    sent = int(time.time()) - 100
    with channel(url, confirms=True) as plain:
        for queue in ("etl", "mails"):
            plain.queue_declare(queue, durable=True, auto_delete=False)
        plain.basic_publish(amqp.Message("x", timestamp=sent), "", "etl")
        plain.basic_publish(amqp.Message("x"), "", "mails")
        sight = sight_when(probe, lambda found: bool(found["mails"].length and _is_dated(found)))
    assert {"etl": sent, "mails": None, "gone": None} == {
        facts.name: facts.oldest_at for facts in sight.queues
    }


def _is_told_whole(found: dict[str, QueueFacts]) -> bool:
    """RabbitMQ keeps the counts of messages apart from the rest, and tells both some time later."""
    mails, etl = found["mails"], found["etl"]
    told = (mails.length, mails.unacked, mails.consumers, etl.consumers) == (3, 2, 1, 0)
    return told and None not in (mails.memory_bytes, etl.memory_bytes, etl.length)


def _is_dated(found: dict[str, QueueFacts]) -> bool:
    """RabbitMQ counts a message before it looks at its head."""
    return found["etl"].length == 1 and found["etl"].oldest_at is not None


def test_a_user_who_may_not_see_nodes_is_told_the_rest(rabbitmq: RabbitMQ) -> None:
    """The tag `management` is enough for the queues."""
    url = rabbitmq.fresh_url()
    rabbitmq.ctl("add_user", "watcher", "p@ss")
    rabbitmq.ctl("set_user_tags", "watcher", "management")
    rabbitmq.ctl("set_permissions", "-p", vhost(url), "watcher", "^$", "^$", ".*")
    with channel(url, confirms=True) as plain:
        plain.queue_declare("etl", durable=True, auto_delete=False)
        probe = probe_of(rabbitmq, url, "watcher:p%40ss")
        sight = sight_when(probe, lambda found: found["etl"].length == 0)
    assert sight.memory_bytes is None
    assert ["etl", "gone"] == [facts.name for facts in sight.queues]


@pytest.mark.parametrize("login", ["guest:wrong", "nobody:guest"])
def test_a_refused_login_is_told_without_it(rabbitmq: RabbitMQ, login: str) -> None:
    """By the address alone."""
    with pytest.raises(BrokerLost, match="answers 401") as told:
        probe_of(rabbitmq, rabbitmq.url, login).look(["q"])
    assert login.partition(":")[2] not in str(told.value).replace("guest", "")


def test_an_api_that_is_not_there_is_told() -> None:
    """As any lost broker."""
    probe = ManagementProbe(Broker(("amqp://h",), management=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(BrokerLost, match="does not answer"):
        probe.look([])
    probe.close()


def test_the_queues_of_all_vhosts_are_told_if_that_is_asked_for(rabbitmq: RabbitMQ) -> None:
    """Those of others with their vhost before them."""
    mine, other = rabbitmq.fresh_url(), rabbitmq.fresh_url()
    for url, number in ((mine, 1), (other, 2)):
        with channel(url, confirms=True) as plain:
            plain.queue_declare("etl", durable=True, auto_delete=False)
            for _ in range(number):
                plain.basic_publish(amqp.Message("x"), "", "etl")
    api = f"http://guest:guest@127.0.0.1:{rabbitmq.management_port}"
    probe = ManagementProbe(Broker((mine,), management=api, all_vhosts=True))
    theirs = f"{vhost(other)}/etl"

    def told(queues: dict[str, QueueFacts]) -> bool:
        found = [queues[name].length if name in queues else None for name in ("etl", theirs)]
        return found == [1, 2]

    sight_when(probe, told)
    alone = {facts.name for facts in probe_of(rabbitmq, mine).look([]).queues}
    assert {"etl"} == alone
