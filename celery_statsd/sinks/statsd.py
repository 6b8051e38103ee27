"""StatsD: what its sinks have in common, and those over a stream, TCP or a Unix socket.

| address                          | options                                                      |
| -------------------------------- | ------------------------------------------------------------ |
| `statsd+tcp://host:8125`         | `timeout=3` seconds to connect and deliver in, `backlog`,    |
|                                  | `timers=values`                                              |
| `statsd+unix:///run/statsd.sock` | the same                                                     |

`timers=summary` sends a few gauges for each timer instead of its values, and `timers=mean,upper_95`
these: see `summary`.

The wire is the `statsd` package's (see `wire`); for datagrams see `datagram`. While a StatsD is
away its lines are kept as sums (see `backlog`); `backlog=100000` is the most entries kept then,
about 100 bytes each. What counts as arrived: on TCP what the peer's kernel has acknowledged, to
the line; on a Unix socket what was written. A peer that stands still keeps its connection; it
gets nothing new before it has taken what it was given.

A StatsD that dies takes along what it had not flushed, and what lay unread in its socket.
"""

from abc import abstractmethod
from typing import Any

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.metric import Batch
from celery_statsd.sinks import stream, wire
from celery_statsd.sinks.backlog import merged
from celery_statsd.sinks.base import KEY, Address, Sink, positive_int, positive_seconds
from celery_statsd.sinks.lines import lines, remainder, sound, units
from celery_statsd.sinks.summary import Summary, values_or_measures

PORT = 8125

BACKLOG = 100_000
"""Entries (sums, gauges, timed values) kept over an outage."""


def socket_path(address: Address) -> str:
    """The path of the Unix socket that `address` names. Raises ConfigError."""
    if address.host or address.path in ("", "/"):
        cure = f"write {address.scheme}:///run/statsd.sock"
        raise ConfigError(KEY, f"{address.text!r} names no socket", cure)
    return address.path


class StatsdSink(Sink):
    """What all have in common: pack, count, keep over an outage."""

    def __init__(self, address: Address, *options: str) -> None:
        super().__init__(address)
        address.only("backlog", "timeout", "timers", *options)
        self._room = address.option("backlog", positive_int, BACKLOG)
        self._timeout = address.option("timeout", positive_seconds, stream.TIMEOUT)
        measures = address.option("timers", values_or_measures, ())
        self._summary = Summary(measures) if measures else None
        self._client: Any = None
        self._kept: Batch | None = None

    def send(self, batch: Batch) -> None:
        """Deliver `batch`, merged into what an outage left behind. Raises SinkDown."""
        self._deliver(self._with_kept(batch))

    def keep(self, batch: Batch) -> None:
        """Merge `batch` into what an outage left behind."""
        self._kept = self._with_kept(batch)

    def close(self) -> None:
        """Try once more to deliver what is kept, count it as dropped if not, close the socket."""
        if self._kept:
            try:
                self._deliver(self._kept)
            except SinkDown:
                self.tally.dropped += lines(self._kept)
                self._kept = None
        self._hang_up()

    def _with_kept(self, batch: Batch) -> Batch:
        """`batch`, and what is kept, as one."""
        batch, unsound = sound(self._summary.of(batch) if self._summary else batch)
        self.tally.dropped += unsound
        return self._joined(self._kept, batch) if self._kept else batch

    def _joined(self, older: Batch, newer: Batch) -> Batch:
        """Both as one, within the room there is."""
        batch, given_up = merged(older, newer, self._room)
        self.tally.dropped += given_up
        return batch

    @property
    def _room_for_values(self) -> int:
        """Characters of a line that several values of a timer may share; 0: each has its own."""
        return 0

    @abstractmethod
    def _connected(self) -> Any:
        """A client to send with. Raises OSError when there can be none now."""

    @abstractmethod
    def _failed(self, error: OSError, batch: Batch, taken: int) -> Batch | None:
        """Draw the conclusions of `error`; the part of `batch` that has to be sent again."""

    def _deliver(self, batch: Batch) -> None:
        taken = 0
        try:
            client = self._connected()
            client.begin()
            try:
                client.send_all(list(units(batch, self._room_for_values)))
            finally:
                taken = client.taken
        except OSError as error:
            self.tally.errors += 1
            self._kept = self._failed(error, batch, taken)
            raise self._down(error, "what was to be sent is kept as sums") from error
        self._kept = None

    def _hang_up(self) -> None:
        if self._client:
            self._client.close()
        self._client = None

    def _down(self, error: OSError, rest: str) -> SinkDown:
        return SinkDown(f"{self.address.text}: {error.strerror or error}; {rest}")


class StreamSink(StatsdSink):
    """What TCP and Unix have in common: after an error the next flush connects anew; a peer that
    is only slow is waited for, flush after flush, with what it was given in hand."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._in_hand: Batch | None = None

    def check(self) -> None:
        """Connect, and hang up without a word."""
        client = self._made()
        try:
            client.connect()
        except OSError as error:
            raise self._down(error, "start a StatsD that listens there, or mend it") from error
        finally:
            client.close()

    @abstractmethod
    def _made(self) -> Any:
        """A new client, not connected yet."""

    def _connected(self) -> Any:
        if not self._client:
            self._client = self._made()
        return self._client

    def close(self) -> None:
        """As `StatsdSink.close`, after waiting once more for a slow peer."""
        if self._in_hand:
            try:
                self._wait_for_the_slow()
            except SinkDown:
                if self._in_hand:
                    self.tally.dropped += lines(remainder(self._in_hand, self._client.taken))
                    self._hang_up()
                self._in_hand = None
        super().close()

    def _deliver(self, batch: Batch) -> None:
        if self._in_hand:
            self._kept = batch
            self._wait_for_the_slow()
        super()._deliver(batch)

    def _wait_for_the_slow(self) -> None:
        """Let the peer take what it was given before it gets anything new. Raises SinkDown.

        A connection to a StatsD that only stands still is kept: to reset it would end a StatsD
        0.9, which does not expect that, and to close it would leave what it holds in doubt.
        """
        try:
            self._client.resume()
        except stream.Slow as error:
            self.tally.errors += 1
            raise self._down(error, "it has not yet taken what it was given") from error
        except OSError as error:
            self.tally.errors += 1
            self._take_back()
            raise self._down(error, "what it had not taken is kept as sums") from error
        self._in_hand = None

    def _take_back(self) -> None:
        """The connection is gone: what the peer did not take of it is to be sent again."""
        assert self._in_hand is not None
        left = remainder(self._in_hand, self._client.taken)
        self._in_hand = None
        self._hang_up()
        self._kept = self._joined(left, self._kept) if self._kept else left

    def _failed(self, error: OSError, batch: Batch, taken: int) -> Batch | None:
        if isinstance(error, stream.Slow):
            self._in_hand = batch
            return None
        self._hang_up()
        return remainder(batch, taken)


class TcpSink(StreamSink):
    """`statsd+tcp://host:port`; the StatsD needs its `./servers/tcp`."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._host, self._port = address.endpoint(PORT)

    def _made(self) -> wire.TcpClient:
        return wire.TcpClient(self._host, self._port, timeout=self._timeout, tally=self.tally)


class UnixSink(StreamSink):
    """`statsd+unix:///path`: a stream socket, as `./servers/tcp` makes with `socket: path`."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._path = socket_path(address)

    def _made(self) -> wire.UnixClient:
        return wire.UnixClient(self._path, timeout=self._timeout, tally=self.tally)
