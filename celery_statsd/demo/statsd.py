"""A small StatsD: a UDP socket on loopback that adds up what it is sent.

The wire: https://github.com/statsd/statsd/blob/master/docs/metric_types.md; of its kinds those
that the agent speaks: counters (`c`), gauges (`g`), timers (`ms`). All else is a bad line.
"""

import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Self

from celery_statsd.metric import Timing

RECENT = 1000
"""Values of each timer that are kept, for its percentiles."""

BUFFER = 1 << 22
"""Bytes the kernel is asked to keep while nobody reads."""

_LARGEST = 65_535  # bytes of a datagram
_WAKE = 0.05  # seconds between two looks at whether to end


@dataclass(frozen=True, slots=True)
class Line:
    """One line. A `relative` gauge is added to what the gauge is; `rate` is the sample rate."""

    path: str
    value: float
    kind: str
    rate: float = 1.0
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take `path:value|kind[|@rate]` apart. Raises ValueError when it is none of ours."""
        path, colon, rest = text.partition(":")
        value, kind, *options = rest.split("|") if colon else ("", "")
        if not path or kind not in TAKERS or len(options) > 1:
            raise ValueError(text)
        rate = _rate(options[0]) if options else 1.0
        return cls(path, _number(value), kind, rate, kind == "g" and value[0] in "+-")


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value) or "_" in text or text != text.strip():
        raise ValueError(text)
    return value


def _rate(text: str) -> float:
    rate = _number(text[1:])
    if text[0] != "@" or not 0 < rate <= 1:
        raise ValueError(text)
    return rate


@dataclass(frozen=True, slots=True)
class Received:
    """All that a receiver has taken in up to a moment, by path."""

    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    timers: Mapping[str, Timing] = field(default_factory=dict)
    datagrams: int = 0
    lines: int = 0
    bad: int = 0


class _Timer:
    """A timer as it grows."""

    def __init__(self) -> None:
        self._count = self._total = 0.0
        self._lower, self._upper = inf, -inf
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, value: float, rate: float) -> None:
        self._count += 1 / rate
        self._total += value / rate
        self._lower, self._upper = min(self._lower, value), max(self._upper, value)
        self._recent.append(value)

    def read(self) -> Timing:
        kept = tuple(self._recent)
        return Timing(round(self._count), self._total, self._lower, self._upper, kept)


class Sums:
    """What lines add up to. Used by one thread at a time."""

    def __init__(self) -> None:
        self._counters: Counter[str] = Counter()
        self._gauges: dict[str, float] = {}
        self._timers: dict[str, _Timer] = {}
        self._datagrams = 0
        self._lines = 0
        self._bad = 0

    def take(self, datagram: bytes) -> None:
        """Add the lines of `datagram`; what is no line is counted."""
        self._datagrams += 1
        for text in datagram.decode("ascii", "replace").split("\n"):
            if text:
                self._lines += 1
                self._take(text)

    def read(self) -> Received:
        """The sums up to now."""
        return Received(
            dict(self._counters),
            dict(self._gauges),
            {path: timer.read() for path, timer in self._timers.items()},
            self._datagrams,
            self._lines,
            self._bad,
        )

    def count(self, line: Line) -> None:
        """Take a counter's line."""
        self._counters[line.path] += line.value / line.rate  # type: ignore[assignment]

    def gauge(self, line: Line) -> None:
        """Take a gauge's line."""
        before = self._gauges.get(line.path, 0.0) if line.relative else 0.0
        self._gauges[line.path] = before + line.value

    def time(self, line: Line) -> None:
        """Take a timer's line."""
        self._timers.setdefault(line.path, _Timer()).add(line.value, line.rate)

    def _take(self, text: str) -> None:
        try:
            line = Line.parse(text)
        except ValueError:
            self._bad += 1
        else:
            TAKERS[line.kind](self, line)


TAKERS: dict[str, Callable[[Sums, Line], None]] = {
    "c": Sums.count,
    "g": Sums.gauge,
    "ms": Sums.time,
}
"""How each kind of line is added."""


class Receiver(threading.Thread):
    """Listens on a free port of loopback from the moment it is made, reads once it is started."""

    def __init__(self) -> None:
        super().__init__(name="demo statsd", daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_WAKE)
        self._sums = Sums()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def read(self) -> Received:
        """All it has taken in."""
        with self._lock:
            return self._sums.read()

    def run(self) -> None:
        """Take in datagrams until `close`."""
        while True:
            try:
                datagram = self._socket.recv(_LARGEST)
            except TimeoutError:
                if self._closing.is_set():
                    return
                continue
            with self._lock:
                self._sums.take(datagram)

    def close(self) -> None:
        """Take in what has arrived, end, let go of the socket."""
        self._closing.set()
        if self.is_alive():
            self.join()
        self._socket.close()
