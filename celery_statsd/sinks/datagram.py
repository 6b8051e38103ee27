"""StatsD over datagrams: UDP, or a Unix datagram socket.

| address                              | options                                                  |
| ------------------------------------ | -------------------------------------------------------- |
| `statsd://host:8125`                 | `mtu=1432` bytes in a datagram (8932 on loopback),       |
|                                      | `timeout=3`, `backlog=100000`, `share_lines=no`          |
| `statsd+unixgram:///run/statsd.sock` | the same; `mtu=8192`                                     |

`share_lines=yes` writes the values of a timer into common lines (`name:1|ms:2|ms`), which takes a
fraction of the datagrams. StatsD and Bucky read them, gostatsd does not.

What counts as arrived: what was sent and not refused. A flush that was refused is sent again whole,
since what was taken by a StatsD that is gone went with it.

- UDP: on this host a refusal is known at once, from another it comes later (within 3 seconds when
  the host is off), and brings the last flush back. Where refusals are filtered out, nobody can
  know. What a StatsD on this host had no
  room for is lost, and counted (see `receiver`); so that it does not come to that, datagrams go
  out no faster than it reads (see `pace`), and one that stands still gets nothing: what would be
  lost is kept as sums.
- Unix: nothing is lost on the way; a reader that is slow is waited for, and the rest of the flush
  is kept.

A name is looked up again every 30 seconds. While its address is still among those it leads to,
nothing changes; after a refusal the next of them is tried.
"""

import errno
import socket
import time
from abc import abstractmethod
from typing import Any

from celery_statsd.metric import Batch
from celery_statsd.sinks import stream, wire
from celery_statsd.sinks.base import Address, yes_or_no
from celery_statsd.sinks.lines import remainder
from celery_statsd.sinks.places import Place, aimed, places
from celery_statsd.sinks.statsd import PORT, StatsdSink, socket_path

MTU = 1432
"""Bytes: what fits an Ethernet frame, with room for IPv6 and a tunnel's headers."""

UNIX_MTU = 8192
"""Bytes: what readers of Unix datagrams have a buffer for."""

LEAST_MTU, LARGEST_MTU = 64, 65_507
"""Bytes: what holds a line, and what fits a UDP datagram over IPv4."""

LOOK_UP_EVERY = 30.0
"""Seconds: a name is looked up at most this often."""


def datagram_size(text: str) -> int:
    """A kind of option: the bytes of a datagram, at least 64. Raises ValueError."""
    size = int(text)
    if not LEAST_MTU <= size <= LARGEST_MTU:
        raise ValueError(size)
    return size


class DatagramSink(StatsdSink):
    """What both have in common: each datagram is there whole, or not at all."""

    def __init__(self, address: Address, mtu: int) -> None:
        super().__init__(address, "mtu", "share_lines")
        self._mtu = address.option("mtu", datagram_size, mtu)
        self._shares_lines = address.option("share_lines", yes_or_no, False)

    @property
    def _room_for_values(self) -> int:
        return self._mtu if self._shares_lines else 0

    @abstractmethod
    def _made(self) -> Any:
        """A new client. Raises OSError."""

    def _connected(self) -> Any:
        if not self._client:
            self._client = self._made()
        return self._client

    def _failed(self, error: OSError, batch: Batch, taken: int) -> Batch:
        self._learn(error)
        return batch if error.errno in stream.NOBODY else remainder(batch, taken)

    def _learn(self, error: OSError) -> None:
        """Do otherwise next time. A socket is kept only when the receiver is merely slow: a new one
        hears no old errors. What is too large for the way now would be so for ever."""
        if error.errno == errno.EMSGSIZE:
            self._mtu = max(LEAST_MTU, self._mtu // 2)
        if not isinstance(error, TimeoutError):
            self._hang_up()


class UdpSink(DatagramSink):
    """`statsd://host:port`: refusals are heard, and overruns where the kernel tells of them."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, MTU)
        self._host, self._port = address.endpoint(PORT)
        self._places: list[Place] = []
        self._look_up_at = 0.0
        self._sent: Batch | None = None

    def send(self, batch: Batch) -> None:
        """Deliver `batch`, and once more the last one if word came that nobody was there.

        Raises SinkDown then, too: there may be nobody for this one either.
        """
        refused = self._hear()
        super().send(batch)
        if refused:
            raise self._down(refused, "what was refused has been sent again")

    def check(self) -> None:
        """Resolve the name: without sending something, UDP cannot tell more."""
        try:
            places(self._host, self._port, socket.SOCK_DGRAM)
        except OSError as error:
            raise self._down(error, "mend the name, or the name server") from error

    def close(self) -> None:
        """As `StatsdSink.close`, after listening for a late refusal."""
        self._hear()
        super().close()
        self._sent = None

    def _hear(self) -> OSError | None:
        """Take back the last flush if it was refused after all; the refusal."""
        refusal = None
        if self._client:
            try:
                self._client.raise_late()
            except OSError as error:
                self.tally.errors += 1
                self._learn(error)
                if error.errno in stream.NOBODY and self._sent:
                    refusal, last = error, self._sent
                    self._kept = self._joined(last, self._kept) if self._kept else last
        self._sent = None
        return refusal

    def _deliver(self, batch: Batch) -> None:
        super()._deliver(batch)
        self._client.look()
        self._sent = batch

    def _connected(self) -> Any:
        if time.monotonic() >= self._look_up_at:
            self._look_up()
        if not self._places:
            raise OSError(f"no address yet, asked again every {LOOK_UP_EVERY:.0f} s")
        return super()._connected()

    def _look_up(self) -> None:
        """Ask where the name leads now. What was told last holds while nobody answers."""
        self._look_up_at = time.monotonic() + LOOK_UP_EVERY
        try:
            found = places(self._host, self._port, socket.SOCK_DGRAM)
        except OSError:
            if self._places:
                return
            raise
        used = self._places[:1]
        if used and used[0] not in found:
            self._hang_up()
        self._places = sorted(found, key=lambda place: place not in used)

    def _made(self) -> wire.UdpClient:
        return wire.UdpClient(aimed(self._places[0]), self._mtu, self._timeout, self.tally)

    def _hang_up(self) -> None:
        if self._client:
            self._client.look()
        super()._hang_up()

    def _learn(self, error: OSError) -> None:
        super()._learn(error)
        if error.errno in stream.NOBODY:
            self._places = self._places[1:] + self._places[:1]


class UnixgramSink(DatagramSink):
    """`statsd+unixgram:///path`: a Unix datagram socket, as Datadog's agent has one."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, UNIX_MTU)
        self._path = socket_path(address)

    def check(self) -> None:
        """Connect, and hang up without a word."""
        try:
            self._made().close()
        except OSError as error:
            raise self._down(error, "start something that listens there, or mend it") from error

    def _connected(self) -> Any:
        """A new one for each flush: it costs nothing, and the reader may be a new one."""
        self._hang_up()
        return super()._connected()

    def _made(self) -> wire.DatagramClient:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        return wire.DatagramClient(sock, self._mtu, self._timeout, self.tally)
