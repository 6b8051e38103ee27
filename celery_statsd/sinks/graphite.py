"""Graphite without a StatsD between: carbon's line (2003) and pickle (2004) protocols over TCP.

The names and sums are those StatsD 0.9 writes with `legacyNamespace: false`, so one dashboard fits
both. For timers: `count`, `count_ps`, `sum`, `mean`, `lower`, `upper` are exact; `median` and
`upper_N` are taken from the values kept. A timer that saw nothing is absent (StatsD writes
`count 0`), and so are StatsD's `std`, `sum_squares` and `count_N`, `mean_N`, `sum_N`.

| option           | meaning                                                                       |
| ---------------- | ----------------------------------------------------------------------------- |
| `prefix=stats`   | the head of every name                                                        |
| `percentiles=90,95,99` | the N of `upper_N`; 99.9 is written `upper_99_9`                        |
| `timeout=3`      | seconds for connecting and delivering together                                |
| `backlog=500000` | points kept over an outage with their own timestamps, about 100 bytes each,   |
|                  | two hours of 700 points each 10 s; past it the oldest go                      |

A point sent twice is stored once, so whatever is in doubt is sent again. The protocols:
https://graphite.readthedocs.io/en/latest/feeding-carbon.html
"""

import pickle
import re
import socket
import struct
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import isfinite
from typing import NamedTuple

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.metric import Batch, Timing
from celery_statsd.sinks import stream
from celery_statsd.sinks.base import KEY, Address, Sink, positive_int, positive_seconds
from celery_statsd.sinks.lines import number, sound
from celery_statsd.sinks.measures import (
    PERCENTILES,
    SIMPLE,
    measured,
    percentiles,
    upper_measure,
)
from celery_statsd.sinks.places import connected

BACKLOG = 500_000
"""Points kept over an outage."""

FRAME = 500
"""Points in one frame, the most: carbon refuses pickles over 1 MiB."""

FRAMES_AT_ONCE = 20
"""Frames written before waiting for an acknowledgement."""

Point = tuple[str, float]


class Frame(NamedTuple):
    """Up to `FRAME` points, encoded."""

    wire: bytes
    points: int


