"""The stream shared out among several agents, on a real RabbitMQ: each event reaches one part,
whatever is there before whom."""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import amqp
import pytest

from celery_statsd.errors import ConfigError
from celery_statsd.log import Log
from celery_statsd.source import source_for
from celery_statsd.source.amqp import AmqpSource
from celery_statsd.source.base import Broker, Message
from celery_statsd.source.partition import KEYS, SENT
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel, queues, vhost

PARTS = 3

WORKERS = [f"w{number}@host{number}" for number in range(30)]

STEM = "celeryev.statsd.default"


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of one's own."""
    return rabbitmq.fresh_url()


Listen = Callable[..., AmqpSource]


@pytest.fixture
def listen(url: str) -> Iterator[Listen]:
    """Connects the source of a part (`early`: what it heard at that); all are closed at the end."""
    with ExitStack() as stack:

        def begin(part: int, login: str = "guest:guest", **how: Any) -> AmqpSource:
            log = Log("debug", stream=how.pop("logged", None) or io.StringIO())
            broker = Broker(
                (url.replace("guest:guest", login),), partition=part, partitions=PARTS, **how
            )
            source = AmqpSource(broker, log)
            stack.callback(source.close)
            source.early = source.read(0)  # type: ignore[attr-defined]
            return source

        yield begin


def publish(url: str, *events: tuple[str, str]) -> None:
    """Publish for each (routing key, hostname) a body that tells both, each confirmed."""
    with channel(url, confirms=True) as plain:
        for key, hostname in events:
            message = amqp.Message(
                f"{hostname} {key}",
                content_type="application/json",
                application_headers={"hostname": hostname},
            )
            plain.basic_publish(message, "celeryev", key)


def gathered(sources: list[AmqpSource], number: int) -> list[list[Message]]:
    """What each source hears, once that many are heard in all."""
    found = [list(getattr(source, "early", ())) for source in sources]

    def look() -> bool:
        for source, part in zip(sources, found, strict=True):
            source.early = ()  # type: ignore[attr-defined]
            part.extend(source.read(0.02))
            source.ack()
        return sum(map(len, found)) >= number

    wait_until(look, 20, f"{number} messages")
    return found


def told(messages: list[Message]) -> Counter[str]:
    """The bodies."""
    return Counter(message.body.decode() for message in messages)


def test_all_a_worker_says_goes_to_one_part(url: str, listen: Listen) -> None:
    """Heartbeats and each kind of task event, to the same; each once, and every part has some."""
    sources = [listen(part) for part in range(1, PARTS + 1)]
    keys = ["worker.heartbeat", "worker.online", *(key for key in KEYS if key != "worker.#")]
    publish(url, *((key, worker) for key in keys for worker in WORKERS))
    found = gathered(sources, len(keys) * len(WORKERS))

    workers = [{message.facts.hostname for message in part} for part in found]
    assert len(WORKERS) == sum(map(len, workers)) == len(set().union(*workers))
    assert all(workers)
    assert {1} == set(sum(map(told, found), Counter()).values())


def test_a_publication_goes_to_all(url: str, listen: Listen) -> None:
    """Its header names the client: which worker takes it nobody knows yet."""
    sources = [listen(part) for part in range(1, PARTS + 1)]
    publish(url, *((SENT, f"gen{number}@client") for number in range(10)))
    found = gathered(sources, 10 * PARTS)

    assert [10] * PARTS == list(map(len, found))


def test_who_comes_first_makes_room_for_all(url: str, listen: Listen) -> None:
    """What is said while the other parts' agents are still to come waits for them; the first does
    not hear what is theirs."""
    first = listen(2)
    publish(url, *(("task.started", worker) for worker in WORKERS))
    sources = [listen(1), first, listen(3)]
    found = gathered(sources, len(WORKERS))

    assert {1} == set(sum(map(told, found), Counter()).values())
    assert all(found)


def test_a_part_stays_the_same_over_a_restart(url: str, listen: Listen) -> None:
    """The hash does not turn when an agent leaves: its events wait for it."""
    sources = [listen(part) for part in range(1, PARTS + 1)]
    publish(url, *(("task.started", worker) for worker in WORKERS))
    before = gathered(sources, len(WORKERS))
    sources[0].close()
    publish(url, *(("task.started", worker) for worker in WORKERS))
    sources[0] = listen(1)
    after = gathered(sources, len(WORKERS))

    assert list(map(told, before)) == list(map(told, after))


