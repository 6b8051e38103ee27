"""What the layers below cost that hand over messages and do nothing with them.

python bare.py kombu|py-amqp|redis-py|socket
"""

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import amqp
import redis
from kombu import Connection, Consumer, Exchange, Queue
from kombu.utils.url import parse_url
from tally import Tally

URL, QUEUE = os.environ["BENCH_BROKER"], os.environ["BENCH_QUEUE"]
LARGE = 1 << 16


def on_kombu(tally: Tally) -> None:
    """kombu's Consumer; bodies are not decoded. Works on every broker."""
    exchange = Exchange("celeryev", "topic" if URL.startswith("amqp") else "fanout")
    queue = Queue(QUEUE, exchange, "#", durable=False, auto_delete=True)

    def take(_message: Any) -> None:
        tally.messages += 1

    with (
        Connection(URL) as connection,
        Consumer(connection, [queue], no_ack=True, on_message=take),
    ):
        while True:
            connection.drain_events()


def on_amqp(tally: Tally) -> None:
    """py-amqp's basic_consume without acknowledgements."""

    def take(_message: Any) -> None:
        tally.messages += 1

    link = _consuming(take)
    while True:
        link.drain_events()


def on_redis(tally: Tally) -> None:
    """redis-py's PubSub."""
    parts = parse_url(URL)
    database = parts["virtual_host"]
    client = redis.Redis(port=parts["port"], db=int(database))
    subscription = client.pubsub(ignore_subscribe_messages=True)
    subscription.psubscribe(f"/{database}.celeryev/*")
    while True:
        if subscription.get_message(timeout=None):
            tally.messages += 1


def on_socket(tally: Tally) -> None:
    """The kernel: read, and forget what was read."""
    link = _consuming(lambda _message: None) if URL.startswith("amqp") else None
    peer = link.sock if link else _subscribed()
    peer.settimeout(None)
    buffer = bytearray(LARGE)
    while True:
        tally.bytes += peer.recv_into(buffer)


def _consuming(take: Callable[[Any], None]) -> Any:
    """A py-amqp connection that consumes the queue."""
    parts = parse_url(URL)
    link = amqp.Connection(
        f"127.0.0.1:{parts['port']}", virtual_host=parts["virtual_host"], heartbeat=0
    )
    link.connect()
    channel = link.channel()
    channel.auto_decode = False
    channel.queue_declare(QUEUE, durable=False, auto_delete=True)
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    channel.queue_bind(QUEUE, "celeryev", "#")
    channel.basic_consume(QUEUE, "bare", no_ack=True, callback=take)
    return link


def _subscribed() -> socket.socket:
    """A connection to Redis that has subscribed, and read the confirmation."""
    parts = parse_url(URL)
    database = parts["virtual_host"]
    peer = socket.create_connection(("127.0.0.1", parts["port"]))
    peer.sendall(f"PSUBSCRIBE /{database}.celeryev/*\r\n".encode())
    peer.recv(LARGE)
    return peer


LAYERS: dict[str, Callable[[Tally], None]] = {
    "kombu": on_kombu,
    "py-amqp": on_amqp,
    "redis-py": on_redis,
    "socket": on_socket,
}

if __name__ == "__main__":
    LAYERS[sys.argv[1]](Tally())