class GraphiteSink(Sink):
    """Turns a batch into points, and keeps what carbon does not have yet."""

    port: int

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        address.only("prefix", "percentiles", "timeout", "backlog")
        self._host, self._port = address.endpoint(self.port)
        self._prefix = _prefix(address)
        uppers = address.option("percentiles", percentiles, PERCENTILES)
        self._measures = (*SIMPLE.items(), *map(upper_measure, uppers))
        self._timeout = address.option("timeout", positive_seconds, stream.TIMEOUT)
        self._room = address.option("backlog", positive_int, BACKLOG)
        self._frames: deque[Frame] = deque()
        self._kept = 0
        self._last: list[Frame] = []
        self._sock: socket.socket | None = None

    def send(self, batch: Batch) -> None:
        """Deliver what is kept, oldest first, then `batch`. Raises SinkDown."""
        self._add(batch)
        self._deliver()

    def keep(self, batch: Batch) -> None:
        """Put `batch` behind what is kept."""
        self._add(batch)
        self._drop(self._room)

    def check(self) -> None:
        """Connect, and hang up without a word."""
        try:
            connected(self._host, self._port, time.monotonic() + self._timeout).close()
        except OSError as error:
            raise self._down(error, "start a carbon that listens there, or mend it") from error

    def close(self) -> None:
        """Try once more to deliver what is kept, count it as dropped if not, close the socket."""
        if self._frames:
            with suppress(SinkDown):
                self._deliver()
        self._drop(0)
        self._hang_up()

    @abstractmethod
    def _encoded(self, points: Sequence[Point], when: int) -> bytes:
        """`points` of the epoch second `when` as the protocol writes them."""

    def _add(self, batch: Batch) -> None:
        batch, unsound = sound(batch)
        self.tally.dropped += unsound
        points = iter(self._points(batch))
        when = int(batch.time)
        while some := list(islice(points, FRAME)):
            self._frames.append(Frame(self._encoded(some, when), len(some)))
            self._kept += len(some)

    def _points(self, batch: Batch) -> Iterator[Point]:
        for series, count in batch.counters:
            path = f"{self._prefix}.counters.{series.path}"
            yield f"{path}.count", count
            yield f"{path}.rate", count / batch.interval
        for series, value in batch.gauges:
            yield f"{self._prefix}.gauges.{series.path}", value
        for series, timing in batch.timers:
            path = f"{self._prefix}.timers.{series.path}"
            for name, value in self._measured(timing, batch.interval):
                if isfinite(value):
                    yield f"{path}.{name}", value
                else:
                    self.tally.dropped += 1

    def _measured(self, timing: Timing, interval: float) -> Iterator[Point]:
        yield "count", timing.count
        yield "count_ps", timing.count / interval
        yield "sum", timing.total
        for name, value in measured(timing, self._measures):
            if value is not None:
                yield name, value

    def _deliver(self) -> None:
        """Empty the backlog as far as the timeout allows; the rest waits for the next flush.

        Raises SinkDown also for that rest, though nothing is wrong: it is not delivered yet.
        """
        deadline = time.monotonic() + self._timeout
        try:
            sock = self._connected(deadline)
            while self._frames and time.monotonic() < deadline:
                self._deliver_some(sock, deadline)
        except OSError as error:
            self.tally.errors += 1
            self._hang_up()
            raise self._down(error, self._waiting()) from error
        finally:
            self._drop(self._room)
        if self._frames:
            raise self._down(TimeoutError("more than fits one flush"), self._waiting())

    def _waiting(self) -> str:
        return f"{self._kept} points are kept"

    def _deliver_some(self, sock: socket.socket, deadline: float) -> None:
        some = list(islice(self._frames, FRAMES_AT_ONCE))
        try:
            stream.deliver(sock, b"".join(frame.wire for frame in some), deadline)
        except stream.Cut as cut:
            self._arrived(_whole(some, cut.taken))
            if not cut.slow:
                self._take_back()
            raise
        self._arrived(some)

    def _arrived(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._frames.popleft()
            self._kept -= frame.points
            self.tally.packets += 1
            self.tally.bytes += len(frame.wire)
        self._last.extend(frames)

    def _connected(self, deadline: float) -> socket.socket:
        """A connection that stands."""
        if self._sock and stream.gone(self._sock):
            self._take_back()
            self._hang_up()
        self._last = []
        if not self._sock:
            self._sock = connected(self._host, self._port, deadline)
        return self._sock

    def _take_back(self) -> None:
        """Keep again what a peer that is gone took last: perhaps it was never read."""
        self._frames.extendleft(reversed(self._last))
        self._kept += sum(frame.points for frame in self._last)
        self._last = []

    def _hang_up(self) -> None:
        if self._sock:
            self._sock.close()
        self._sock = None

    def _drop(self, room: int) -> None:
        """Give up the oldest frames until at most `room` points are kept."""
        while self._kept > room:
            points = self._frames.popleft().points
            self._kept -= points
            self.tally.dropped += points

    def _down(self, error: OSError, rest: str) -> SinkDown:
        return SinkDown(f"{self.address.text}: {error.strerror or error}; {rest}")


class LineSink(GraphiteSink):
    """`graphite://host:port`: one `path value timestamp` line a point."""

    port = 2003

    def _encoded(self, points: Sequence[Point], when: int) -> bytes:
        return "".join(f"{path} {number(value)} {when}\n" for path, value in points).encode("ascii")


class PickleSink(GraphiteSink):
    """`graphite+pickle://host:port`: lists of points behind a length of four bytes."""

    port = 2004

    def _encoded(self, points: Sequence[Point], when: int) -> bytes:
        body = pickle.dumps([(path, (when, value)) for path, value in points], protocol=2)
        return struct.pack("!L", len(body)) + body


def _whole(frames: list[Frame], taken: int) -> list[Frame]:
    """The frames that lie wholly within the first `taken` bytes."""
    whole = []
    for frame in frames:
        taken -= len(frame.wire)
        if taken < 0:
            break
        whole.append(frame)
    return whole


def _prefix(address: Address) -> str:
    prefix: str = address.option("prefix", str, "stats")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", prefix):
        raise ConfigError(
            KEY,
            f"{address.text!r}: option prefix={prefix!r} is no name",
            "take letters, digits, _ and -, with dots between",
        )
    return prefix
