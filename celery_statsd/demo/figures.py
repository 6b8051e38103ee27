"""What the demo shows, as numbers: read off what StatsD received, nothing else."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from celery_statsd.demo.statsd import Received, Timed
from celery_statsd.metric import Kind
from celery_statsd.names import Names
from celery_statsd.rules import WORDS

PREFIX, APP, HOST = "celery", "shop", "demo"
"""The first nodes of each metric's name, and what the agent calls itself."""

ENDS = ("succeeded", "failed", "retried", "revoked", "rejected", "returned", "unreported", "lost")
"""The counters of law 4 that take an attempt out of flight; `received`, `on_arrival` and `found`
bring it in."""

MEASURED_OVER = 10
"""Flushes over which a rate is taken."""


class Reading:
    """The numbers of one `Received`, by family, entity and metric."""

    def __init__(self, received: Received) -> None:
        self.received = received
        self._names = Names(PREFIX, APP, "all", WORDS)

    def path(self, family: str, entity: str, metric: str) -> str:
        """The name of that metric on the wire."""
        return self._names.series(family, entity, metric, Kind.COUNTER).path

    def counter(self, family: str, entity: str, metric: str) -> int:
        """Its sum so far, 0 when it never came."""
        return round(self.received.counters.get(self.path(family, entity, metric), 0.0))

    def gauge(self, family: str, entity: str, metric: str) -> float | None:
        """Its last value, None when it never came."""
        return self.received.gauges.get(self.path(family, entity, metric))

    def timer(self, family: str, entity: str, metric: str) -> Timed:
        """All its values."""
        return self.received.timers.get(self.path(family, entity, metric), Timed())

    def open(self, family: str, entity: str) -> int:
        """Received and not ended, by the counters alone."""
        came = sum(self.counter(family, entity, m) for m in ("received", "on_arrival", "found"))
        return came - sum(self.counter(family, entity, metric) for metric in ENDS)


@dataclass(frozen=True, slots=True)
class Row:
    """One task, or all of them. `rate` is of receipts, a second; times in ms.

    `difference` is what was received, less what ended, less what is reserved or running: 0.
    """

    name: str
    rate: float
    sent: int
    received: int
    queued: int
    reserved: int
    running: int
    wait: Timed
    runtime: Timed
    succeeded: int
    failed: int
    retried: int
    revoked: int
    difference: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown at once. `cpu` is the agent's, in percent of a processor, None if unknown;
    `rss_bytes` is of this whole process; `example` is the path of a metric."""

    seconds: float
    workers: int
    events_rate: float
    datagrams: int
    lines: int
    bad: int
    cpu: float | None
    rss_bytes: float
    example: str
    rows: tuple[Row, ...]
    total: Row


class Meter:
    """Makes figures of readings that follow each other; `tasks` are the rows, in their order."""

    def __init__(self, tasks: Iterable[str], worker: str) -> None:
        self._tasks = tuple(tasks)
        self._worker = worker
        self._past: deque[Reading] = deque(maxlen=MEASURED_OVER + 1)

    def figures(self, reading: Reading, seconds: float, cpu: float | None) -> Figures:
        """The figures `seconds` after the start; `cpu` as in `Figures`."""
        if not self._past or _flushes(reading) != _flushes(self._past[-1]):
            self._past.append(reading)
        received = reading.received
        rows = tuple(self._row(reading, "task", task, task) for task in self._tasks)
        return Figures(
            seconds=seconds,
            workers=round(reading.gauge("worker", self._worker, "up") or 0),
            events_rate=self._rate(reading, "agent", HOST, "events"),
            datagrams=received.datagrams,
            lines=received.lines,
            bad=received.bad,
            cpu=cpu,
            rss_bytes=reading.gauge("agent", HOST, "rss_bytes") or 0.0,
            example=reading.path("task", self._tasks[0], "succeeded"),
            rows=rows,
            total=self._row(reading, "cluster", "all", "all tasks"),
        )

    def _rate(self, reading: Reading, family: str, entity: str, metric: str) -> float:
        """A counter's growth in a second: a flush is one second."""
        first = self._past[0]
        growth = reading.counter(family, entity, metric) - first.counter(family, entity, metric)
        return growth / max(1, _flushes(reading) - _flushes(first))

    def _row(self, reading: Reading, family: str, entity: str, name: str) -> Row:
        reserved = round(reading.gauge(family, entity, "reserved") or 0)
        running = round(reading.gauge(family, entity, "running") or 0)
        return Row(
            name=name,
            rate=self._rate(reading, family, entity, "received"),
            sent=reading.counter(family, entity, "sent"),
            received=reading.counter(family, entity, "received"),
            queued=round(reading.gauge(family, entity, "queued") or 0),
            reserved=reserved,
            running=running,
            wait=reading.timer(family, entity, "wait"),
            runtime=reading.timer(family, entity, "runtime"),
            succeeded=reading.counter(family, entity, "succeeded"),
            failed=reading.counter(family, entity, "failed"),
            retried=reading.counter(family, entity, "retried"),
            revoked=reading.counter(family, entity, "revoked"),
            difference=reading.open(family, entity) - reserved - running,
        )


def _flushes(reading: Reading) -> int:
    return reading.counter("agent", HOST, "ticks")


def milliseconds(value: float | None) -> str:
    """A time in ms for people, four characters or so; a dash for None."""
    if value is None:
        return "-"
    if value < 9.95:
        return f"{value:.1f}ms"
    return f"{value:.0f}ms" if value < 999.5 else f"{value / 1000:.1f}s"


def vitals(figures: Figures) -> Iterator[str]:
    """The state of the parts, in words."""
    yield f"{figures.workers} worker up" if figures.workers else "no worker up"
    yield f"{figures.events_rate:.0f} events/s"
    yield f"{figures.datagrams} datagrams"
    if figures.bad:
        yield f"{figures.bad} bad lines"
    if figures.cpu is not None:
        yield f"agent {figures.cpu:.1f}% cpu"
    yield f"this process {figures.rss_bytes / 1e6:.0f} MB"
