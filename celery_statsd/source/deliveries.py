"""Deliveries, taken off the socket many at a time, and walked as the frames they are.

py-amqp reads a message with nine calls of the kernel and spends most of its time between them. Here
one large read is walked: a delivery on our channel that lies whole in it becomes a Message by three
unpackings and two look-ups, many of them in one go where they are all alike. Everything else
(heartbeats, answers, closes, other channels, a body in several frames, properties nobody can read)
goes to py-amqp as the frame it is. What is not whole yet goes back to where py-amqp looks first, so
that either may read next.

AMQP 0-9-1: 2.3.5 (frames), 4.2.6 (content), 1.8.3.13 (basic.deliver).
"""

import struct
from collections.abc import Callable
from typing import Any

from amqp import spec
from amqp.basic_message import Message as Content

from celery_statsd.source.base import LONGEST_FACTS, Facts, Message
from celery_statsd.source.queue import CONSUMER

MOST_KNOWN = 10_000
"""Properties, and places a message was published to, that are remembered: one for each sender."""

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, 0xCE
_frame = struct.Struct(">BHI").unpack_from  # type, channel, size
_header = struct.Struct(">BHIHHQ").unpack_from  # the same, then class, weight, size of the body
_tag = struct.Struct(">Q").unpack_from
_DELIVER = struct.pack(">HH", *spec.Basic.Deliver)
_HEAD, _TAIL = 7, 1  # bytes of a frame before and behind its payload
_SIZED = 12  # bytes of a header frame's payload before the properties
_PREFIX = _HEAD + _SIZED
_TAG_AT, _TAGGED = _HEAD + 5, 9  # behind class, method and a length; bytes of a tag and its flag

# The same three, of deliveries that are like most: each begins with its type and channel.
_most_deliver = struct.Struct(">3sI18sQ").unpack_from  # ... size, _OPENING, tag
_most_header = struct.Struct(">3sI4xQ").unpack_from  # ... size, size of the body
_most_body = struct.Struct(">3sI").unpack_from  # ... size
_OPENING = _DELIVER + bytes([len(CONSUMER)]) + CONSUMER.encode()
_ROUTE_AT = _HEAD + len(_OPENING) + _TAGGED

_PART, _THEIRS, _NONE = 0, -1, -2  # where no delivery ends: not whole yet, for py-amqp, no delivery
_HEADER_TO_COME = -1  # instead of the bytes of a body

Foreign = Callable[[tuple[int, int, bytes]], Any]
"""What takes a frame: its type, its channel, its payload."""