def test_agents_of_one_part_stand_by_for_each_other(url: str, listen: Listen) -> None:
    """One is served; the other is when it goes."""
    sources = [listen(part) for part in range(1, PARTS + 1)]
    standby = listen(1)
    assert standby.stood_by
    publish(url, *(("task.started", worker) for worker in WORKERS))
    found = gathered([*sources, standby], len(WORKERS))
    assert [] == found[-1]
    assert found[0]
    sources[0].close()
    publish(url, *(("task.started", worker) for worker in WORKERS))
    again = gathered([*sources[1:], standby], len(WORKERS))

    assert told(found[0]) == told(again[-1])


def test_all_may_come_at_once(url: str, listen: Listen, rabbitmq: RabbitMQ) -> None:
    """They make the same queues at the same moment."""
    with ThreadPoolExecutor(2 * PARTS) as pool:
        sources = list(pool.map(listen, [*range(1, PARTS + 1)] * 2))
    wait_until(
        lambda: [s.read(0.01) for s in sources] and all(s.connected for s in sources), 30, ""
    )
    publish(url, *(("task.started", worker) for worker in WORKERS))
    found = gathered(sources, len(WORKERS))

    assert {1} == set(sum(map(told, found), Counter()).values())
    names = [f"{STEM}.p{part}of{PARTS}" for part in range(1, PARTS + 1)]
    assert names == [row[0] for row in queues(rabbitmq, url, "name")]


def test_other_numbers_are_other_queues(url: str, rabbitmq: RabbitMQ, listen: Listen) -> None:
    """A cluster that is shared out anew leaves the old queues behind, by their names."""
    listen(1)
    source = AmqpSource(Broker((url,), partitions=2), Log(stream=io.StringIO()))
    source.read(0)
    source.close()
    names = {row[0] for row in queues(rabbitmq, url, "name")}

    assert {f"{STEM}.p1of2", f"{STEM}.p2of2"} <= names
    assert f"{STEM}.p1of3" in names


def test_a_queue_that_goes_bad_is_replaced(url: str, rabbitmq: RabbitMQ, listen: Listen) -> None:
    """A part's queue is deleted: the next generation hears the same workers."""
    sources = [listen(part) for part in range(1, PARTS + 1)]
    publish(url, *(("task.started", worker) for worker in WORKERS))
    before = gathered(sources, len(WORKERS))
    with channel(url) as plain:
        plain.queue_delete(f"{STEM}.p1of{PARTS}")
    wait_until(lambda: sources[0].read(0.05) or sources[0].reconnects, 20, "it is back")
    publish(url, *(("task.started", worker) for worker in WORKERS))
    after = gathered(sources, len(WORKERS))

    assert told(before[0]) == told(after[0])
    assert f"{STEM}.p1of{PARTS}.g2" in {row[0] for row in queues(rabbitmq, url, "name")}


RIGHTS = (r"^celeryev\.statsd\.", r"^celeryev\.statsd\.", r"^(celeryev$|celeryev\.statsd\.)")
"""Configure, write, read: as config/rabbitmq/README.md has them."""


def test_a_user_may_make_all_parts_with_rights_on_their_names(
    url: str, rabbitmq: RabbitMQ, listen: Listen
) -> None:
    """The same that a queue of one's own takes."""
    rabbitmq.ctl("add_user", "parts", "pw")
    rabbitmq.ctl("set_permissions", "-p", vhost(url), "parts", *RIGHTS)
    with channel(url) as plain:
        plain.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    sources = [listen(part, "parts:pw") for part in range(1, PARTS + 1)]
    publish(url, *(("task.started", worker) for worker in WORKERS))

    assert len(WORKERS) == sum(map(len, gathered(sources, len(WORKERS))))


def test_a_user_who_may_only_read_finds_what_others_made(
    url: str, rabbitmq: RabbitMQ, listen: Listen
) -> None:
    """Once an agent with more rights has been there, or an operator."""
    for source in [listen(part) for part in range(1, PARTS + 1)]:
        source.close()
    rabbitmq.ctl("add_user", "part-reader", "pw")
    reads = rf"^celeryev\.statsd\.default\.p[0-9]+of{PARTS}$"
    rabbitmq.ctl("set_permissions", "-p", vhost(url), "part-reader", "^$", "^$", reads)
    logged = io.StringIO()
    sources = [listen(part, "part-reader:pw", logged=logged) for part in range(1, PARTS + 1)]
    assert all(source.connected for source in sources), logged.getvalue()
    publish(url, *(("task.started", worker) for worker in WORKERS))

    assert len(WORKERS) == sum(map(len, gathered(sources, len(WORKERS))))


def test_redis_cannot_share_out() -> None:
    """It has no queues; said with the cure."""
    with pytest.raises(ConfigError, match="partitions"):
        source_for(Broker(("redis://h",), partitions=2), Log(stream=io.StringIO()))
