"""Frames as py-amqp reads them, but for what it fails on: one bad message stays one bad message.

py-amqp ends the connection when a message's properties or its routing key cannot be decoded. On a
queue that outlives the connection the same message would come again, and end the next one too.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from amqp import spec
from amqp.method_framing import frame_handler

UNREADABLE = "application/x-unreadable-properties"
"""The content type of a message whose properties cannot be read; its body is as it was sent."""

Frame = tuple[int, int, Any]
Callback = Callable[[int, tuple[int, int], Any, Any], Any]

_HEADER = 2  # AMQP 0-9-1, 4.2.3: the frame with a message's size and properties
_SIZED = 12  # its bytes before the properties: class, weight, size of the body
_HAS_CONTENT_TYPE = 0x8000
_INSTEAD = struct.pack(">HB", _HAS_CONTENT_TYPE, len(UNREADABLE)) + UNREADABLE.encode()


def lenient(connection: Any, callback: Callback) -> Callable[[Frame], bool]:
    """What reads the frames of a py-amqp `connection`: its `frame_handler`."""
    read = frame_handler(connection, partial(_dispatch, callback))

    def on_frame(frame: Frame) -> bool:
        try:
            return bool(read(frame))
        except Exception:  # hostile bytes end in errors of many kinds, OverflowError among them
            kind, channel, payload = frame
            if kind != _HEADER:
                raise
            return bool(read((kind, channel, bytes(payload[:_SIZED]) + _INSTEAD)))

    return on_frame


def _dispatch(
    callback: Callback, channel: int, method: tuple[int, int], payload: Any, content: Any
) -> None:
    try:
        callback(channel, method, payload, content)
    except UnicodeDecodeError:
        if method != spec.Basic.Deliver:
            raise
        callback(channel, method, _without_routing_key(bytes(payload)), content)


def _without_routing_key(payload: bytes) -> bytes:
    """A basic.deliver, whose last argument is the routing key, with an empty one."""
    tag = 4  # after class and method
    exchange = tag + 1 + payload[tag] + 8 + 1  # the delivery tag, and a bit for `redelivered`
    return payload[: exchange + 1 + payload[exchange]] + b"\0"
