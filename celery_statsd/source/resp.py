"""What Redis says to a subscriber, taken off the socket in large reads.

RESP 2 and 3 (https://redis.io/docs/latest/develop/reference/protocol-spec/), as far as a
subscriber hears it: texts, errors, numbers, and lists of them. redis-py connects and logs in; from
the subscription on it is read here, for its own parser takes a dozen calls for a message. Messages
of one pattern begin all alike, and that much of them is compared and not parsed.
"""

import select
import socket
import ssl
from contextlib import suppress
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

PORTION = 64 * 1024
"""Bytes of one read."""

LONGEST = 512 * 1024 * 1024
"""Bytes: what Redis allows one text at most; a length beyond it is no length."""

_DEEPEST = 8  # lists in lists
_ALIKE = b"pmessage"
_TEXT = 0x24  # $: a text of known length
_END, _NEXT = 2, 3  # bytes of the end of a line, and of that and the sign of a text behind it


class _Part(Exception):
    """The rest has still to come."""


class Subscriber:
    """Reads the replies on a connected `sock`. Raises OSError when the connection has ended, and
    ValueError for what no Redis says."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._data = b""
        self._head = b""

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, within that time."""
        # TLS may hold decrypted bytes of which the kernel knows nothing any more.
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        return bool(self._poll.poll(seconds * 1000))

    def replies(self) -> list[Any]:
        """The whole replies of one read; errors as exceptions among them."""
        came = self._sock.recv(PORTION)
        if not came:
            raise OSError("Redis has hung up")
        data = self._data + came if self._data else came
        found: list[Any] = []
        at, end = 0, len(data)
        try:
            while (at := self._alike(data, at, found)) < end:
                reply, at = _parsed(data, at)
                found.append(reply)
                if not self._head:
                    self._learn(reply, data)
        except _Part:
            pass
        finally:
            self._data = data[at:]
        return found

    def _alike(self, data: bytes, at: int, found: list[Any]) -> int:
        """Add the messages of the known pattern that stand there whole, one after the other, as
        [kind, channel, payload] each. Where another thing begins."""
        head, find, most = self._head, data.find, len(data) - _END
        size = len(head)
        with suppress(ValueError):  # that is no length: `_parsed` tells what it is
            while head and data.startswith(head, at):
                line = find(b"\r\n", at + size)
                channel = line + _END
                after = channel + int(data[at + size : line])
                next_line = find(b"\r\n", after + _NEXT)
                payload = next_line + _END
                end = payload + int(data[after + _NEXT : next_line])
                # What is not found is at -1, and a length may be negative: no step goes back.
                if not at < line < channel <= after < next_line < payload <= end <= most:
                    break
                if not data.startswith(b"\r\n$", after):
                    break
                found.append([_ALIKE, data[channel:after], data[payload:end]])
                at = end + _END
        return at

    def _learn(self, reply: Any, data: bytes) -> None:
        """Know how messages begin, by the first of them."""
        if isinstance(reply, list) and len(reply) == 4 and reply[0] == _ALIKE:
            pattern = reply[1]
            lead = data[:1] if data[:1] in (b"*", b">") else b"*"
            self._head = lead + b"4\r\n$8\r\npmessage\r\n$%d\r\n%b\r\n$" % (len(pattern), pattern)


def _parsed(data: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
    """The reply that begins at `at`, and where the next one does. Raises _Part, ValueError."""
    line = data.find(b"\r\n", at)
    if line < 0:
        raise _Part
    kind, after = data[at], line + 2
    if kind == _TEXT:
        size = _size(data[at + 1 : line])
        if size < 0:
            return None, after
        if after + size + 2 > len(data):
            raise _Part
        return data[after : after + size], after + size + 2
    said = data[at + 1 : line]
    if kind in b"*>":
        return _list(data, after, _size(said), depth)
    if kind in b"+:,#_":
        return said, after
    if kind == 0x2D:  # -: an error
        text = said.decode("utf-8", "replace")
        return (NoPermissionError if text.startswith("NOPERM") else ResponseError)(text), after
    raise ValueError(f"no reply of Redis begins with {data[at : at + 1]!r}")


def _list(data: bytes, at: int, size: int, depth: int) -> tuple[Any, int]:
    if size < 0:
        return None, at
    if depth >= _DEEPEST:
        raise ValueError("a reply is nested too deeply")
    found = []
    for _ in range(size):
        item, at = _parsed(data, at, depth + 1)
        found.append(item)
    return found, at


def _size(digits: bytes) -> int:
    size = int(digits)
    if size > LONGEST:
        raise ValueError("a reply is too long")
    return size
