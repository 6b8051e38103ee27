"""What the tests ask of a RabbitMQ beside Celery's own doings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import amqp

from celery_statsd.source.base import Source
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


def event(uuid: str) -> amqp.Message:
    """A task-started as Celery sends it: transient."""
    body = f'{{"type": "task-started", "uuid": "{uuid}"}}'
    return amqp.Message(body, content_type="application/json", delivery_mode=1)


def stop_queue(rabbitmq: RabbitMQ, url: str, name: str) -> None:
    """Put a quorum queue into the state `down`: its process ends, and nobody is told."""
    found = f'rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost(url)}">>, queue, <<"{name}">>))'
    rabbitmq.ctl(
        "eval", f"{{ok, Q}} = {found}, ra:stop_server(quorum_queues, amqqueue:get_pid(Q))."
    )


def queue_of(source: Source) -> str:
    """The name of the queue that `source` consumes from."""
    name = source._queue.name  # type: ignore[attr-defined]
    assert isinstance(name, str)
    return name
