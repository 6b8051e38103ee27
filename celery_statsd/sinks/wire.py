"""pystatsd's clients, made to tell what they do: the only door of the `statsd` package.

pystatsd fills datagrams, joins lines and connects. What it lacks stands here: errors rise instead
of being swallowed, lines and bytes that arrived are counted, a slow peer is told from one that
is gone.
"""

import socket
import time
from typing import Any

from statsd import StatsClient, TCPStatsClient, UnixSocketStatsClient

from celery_statsd.sinks import stream
from celery_statsd.sinks.base import Tally


def _only_ipv6(host: str, port: int) -> bool:
    """Whether `host` has no IPv4 address: StatsD listens on IPv4 unless told otherwise."""
    try:
        socket.getaddrinfo(host, port, socket.AF_INET)
    except socket.gaierror:
        return True
    return False


class UdpClient(StatsClient):  # type: ignore[misc]
    """pystatsd's UDP client on a connected socket, so that a refusal is heard, and raised.

    `taken` counts the lines that went out since it was last set to 0.
    """

    def __init__(self, host: str, port: int, mtu: int, timeout: float, tally: Tally) -> None:
        # pystatsd keeps a datagram smaller than `maxudpsize`: with one more, `mtu` can be filled.
        super().__init__(host, port, maxudpsize=mtu + 1, ipv6=_only_ipv6(host, port))
        self.taken = 0
        self._mtu = mtu
        self._tally = tally
        try:
            self._sock.settimeout(timeout)
            self._sock.connect(self._addr)
        except OSError:
            self.close()
            raise

    def raise_late(self) -> None:
        """Raise the OSError that arrived after the last datagram had been sent, if any."""
        stream.raise_pending(self._sock)

    def _send(self, data: str) -> None:
        wire = data.encode("ascii")
        count = data.count("\n") + 1
        if len(wire) > self._mtu:
            self._tally.dropped += count
        else:
            self._sock.send(wire)
            stream.raise_pending(self._sock)
            self._tally.packets += 1
            self._tally.bytes += len(wire)
        self.taken += count


class _Stream:
    """What pystatsd's stream clients lack: a peer that left is noticed, and every byte confirmed.

    `taken` counts the lines the peer has since it was last set to 0. After a Slow the rest of
    the lines is in hand, and `resume` goes on with it.
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
        """Connect. Raises OSError."""
        self._ipv6 = _only_ipv6(self._host, self._port)
        super().connect()
        assert self._sock is not None
        stream.give_up_after(self._sock, stream.UNANSWERED)


class UnixClient(_Stream, UnixSocketStatsClient):  # type: ignore[misc]
    """pystatsd's client for Unix stream sockets."""
