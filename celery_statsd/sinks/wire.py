"""pystatsd's clients, made to tell what they do: the only door of the `statsd` package.

pystatsd connects and sends. What it lacks stands here: errors rise instead of being swallowed,
lines and bytes that arrived are counted, a slow peer is told from one that is gone.
"""

import socket
import time
from collections.abc import Sequence
from typing import Any

from statsd import StatsClient, TCPStatsClient, UnixSocketStatsClient

from celery_statsd.sinks import places, stream
from celery_statsd.sinks.base import Tally
from celery_statsd.sinks.lines import packed
from celery_statsd.sinks.pace import Pace
from celery_statsd.sinks.receiver import Receiver


class DatagramClient(StatsClient):  # type: ignore[misc]
    """pystatsd's UDP client on a connected socket, of which an error is heard, and raised.

    `taken` counts the values of a flush that went out. No datagram is longer than `mtu` bytes, no
    flush takes longer than `timeout` seconds. The kernel is called once for each: that one was
    refused is told when the next is to be sent, or after the last.
    """

    def __init__(self, sock: socket.socket, mtu: int, timeout: float, tally: Tally) -> None:
        # Not pystatsd's own: it would resolve a name, and open a socket that hears nothing.
        self._sock = sock
        self._prefix = None
        self._mtu = mtu
        self._timeout = timeout
        self._tally = tally
        self._deadline = 0.0
        self.taken = 0
        self._last = 0  # bytes of the last datagram

    def begin(self) -> None:
        """A flush begins."""
        self._deadline = time.monotonic() + self._timeout
        self._sock.settimeout(self._timeout)
        self.taken = self._last = 0

    def send_all(self, units: Sequence[str]) -> None:
        """Send lines, as many in a datagram as it can hold. Not by pystatsd's pipeline: it takes
        three calls for a line. Raises OSError."""
        try:
            for data in packed(units, self._mtu):
                self._send(data)
            self.raise_late()
        except OSError as error:
            if error.errno in stream.NOBODY:  # the one before went nowhere
                self._tally.packets -= self._last > 0
                self._tally.bytes -= self._last
            raise

    def raise_late(self) -> None:
        """Raise the OSError that arrived after the last datagram had been sent, if any."""
        stream.raise_pending(self._sock)

    def _send(self, data: str) -> None:
        wire = data.encode("ascii")
        count = data.count(":")  # one before each value: no path has any
        if len(wire) > self._mtu:
            self._tally.dropped += count
        else:
            self._put(wire)
            self._last = len(wire)
            self._tally.packets += 1
            self._tally.bytes += len(wire)
        self.taken += count

    def _put(self, wire: bytes) -> None:
        """Send one datagram. Raises OSError: TimeoutError when there is no room for it in time, a
        refusal for one before it."""
        stream.left(self._deadline)
        self._sock.send(wire)


class UdpClient(DatagramClient):
    """Over UDP, no faster than the receiver can take it."""

    def __init__(self, sock: socket.socket, mtu: int, timeout: float, tally: Tally) -> None:
        super().__init__(sock, mtu, timeout, tally)
        self._receiver = Receiver(sock, tally)
        self._pace = Pace(self._receiver)

    def begin(self) -> None:
        """A flush begins. It may wait for the receiver for half of its time."""
        super().begin()
        self._pace.begin(self._timeout / 2)

    def look(self) -> None:
        """Count what the receiver has had no room for, if that can be known."""
        self._receiver.look()

    def close(self) -> None:
        """Let go of the socket, and look no more."""
        self._receiver.close()
        super().close()

    def _put(self, wire: bytes) -> None:
        self._pace.make_room(len(wire))
        super()._put(wire)


class _Stream:
    """What pystatsd's stream clients lack: a peer that left is noticed, and every byte confirmed.

    `taken` counts the lines of a flush that the peer has. After a Slow the rest of the lines is
    in hand, and `resume` goes on with it.
    """

    _sock: socket.socket | None
    _timeout: float

    def __init__(self, *where: Any, timeout: float, tally: Tally) -> None:
        super().__init__(*where, timeout=timeout)  # type: ignore[call-arg]
        self.taken = 0
        self._tally = tally
        self._deadline = 0.0
        self._wire = b""
        self._counted = 0
        self._delivery: stream.Delivery | None = None

    def begin(self) -> None:
        """A flush begins."""
        self.taken = 0

    def send_all(self, units: Sequence[str]) -> None:
        """Send lines, as one whole. Raises Slow, or Cut."""
        if units:
            self._send("\n".join(units))

    def resume(self) -> None:
        """Go on with what is in hand. Raises Slow again, or Cut."""
        self._deadline = time.monotonic() + self._timeout
        self._advance()

    def _send(self, data: str) -> None:
        self._deadline = time.monotonic() + self._timeout
        if self._sock and stream.gone(self._sock):
            self.close()  # type: ignore[attr-defined]
        super()._send(data)  # type: ignore[misc]

    def _do_send(self, data: str) -> None:
        assert self._sock is not None
        self._wire = data.encode("ascii") + b"\n"
        self._counted = 0
        self._delivery = stream.Delivery(self._sock, self._wire)
        self._advance()

    def _advance(self) -> None:
        assert self._delivery is not None
        before = self.taken
        try:
            self._delivery.advance(self._deadline)
        finally:
            arrived = self._delivery.taken
            self.taken = self._wire.count(b"\n", 0, arrived)
            self._tally.packets += self.taken > before
            self._tally.bytes += arrived - self._counted
            self._counted = arrived


class TcpClient(_Stream, TCPStatsClient):  # type: ignore[misc]
    """pystatsd's TCP client; a peer that does not acknowledge is given up in the end."""

    def connect(self) -> None:
        """Connect, to any address the name leads to. Raises OSError."""
        deadline = time.monotonic() + self._timeout
        self._sock = places.connected(self._host, self._port, deadline)
        stream.give_up_after(self._sock, stream.UNANSWERED)


class UnixClient(_Stream, UnixSocketStatsClient):  # type: ignore[misc]
    """pystatsd's client for Unix stream sockets."""
