"""Messages as they go to a broker and as it hands them out, in bytes.

A load is encoded once and then published with one `sendall` a chunk: a client's own publishing
would cost more than most consumers. Frames: AMQP 0-9-1, sections 2.3.5 and 4.2; Redis: RESP2, in
kombu's envelope (kombu.transport.virtual.base.Channel.prepare_message).
"""

import base64
import json
import struct
import uuid
from collections.abc import Iterable

from benchmarks.load import Message

EXCHANGE = "celeryev"

FRAME_MAX = 131_072
"""RabbitMQ's; no message of a load comes near."""

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_FLAGS = 0xF800  # of properties: content type, content encoding, headers, delivery mode, priority
_TRANSIENT, _PRIORITY = 1, 0
_AROUND = 8  # bytes of a frame beside its payload
_CONTENT = 2 + 2 + 8 + 2  # class, weight, size of the body, flags
_DELIVER = 4 + 8 + 1  # class and method, delivery tag, redelivered


def published(message: Message) -> bytes:
    """`message` as the three frames of a basic.publish on channel 1."""
    to = _short(EXCHANGE) + _short(message.routing_key)
    method = struct.pack(">HHH", _BASIC, _PUBLISH, 0) + to + b"\0"
    header = struct.pack(">HHQH", _BASIC, 0, len(message.body), _FLAGS) + _properties(message)
    assert len(message.body) < FRAME_MAX - _AROUND
    frames = ((_METHOD, method), (_HEADER, header), (_BODY, message.body))
    return b"".join(_frame(kind, payload) for kind, payload in frames)


def delivered_size(messages: Iterable[Message], tag: str) -> int:
    """Bytes in which RabbitMQ delivers `messages` to the consumer `tag`."""
    around = 3 * _AROUND + _DELIVER + _CONTENT + len(_short(tag)) + len(_short(EXCHANGE))
    return sum(
        around + len(_short(m.routing_key)) + len(_properties(m)) + len(m.body) for m in messages
    )


def envelope(message: Message) -> bytes:
    """`message` as kombu puts it into Redis."""
    routing = {"exchange": EXCHANGE, "routing_key": message.routing_key}
    tag = uuid.uuid5(uuid.NAMESPACE_OID, f"{message.hostname} {message.at}")
    told = {
        "body": base64.b64encode(message.body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": message.hostname},
        "properties": {
            "delivery_mode": _TRANSIENT, "delivery_info": routing, "priority": _PRIORITY,
            "body_encoding": "base64", "delivery_tag": str(tag),
        },
    }  # fmt: skip
    return json.dumps(told).encode()


def command(message: Message, database: int) -> bytes:
    """`message` as a PUBLISH."""
    return _resp(b"PUBLISH", channel(message, database), envelope(message))


def pushed_size(messages: Iterable[Message], database: int) -> int:
    """Bytes in which Redis pushes `messages` to a subscriber of the database's pattern."""
    pattern = f"/{database}.{EXCHANGE}/*".encode()
    return sum(
        len(_resp(b"pmessage", pattern, channel(message, database), envelope(message)))
        for message in messages
    )


def channel(message: Message, database: int) -> bytes:
    """Where kombu publishes `message`."""
    return f"/{database}.{EXCHANGE}/{message.routing_key}".encode()


def _properties(message: Message) -> bytes:
    hostname = message.hostname.encode()
    entry = _short("hostname") + b"S" + struct.pack(">I", len(hostname)) + hostname
    table = struct.pack(">I", len(entry)) + entry
    rest = struct.pack(">BB", _TRANSIENT, _PRIORITY)
    return _short("application/json") + _short("utf-8") + table + rest


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + _END


def _short(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _resp(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)