class Walker:
    """Walks what a py-amqp `connection` receives, for the deliveries on `channel`.

    `messages` are those taken so far, `tag` is the last one's delivery tag, `size` that of all
    bodies in bytes. `foreign` is called with each frame that is for py-amqp; what comes of it is
    to be added by `add`.
    """

    def __init__(self, channel: int, foreign: Foreign) -> None:
        self.messages: list[Message] = []
        self.tag = 0
        self.size = 0
        self.turn_to(channel, foreign)
        self._lent = 0  # bytes of the body that py-amqp is in the middle of
        self._facts: dict[bytes, Facts] = {}
        self._keys: dict[bytes, str] = {}

    def turn_to(self, channel: int, foreign: Foreign) -> None:
        """From now on walk for that channel."""
        self._channel, self._foreign = channel, foreign
        self._leads = tuple(struct.pack(">BH", kind, channel) for kind in (_METHOD, _HEADER, _BODY))

    def add(self, message: Message, tag: int) -> None:
        """Take a message that came by another way."""
        self.messages.append(message)
        self.tag = tag
        self.size += len(message.body)

    def taken(self) -> list[Message]:
        """The messages; from now on there are none."""
        messages, self.messages, self.size = self.messages, [], 0
        return messages

    def walk(self, data: bytes) -> int:
        """Take in all whole frames; how many bytes they were."""
        at, end = 0, len(data)
        while at + _HEAD < end:
            at = at if self._lent else self._most(data, at)
            if at + _HEAD >= end:
                break
            kind, channel, size = _frame(data, at)
            after = at + _HEAD + size + _TAIL
            if after > end:
                break
            if kind == _METHOD and channel == self._channel and not self._lent:
                is_delivery = data.startswith(_DELIVER, at + _HEAD)
                done = self._delivered(data, at, after) if is_delivery else _NONE
                if done == _PART:
                    break
                if done > 0:
                    at = done
                    continue
                self._lent = _HEADER_TO_COME if done == _THEIRS else 0
            self._lend(kind, channel, data, at, after)
            at = after
        return at

    def _most(self, data: bytes, at: int) -> int:
        """Take the deliveries from `at` on, as long as they are like most: to our consumer, whole,
        with a body in one frame, properties and a place that are known. Where another thing
        begins."""
        end, add, facts_of, key_of = (
            len(data),
            self.messages.append,
            self._facts.get,
            self._keys.get,
        )
        deliver, head, content = self._leads
        try:
            while True:
                lead, size, opening, tag = _most_deliver(data, at)
                header = at + _HEAD + size + _TAIL
                second, size, length = _most_header(data, header)
                body = header + _HEAD + size + _TAIL
                third, size = _most_body(data, body)
                after = body + _HEAD + size + _TAIL
                if lead != deliver or second != head or third != content or opening != _OPENING:
                    return at
                if size != length or after > end or data[after - 1] != _END:
                    return at
                facts = facts_of(data[header + _PREFIX : body - _TAIL])
                key = key_of(data[at + _ROUTE_AT : header - _TAIL])
                if facts is None or key is None:
                    return at
                add(Message(data[body + _HEAD : after - _TAIL], facts, key))
                self.tag, at = tag, after
                self.size += length
        except struct.error:  # what comes is not whole, or none
            return at

    def _delivered(self, data: bytes, at: int, header: int) -> int:
        """Take the delivery whose method begins at `at` and whose header at `header`; where it
        ends, or _PART when it is not whole yet, or _THEIRS when it is one for py-amqp."""
        if header + _PREFIX >= len(data):
            return _PART
        kind, channel, size, _, _, length = _header(data, header)
        if kind != _HEADER or channel != self._channel:
            return _THEIRS
        body = header + _HEAD + size + _TAIL
        after = self._after(data, body, length)
        if after <= 0:
            return after
        properties = data[header + _PREFIX : body - _TAIL]
        facts = self._facts.get(properties) or self._facts_of(properties)
        if facts is None:
            return _THEIRS
        place = at + _TAG_AT + data[at + _TAG_AT - 1]  # behind the consumer tag
        self.tag = _tag(data, place)[0]
        route = data[place + _TAGGED : header - _TAIL]
        key = self._keys.get(route)
        if key is None:
            key = self._key_of(route)
        content = data[body + _HEAD : after - _TAIL] if length else b""
        self.messages.append(Message(content, facts, key))
        self.size += length
        return after

    def _after(self, data: bytes, body: int, length: int) -> int:
        """Where the content ends whose body of that `length` begins at `body` (or _PART, or
        _THEIRS)."""
        end = len(data)
        if not length or body + _HEAD >= end:
            return body if not length and body <= end else _PART
        kind, channel, size = _frame(data, body)
        after = body + _HEAD + size + _TAIL
        if kind != _BODY or channel != self._channel or size != length:
            return _THEIRS
        if after <= end and data[after - 1] != _END:
            return _THEIRS  # py-amqp tells what is wrong
        return after if after <= end else _PART

    def _lend(self, kind: int, channel: int, data: bytes, at: int, after: int) -> None:
        """Give a frame to py-amqp, and know how much more of its content there is."""
        payload = data[at + _HEAD : after - _TAIL]
        if channel == self._channel and self._lent:
            if kind == _HEADER and self._lent < 0:
                self._lent = int.from_bytes(payload[4:_SIZED])
            elif kind == _BODY:
                self._lent = max(0, self._lent - len(payload))
        self._foreign((kind, channel, payload))

    def _facts_of(self, properties: bytes) -> Facts | None:
        """What they say; None when py-amqp has to be asked."""
        facts = _read(properties)
        if facts is not None and len(properties) <= LONGEST_FACTS:
            _make_room(self._facts)
            self._facts[properties] = facts
        return facts

    def _key_of(self, route: bytes) -> str:
        """The routing key, behind the name of the exchange."""
        _make_room(self._keys)
        key = self._keys[route] = _text(route[2 + route[0] :])
        return key


def _make_room(known: dict[bytes, Any]) -> None:
    if len(known) >= MOST_KNOWN:
        known.clear()


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return ""  # as `frames` has it


def _read(properties: bytes) -> Facts | None:
    content = Content()
    try:
        content._load_properties(spec.Basic.CLASS_ID, properties, 0)
    except Exception:  # hostile bytes end in errors of many kinds: `frames` answers them
        return None
    return facts_of(content.properties)


def facts_of(properties: dict[str, Any]) -> Facts:
    """What a message's properties say of it."""
    headers = properties.get("application_headers") or {}
    hostname = headers.get("hostname")
    return Facts(
        properties.get("content_type", ""),
        properties.get("content_encoding", ""),
        hostname if isinstance(hostname, str) else "",
    )
