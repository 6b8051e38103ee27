"""RabbitMQ by passive declaration: what waits and who takes it, and nothing is changed."""

import time
from collections.abc import Iterator
from typing import Any

import amqp
import pytest

from celery_statsd.errors import BrokerLost
from celery_statsd.probes.amqp import MOST_MISSING, AmqpProbe
from celery_statsd.source.base import Broker
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel, queues


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of its own."""
    return rabbitmq.fresh_url()


@pytest.fixture
def probe(url: str) -> Iterator[AmqpProbe]:
    """A probe that looks there."""
    made = AmqpProbe(Broker((url,)))
    yield made
    made.close()


def seen(probe: AmqpProbe, *names: str) -> dict[str, tuple[Any, Any]]:
    """The lengths and the consumers."""
    return {facts.name: (facts.length, facts.consumers) for facts in probe.look(names).queues}


def fill(plain: Any, queue: str, number: int) -> None:
    """Declare it, and let so many messages wait in it."""
    plain.queue_declare(queue, durable=True, auto_delete=False)
    for _ in range(number):
        plain.basic_publish(amqp.Message("x"), "", queue)
    assert number == plain.queue_declare(queue, passive=True).message_count


def test_ready_messages_and_consumers_are_those_of_the_broker(
    rabbitmq: RabbitMQ, url: str, probe: AmqpProbe
) -> None:
    """As rabbitmqctl has them; what is held is not counted as waiting, nor known here."""
    with channel(url, confirms=True) as plain, channel(url) as worker:
        fill(plain, "mails", 5)
        fill(plain, "etl", 0)
        worker.basic_qos(0, 2, False)
        worker.basic_consume("mails", callback=lambda _: None)
        worker.connection.drain_events(timeout=5)
        found = seen(probe, "mails", "etl")
        told = queues(rabbitmq, url, "name", "messages_ready", "consumers")
    assert {name: (int(ready), int(takers)) for name, ready, takers in told} == found
    assert {"mails": (3, 1), "etl": (0, 0)} == found
    assert probe.look(["mails"]).queues[0].unacked is None


def test_a_queue_that_is_not_there_holds_nothing(url: str, probe: AmqpProbe) -> None:
    """It costs no other queue its facts, and is found once it is there."""
    missing = [f"gone{number}" for number in range(MOST_MISSING + 3)]
    with channel(url, confirms=True) as plain:
        fill(plain, "a", 1)
        fill(plain, "z", 2)
        for _ in range(3):
            found = seen(probe, "a", *missing, "z")
            assert {"a": (1, 0), "z": (2, 0)} | dict.fromkeys(missing, (0, 0)) == found
        fill(plain, missing[-1], 4)
        looks = 0
        while seen(probe, "a", *missing, "z")[missing[-1]] != (4, 0):
            looks += 1
            assert looks < 3
        with pytest.raises(amqp.NotFound):  # nothing was declared
            plain.queue_declare("gone0", passive=True)


def test_a_queue_of_somebody_elses_own_is_hidden(url: str, probe: AmqpProbe) -> None:
    """An exclusive one: its facts are unknown, not 0."""
    with channel(url, confirms=True) as plain:
        plain.queue_declare("mine", exclusive=True)
        fill(plain, "ours", 1)
        assert {"mine": (None, None), "ours": (1, 0)} == seen(probe, "mine", "ours")


def test_two_hundred_queues_are_one_question(url: str, probe: AmqpProbe) -> None:
    """Asked one behind the other, answered together."""
    names = [f"q{number}" for number in range(200)]
    with channel(url, confirms=True) as plain:
        for name in names:
            plain.queue_declare(name, durable=True, auto_delete=False)
        seen(probe, *names)
        began = time.perf_counter()
        found = seen(probe, *names)
        took = time.perf_counter() - began
    assert dict.fromkeys(names, (0, 0)) == found
    assert 2.0 > took


def test_a_broker_that_is_gone_is_told_and_found_again(rabbitmq: RabbitMQ) -> None:
    """By the same probe."""
    probe = AmqpProbe(Broker((rabbitmq.fresh_url(),)))
    assert {"q": (0, 0)} == seen(probe, "q")
    rabbitmq.kill()
    try:
        for _ in range(2):
            with pytest.raises(BrokerLost):
                probe.look(["q"])
    finally:
        rabbitmq.start()
    assert {"q": (0, 0)} == seen(probe, "q")
    probe.close()
