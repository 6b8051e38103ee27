"""What the tests ask of a RabbitMQ beside Celery's own doings."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import amqp

from celery_statsd.log import Log
from celery_statsd.source.amqp import AmqpSource
from celery_statsd.source.base import Broker, Source
from tests.servers.rabbitmq import RabbitMQ


def vhost(url: str) -> str:
    """The vhost in `url`."""
    return urlsplit(url).path[1:]


def queues(rabbitmq: RabbitMQ, url: str, *columns: str) -> list[list[str]]:
    """`columns` of each queue of the vhost in `url`, as the broker tells them."""
    rows = rabbitmq.ctl("list_queues", "-p", vhost(url), "--no-table-headers", *columns)
    return sorted(row.split("\t") for row in rows.splitlines())


@contextmanager
def channel(url: str, confirms: bool = False) -> Iterator[Any]:
    """A channel of a plain client; with `confirms` each `basic_publish` waits for the broker's."""
    parts = urlsplit(url)
    host, login = f"{parts.hostname}:{parts.port}", (parts.username, parts.password)
    with amqp.Connection(host, *login, virtual_host=vhost(url), confirm_publish=confirms) as link:
        yield link.channel()


@contextmanager
def unread(broker: Broker) -> Iterator[tuple[Source, io.StringIO]]:
    """A source that has still to connect, and whatever waits for it to read; and what it logs."""
    stream = io.StringIO()
    source = AmqpSource(broker, Log("debug", stream=stream))
    try:
        yield source, stream
    finally:
        source.close()


def publish(url: str, uuids: list[str]) -> None:
    """Send a task-started for each of `uuids`, each confirmed."""
    with channel(url, confirms=True) as plain:
        for uuid in uuids:
            plain.basic_publish(event(uuid), "celeryev", "task.started")


def ready(plain: Any, queue: str) -> int:
    """How many messages wait in `queue`, not counting those handed out."""
    return int(plain.queue_declare(queue, passive=True).message_count)


def event(uuid: str) -> amqp.Message:
    """A task-started as Celery sends it: transient."""
    body = f'{{"type": "task-started", "uuid": "{uuid}"}}'
    return amqp.Message(body, content_type="application/json", delivery_mode=1)


def stop_queue(rabbitmq: RabbitMQ, url: str, name: str) -> None:
    """Put a quorum queue into the state `down`: its process ends, and nobody is told."""
    _of_queue(rabbitmq, url, name, "ra:stop_server(quorum_queues, amqqueue:get_pid(Q))")


def restart_queue(rabbitmq: RabbitMQ, url: str, name: str) -> None:
    """Let a queue that was stopped run again, with what it had."""
    _of_queue(rabbitmq, url, name, "ra:restart_server(quorum_queues, amqqueue:get_pid(Q))")


def delete_queue(rabbitmq: RabbitMQ, url: str, name: str) -> None:
    """Delete any queue, those of others' connections included."""
    _of_queue(rabbitmq, url, name, 'rabbit_amqqueue:delete(Q, false, false, <<"test">>)')


def _of_queue(rabbitmq: RabbitMQ, url: str, name: str, call: str) -> None:
    found = f'rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost(url)}">>, queue, <<"{name}">>))'
    assert "ok" in rabbitmq.ctl("eval", f"{{ok, Q}} = {found}, {call}.")


def queue_of(source: Source) -> str:
    """The name of the queue that `source` consumes from."""
    assert isinstance(source, AmqpSource)
    return source._queue.name
