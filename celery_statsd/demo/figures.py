"""What the demo shows, as numbers: read off what StatsD received, nothing else."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from celery_statsd.demo.statsd import Received
from celery_statsd.metric import Kind, Timing
from celery_statsd.names import Names
from celery_statsd.rules import COUNTERS, WORDS
from celery_statsd.top.facts import CAME, ENDED, Facts

PREFIX, APP, HOST = "celery", "shop", "demo"
"""The first nodes of each metric's name, and what the agent calls itself."""

GAUGES, TIMERS = ("queued", "reserved", "running"), ("wait", "lateness", "runtime")
"""What is shown of a task besides its counters."""

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

    def timer(self, family: str, entity: str, metric: str) -> tuple[Timing, ...]:
        """What it took in; () when it never came."""
        timing = self.received.timers.get(self.path(family, entity, metric))
        return (timing,) if timing else ()

    def open(self, family: str, entity: str) -> int:
        """Received and not ended, by the counters alone."""
        came, ended = (
            sum(self.counter(family, entity, metric) for metric in metrics)
            for metrics in (CAME, ENDED)
        )
        return came - ended


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown at once. `cpu` is the agent's, in percent of a processor, None if unknown;
    `rss_bytes` is of this whole process; `example` is the path of a metric. A
    row is a task; rates are over the last MEASURED_OVER flushes."""

    seconds: float
    workers: int
    events_rate: float
    datagrams: int
    lines: int
    bad: int
    cpu: float | None
    rss_bytes: float
    example: str
    rows: tuple[Facts, ...]
    total: Facts


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
        """A counter's growth in a second."""
        return self._growth(reading, family, entity, metric) / self._span(reading)

    def _growth(self, reading: Reading, family: str, entity: str, metric: str) -> int:
        now, then = (one.counter(family, entity, metric) for one in (reading, self._past[0]))
        return now - then

    def _span(self, reading: Reading) -> int:
        """Seconds over which is measured: a flush is one."""
        return max(1, _flushes(reading) - _flushes(self._past[0]))

    def _row(self, reading: Reading, family: str, entity: str, name: str) -> Facts:
        counters = COUNTERS[family]
        gauges = {metric: reading.gauge(family, entity, metric) for metric in GAUGES}
        return Facts(
            entity=name,
            totals={metric: reading.counter(family, entity, metric) for metric in counters},
            recent={metric: self._growth(reading, family, entity, metric) for metric in counters},
            gauges={metric: value for metric, value in gauges.items() if value is not None},
            timers={metric: reading.timer(family, entity, metric) for metric in TIMERS},
            span=self._span(reading),
        )


def _flushes(reading: Reading) -> int:
    return reading.counter("agent", HOST, "ticks")


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
