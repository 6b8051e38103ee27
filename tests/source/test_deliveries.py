"""Walking many frames at once: what comes out is what py-amqp would have read, one by one."""

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from amqp import spec
from amqp.basic_message import Message as Content
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from celery_statsd.source.base import Facts, Message
from celery_statsd.source.deliveries import Walker
from celery_statsd.source.frames import UNREADABLE, lenient
from tests.test_names import patiently

OURS, OTHER = 1, 2
"""Channels."""

FRAME_MAX = 64
"""Bytes of a body in one frame."""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """A frame as it is on the wire."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def delivery(tag: int, body: bytes, said: bytes, key: str, channel: int = OURS) -> list[bytes]:
    """The frames of a basic.deliver."""
    arguments = dumps("sLbss", ("celery-statsd", tag, False, "celeryev", key))
    method = struct.pack(">HH", *spec.Basic.Deliver) + arguments
    header = struct.pack(">HHQ", 60, 0, len(body)) + said
    parts = [body[at : at + FRAME_MAX] for at in range(0, len(body), FRAME_MAX)]
    return [
        frame(1, channel, method),
        frame(2, channel, header),
        *(frame(3, channel, part) for part in parts),
    ]


def properties(**values: Any) -> bytes:
    """As py-amqp writes them."""
    return bytes(Content(b"", **values)._serialize_properties())


HEARTBEAT = frame(8, 0, b"")
QOS_OK = frame(1, OURS, struct.pack(">HH", *spec.Basic.QosOk))

PROPERTIES = [
    properties(
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=1,
        priority=0,
        application_headers={"hostname": "w1@web1"},
    ),
    properties(content_type="text/plain"),
    properties(),
    properties(application_headers={"hostname": 7, "nested": {"a": [1, "b"]}}),
    b"\x20\x00\x00\x00\x00\x04\x01a!!",  # a table with a value of no type there is
]
BODIES = st.one_of(st.binary(max_size=FRAME_MAX), st.binary(min_size=FRAME_MAX, max_size=300))
KEYS = st.sampled_from(["task.multi", "worker.heartbeat", ""])
STEPS = st.lists(
    st.one_of(
        st.sampled_from([[HEARTBEAT], [QOS_OK]]),
        st.builds(
            lambda *parts: parts, BODIES, st.sampled_from(PROPERTIES), KEYS,
            st.sampled_from([OURS, OURS, OTHER]), st.sampled_from([None, 1, 2]),
        ),
    ),
    max_size=12,
)  # fmt: skip


def wire(steps: Any) -> bytes:
    """The steps as bytes; a delivery may have a heartbeat between its frames."""
    sent = b""
    for tag, step in enumerate(steps, 1):
        if isinstance(step, list):
            sent += b"".join(step)
            continue
        body, said, key, channel, interrupted = step
        frames = delivery(tag, body, said, key, channel)
        if interrupted is not None:
            frames.insert(interrupted, HEARTBEAT)
        sent += b"".join(frames)
    return sent


class Link:
    """As much of a py-amqp connection as its frame handler needs; `read` are the messages."""

    bytes_recv = 0

    def __init__(self, add: Callable[[Message, int], None]) -> None:
        self.methods: list[tuple[int, Any]] = []
        self.on_frame = lenient(self, self._callback)
        self._add = add

    def _callback(self, channel: int, method: Any, payload: Any, content: Any) -> None:
        if channel != OURS or method != spec.Basic.Deliver:
            self.methods.append((channel, method))
            return
        data = bytes(payload)
        at = 4 + 1 + data[4]
        key_at = at + 9
        key_at += 1 + data[key_at]
        said = content.properties
        headers = said.get("application_headers") or {}
        hostname = headers.get("hostname")
        message = Message(
            bytes(content.body or b""),
            Facts(
                said.get("content_type", ""),
                said.get("content_encoding", ""),
                hostname if isinstance(hostname, str) else "",
            ),
            data[key_at + 1 :].decode(),
        )
        self._add(message, int.from_bytes(data[at : at + 8]))


def by_py_amqp(data: bytes) -> tuple[list[Message], int, list[Any]]:
    """The messages, the last tag, and the other methods, read frame by frame."""
    walker = Walker(OURS, lambda _: None)
    link = Link(walker.add)
    at = 0
    while at < len(data):
        kind, channel, size = struct.unpack_from(">BHI", data, at)
        link.on_frame((kind, channel, data[at + 7 : at + 7 + size]))
        at += size + 8
    return walker.messages, walker.tag, link.methods


def walked(data: bytes, cuts: list[int]) -> tuple[list[Message], int, list[Any]]:
    """The same, walked as it comes, cut into portions; nothing is left over."""
    walker = Walker(OURS, print)
    link = Link(walker.add)
    walker.turn_to(OURS, link.on_frame)
    rest = b""
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        rest += data[start:end]
        rest = rest[walker.walk(rest) :]
    assert b"" == rest
    return walker.messages, walker.tag, link.methods


@patiently
@given(STEPS, st.data())
def test_what_is_walked_is_what_py_amqp_reads(steps: Any, data: st.DataObject) -> None:
    """Whatever lies between deliveries or within them, and wherever the stream is cut."""
    sent = wire(steps)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))
    assert by_py_amqp(sent) == walked(sent, cuts)


def test_a_byte_at_a_time_is_the_same() -> None:
    """Nothing is taken before it is whole."""
    steps = [
        (b"x" * 10, PROPERTIES[0], "task.multi", OURS, None),
        [HEARTBEAT],
        (b"y" * 200, PROPERTIES[0], "task.multi", OURS, None),
        (b"", PROPERTIES[1], "a", OURS, None),
        (b"z", PROPERTIES[4], "a", OURS, None),
    ]
    sent = wire(steps)
    messages, tag, _ = walked(sent, list(range(len(sent))))
    assert [b"x" * 10, b"y" * 200, b"", b"z"] == [message.body for message in messages]
    assert (5, UNREADABLE) == (tag, messages[-1].facts.content_type)
    assert "w1@web1" == messages[0].facts.hostname


def test_usual_deliveries_do_not_trouble_py_amqp() -> None:
    """It is what they are walked for."""
    foreign: list[Any] = []
    walker = Walker(OURS, foreign.append)
    one = (b"{}", PROPERTIES[0], "task.multi", OURS, None)
    sent = wire([one] * 100)
    assert len(sent) == walker.walk(sent)
    assert ([], 100, 100, 200) == (foreign, len(walker.messages), walker.tag, walker.size)
    assert 100 == len(walker.taken())
    assert ([], 0) == (walker.taken(), walker.size)
