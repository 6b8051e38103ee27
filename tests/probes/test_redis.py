"""Redis: lengths as they are, whatever kombu calls the lists."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from redis import Redis as Client

from celery_statsd.errors import BrokerLost
from celery_statsd.probes.base import QueueFacts, Sight
from celery_statsd.probes.redis import MOST_HELD, RedisProbe
from celery_statsd.source.base import Broker
from tests.servers.redis import Redis

SEP = "\x06\x16"


@pytest.fixture
def url(redis_server: Redis) -> str:
    """A database of its own."""
    return redis_server.fresh_url()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A plain client of it."""
    with Client.from_url(url) as made:
        yield made


def look(url: str, *queues: str, **options: Any) -> Sight:
    """One look."""
    probe = RedisProbe(Broker((url,), transport_options=options))
    try:
        return probe.look(queues)
    finally:
        probe.close()


def lengths(sight: Sight) -> dict[str, int | None]:
    return {facts.name: facts.length for facts in sight.queues}


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize(
    ("options", "lists"),
    [
        ({}, ["q", f"q{SEP}3", f"q{SEP}6", f"q{SEP}9"]),
        ({"priority_steps": [0, 1, 2]}, ["q", f"q{SEP}1", f"q{SEP}2"]),
        ({"sep": ":", "priority_steps": [0, 5]}, ["q", "q:5"]),
        ({"queue_order_strategy": "priority"}, ["q", f"q{SEP}3", f"q{SEP}6", f"q{SEP}9"]),
    ],
)
def test_all_priorities_are_added_up(
    url: str, client: Client, options: dict[str, Any], lists: list[str], prefix: str
) -> None:
    """Each list counts, with any steps, separator and key prefix; a key that is not there is 0."""
    for number, name in enumerate(lists, 1):
        client.lpush(f"{prefix}{name}", *(["x"] * number))
    more = {"global_keyprefix": prefix} if prefix else {}
    sight = look(url, "q", "empty", **options, **more)
    assert {"q": sum(range(len(lists) + 1)), "empty": 0} == lengths(sight)
    facts = {facts.name: facts for facts in sight.queues}
    assert 0 < (facts["q"].memory_bytes or 0)
    assert 0 == facts["empty"].memory_bytes


def test_lengths_are_those_of_celery(url: str) -> None:
    """What an app has sent, of any priority, is what waits."""
    app = Celery(broker=url)
    app.conf.broker_transport_options = {"queue_order_strategy": "priority"}
    with app.connection_for_write() as connection:
        for priority in range(10):
            app.send_task("t", queue="mails", priority=priority, connection=connection)
        app.send_task("t", queue="etl", connection=connection)
    assert {"mails": 10, "etl": 1} == lengths(look(url, "mails", "etl"))


def test_what_workers_hold_is_told_by_queue(url: str) -> None:
    """Whether the queue's name is the routing key, or is bound by another one."""
    bound = Queue("etl", Exchange("data", "direct"), routing_key="nightly")
    with Connection(url) as connection, connection.channel() as channel:
        bound(channel).declare()
        Queue("mails")(channel).declare()
        producer = connection.Producer(channel)
        for _ in range(3):
            producer.publish({}, exchange="data", routing_key="nightly")
            producer.publish({}, exchange="", routing_key="mails")
        held = [bound(channel).get() for _ in range(2)] + [Queue("mails")(channel).get()]
        assert all(held)
        sight = look(url, "etl", "mails", "other")
        found = {facts.name: (facts.length, facts.unacked) for facts in sight.queues}
    assert {"etl": (1, 2), "mails": (2, 1), "other": (0, 0)} == found


def test_too_many_held_are_not_looked_through(url: str, client: Client) -> None:
    """Then no queue's share is told, rather than a wrong one."""
    client.hset("unacked", mapping={str(n): '[{}, null, "q"]' for n in range(MOST_HELD)})
    assert MOST_HELD == look(url, "q").queues[0].unacked
    client.hset("unacked", "one more", "x")
    assert look(url, "q").queues[0].unacked is None


def test_rubbish_among_what_is_held_is_no_queues(url: str, client: Client) -> None:
    """Whatever else somebody keeps there."""
    client.hset("unacked", mapping={"a": "rubbish", "b": '["x"]', "c": '[{}, "", "q"]'})
    assert 1 == look(url, "q").queues[0].unacked


def test_a_key_of_another_kind_has_no_length(url: str, client: Client) -> None:
    """It is not 0: nobody knows."""
    client.set("q", "text")
    client.lpush("r", "x")
    assert {"q": None, "r": 1} == lengths(look(url, "q", "r"))


def test_the_broker_itself_is_seen(url: str) -> None:
    """Its clients, its memory, and how long it takes to answer."""
    sight = look(url)
    assert (sight.connections or 0) >= 1
    assert (sight.memory_bytes or 0) > 100_000
    assert 0 < sight.ping < 5


def test_who_may_not_ask_is_told_less(url: str, client: Client) -> None:
    """Memory and clients stay unknown; lengths are told as far as the keys are allowed."""
    client.lpush("mine", "x")
    client.execute_command(
        *("ACL", "SETUSER", "watcher", "on", ">secret", "resetkeys", "~mine*", "~unacked"),
        *("-@all", "+ping", "+llen", "+hlen", "+hscan", "+smembers", "+select"),
    )
    sight = look(url.replace("redis://", "redis://watcher:secret@"), "mine", "theirs")
    assert (None, None) == (sight.connections, sight.memory_bytes)
    assert [QueueFacts("mine", 1, 0), QueueFacts("theirs", None, 0)] == list(sight.queues)
    assert {"theirs"} == sight.refused


def test_a_broker_that_is_gone_is_told_and_found_again(tmp_path: Any) -> None:
    """By the same probe."""
    with Redis(tmp_path) as server:
        probe = RedisProbe(Broker((server.url,)))
        assert {"q": 0} == lengths(probe.look(["q"]))
        server.kill()
        for _ in range(2):
            with pytest.raises(BrokerLost):
                probe.look(["q"])
        server.start()
        assert {"q": 0} == lengths(probe.look(["q"]))
        probe.close()


def test_many_queues_cost_no_more_round_trips(tmp_path: Any) -> None:
    """200 queues are 1600 questions, asked at once."""
    names = [f"q{number}" for number in range(200)]
    with Redis(tmp_path) as server, Client.from_url(server.url) as client:
        for name in names:
            client.lpush(name, "x")
        probe = RedisProbe(Broker((server.url,)))
        probe.look(names)

        def reads() -> int:
            return int(client.info("stats")["total_reads_processed"])

        before = reads()
        sight = probe.look(names)
        asked = reads() - before
        probe.close()
    assert dict.fromkeys(names, 1) == lengths(sight)
    assert 12 >= asked  # a ping, the pipeline in portions of the socket's, and this question


def test_what_is_refused_is_not_asked_again(url: str, client: Client) -> None:
    """For the server keeps a log of it."""
    client.execute_command(
        *("ACL", "SETUSER", "listener", "on", ">secret", "resetkeys", "-@all", "+ping", "+select")
    )
    probe = RedisProbe(Broker((url.replace("redis://", "redis://listener:secret@"),)))
    refused = [QueueFacts("q"), QueueFacts("r")]
    assert refused == list(probe.look(["q", "r"]).queues)
    client.execute_command("ACL", "LOG", "RESET")
    sight = probe.look(["q", "r"])
    assert (refused, {"q", "r"}) == (list(sight.queues), sight.refused)
    probe.close()
    assert [] == client.execute_command("ACL", "LOG")
