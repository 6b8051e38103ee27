"""Messages that py-amqp cannot read, sent through a real RabbitMQ."""

import struct
from typing import Any

import amqp
import pytest

from celery_statsd.source.base import Broker, Facts, Message
from celery_statsd.source.frames import UNREADABLE
from tests.servers.rabbitmq import RabbitMQ
from tests.source.rabbit import channel
from tests.source.stream import listening, read_until, send, uuids


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> str:
    """A vhost of one's own."""
    return rabbitmq.fresh_url()


def deep(levels: int) -> bytes:
    """Properties whose header tables lie in each other, on the wire."""
    table = b""
    for _ in range(levels):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return struct.pack(">HI", 0x2000, len(table)) + table


NOT_UTF8 = struct.pack(">HB", 0x0080, 1) + b"\xff"  # as message_id
NO_DATE = struct.pack(">HI", 0x2000, 11) + b"\x01aT" + b"\x7f" * 8  # a header of the year 10^11


def hostile(body: bytes, properties: bytes) -> amqp.Message:
    """A message with these properties on the wire."""

    class Hostile(amqp.Message):
        def _serialize_properties(self) -> bytes:
            return properties

    return Hostile(body)


@pytest.mark.parametrize("body", [b"x", b""], ids=["body", "no body"])
@pytest.mark.parametrize(
    "properties", [NOT_UTF8, NO_DATE, deep(5000)], ids=["no UTF-8", "no date", "deep"]
)
def test_unreadable_properties_cost_one_message(url: str, properties: bytes, body: bytes) -> None:
    """It is handed on as such, and acknowledged; the connection stays, and so does the stream."""
    with listening(Broker((url,))) as (source, _), channel(url, confirms=True) as plain:
        plain.basic_publish(hostile(body, properties), "celeryev", "any.key")
        send(url, ["after"])
        bad, good = read_until(source, lambda seen: len(seen) == 2)
        assert source.reconnects == 0
    assert Message(body, Facts(UNREADABLE), "any.key") == bad
    assert uuids([good]) == ["after"]


def test_an_unreadable_routing_key_is_left_out(url: str) -> None:
    """The message is read without it."""
    key: Any = b"\xff\xfe.key"
    with listening(Broker((url,))) as (source, _), channel(url, confirms=True) as plain:
        for body in (b"x", b""):
            plain.basic_publish(amqp.Message(body, content_type="text/plain"), "celeryev", key)
        seen = read_until(source, lambda seen: len(seen) == 2)
        assert source.reconnects == 0
    assert [Message(body, Facts("text/plain")) for body in (b"x", b"")] == seen
