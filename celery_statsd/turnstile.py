"""Counts inside of somebody else's process, and costs it as little as can be.

`note` appends a row to a deque, and nothing else: no lock, no system call. A thread adds the rows
up, each second, and sends each interval what has changed, to sinks of its own.

Laws:
1. What is counted here is a part: many processes tell the same series, and a StatsD adds them up.
   So there are counters and timers and no gauges, and a counter is told when it is first seen (as
   0, so that its series is there) and when it has grown.
2. A fork takes nothing along: what the parent has not sent yet it sends itself. The child begins
   anew, with sockets, locks and a thread of its own.
3. Rows are bounded; those past the bound, and those that a fault of ours costs, are counted as
   `forgotten` and told.
4. No call raises, but for those that make it.
"""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

from celery_statsd.aggregator import Aggregator
from celery_statsd.errors import SinkDown
from celery_statsd.log import Log
from celery_statsd.metric import Batch, Kind, Series
from celery_statsd.names import Names
from celery_statsd.rules import COUNTERS, WORDS
from celery_statsd.rules.task import LONGEST
from celery_statsd.rules.task import RULES as TASK_RULES
from celery_statsd.sinks.base import Sink
from celery_statsd.sinks.lines import lines
from celery_statsd.trouble import Trouble

MOST_ROWS = 100_000
"""Rows that may wait to be added up (some 200 bytes each)."""

ADD_UP = 1.0
"""Seconds between two times the rows are added up."""

PATIENCE = 2.0
"""Seconds that an ending process waits for a flush that is under way."""


Times = tuple[tuple[str, float], ...]
"""Timers, and their values in seconds."""


class Row(NamedTuple):
    """What happened to a task: a counter's name, and the entities it is told of.

    `times` are of the same entities.
    """

    metric: str
    task: str
    worker: str | None = None
    queue: str | None = None
    error: str | None = None
    times: Times = ()


_FAMILIES = {
    (kind, metric): tuple(
        dict.fromkeys(
            family
            for rule in TASK_RULES
            if (rule.kind, rule.metric) == (kind, metric)
            for family in rule.families
        )
    )
    for kind in (Kind.COUNTER, Kind.TIMER)
    for metric in {rule.metric for rule in TASK_RULES if rule.kind is kind}
}
"""The families in which a metric stands, by the catalogue."""


class Turnstile:
    """Counts of one process, sent each `interval` (seconds) to what `make` makes.

    `make` is called once in each process, in the thread that sends. `host` names this machine.
    """

    def __init__(  # noqa: PLR0913
        self,
        make: Callable[[], Iterable[Sink]],
        log: Log,
        *,
        prefix: str = "celery",
        app: str = "default",
        host: str = "localhost",
        interval: float = 10.0,
    ) -> None:
        self._make = make
        self._log = log
        self._prefix = prefix
        self._app = app
        self._host = host
        self._interval = interval
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def note(self, row: Row) -> None:
        """Count `row`. Never waits, and never raises."""
        if len(self._rows) >= MOST_ROWS:
            self._forgotten += 1
            return
        self._rows.append(row)
        if self._thread is None:
            self._start()

    def fault(self, error: Exception, rows: int = 1) -> None:
        """Tell of a fault of ours, which nobody else shall see, and of the rows it has cost. Never
        raises."""
        self._forgotten += rows
        self._faulty.tell(time.monotonic(), error)

    def flush(self, patience: float = -1) -> None:
        """Send at once what has added up, unless another flush takes longer than `patience`
        seconds (negative: wait for it). Never raises."""
        self._work(lambda: self._send(self._drain()), patience)

    def close(self) -> None:
        """Send what is left, and send no more by itself. Never raises, and waits for seconds at
        most; what is counted afterwards is sent by another `close`."""
        self._over.set()
        self.flush(PATIENCE)

    def _begin(self) -> None:
        """Begin anew, at nothing: also in the child of a fork, where no other thread lives on."""
        now = time.time()
        names = Names(self._prefix, self._app, "all", WORDS, self._host)
        self._rows: deque[Row] = deque()
        self._aggregator = Aggregator(names, COUNTERS)
        self._aggregator.begin(now)
        self._told: set[Series] = set()
        self._sinks: list[Sink] | None = None
        self._forgotten = 0
        self._faulty = Trouble(self._log, "instrument_failed")
        self._down: dict[Sink, Trouble] = {}
        self._tallies: dict[str, int] = {}
        self._sending = threading.Lock()
        self._starting = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="celery-statsd", daemon=True)
                with suppress(RuntimeError):  # an interpreter that shuts down: `close` will send
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        while not self._over.wait(max(0.0, min(ADD_UP, due - time.monotonic()))):
            if due <= time.monotonic():
                due = max(due, time.monotonic() - self._interval) + self._interval
                self.flush()
            else:
                self._work(_nothing)

    def _work(self, then: Callable[[], None], patience: float = -1) -> None:
        if self._sending.acquire(timeout=patience):
            try:
                self._add_up()
                then()
            except Exception as error:
                self.fault(error, rows=0)
            finally:
                self._sending.release()

    def _add_up(self) -> None:
        rows = self._rows
        alike: defaultdict[tuple[Any, ...], list[Times]] = defaultdict(list)
        for _ in range(len(rows)):
            row = rows.popleft()
            alike[row[:-1]].append(row.times)
        for facts, times in alike.items():
            try:
                self._take(Row(*facts), times)
            except Exception as error:  # it costs these rows, and no others
                self.fault(error, rows=len(times))

    def _take(self, row: Row, times: Sequence[Times]) -> None:
        """Add up rows that are alike but for their times."""
        entities = {
            "cluster": "all",
            "task": row.task,
            "worker": row.worker,
            "queue": row.queue,
            "exception": row.error,
        }
        for family in _FAMILIES[Kind.COUNTER, row.metric]:
            if (entity := entities[family]) is not None:
                self._aggregator.count(family, entity, row.metric, len(times))
        timed: defaultdict[str, list[float]] = defaultdict(list)
        for timer, seconds in chain.from_iterable(times):
            timed[timer].append(seconds)
        for timer, values in timed.items():
            milliseconds = self._milliseconds(values)
            for family in _FAMILIES[Kind.TIMER, timer]:
                if (entity := entities[family]) is not None and milliseconds:
                    self._aggregator.time_all(family, entity, timer, milliseconds)

    def _milliseconds(self, values: Sequence[float]) -> list[float]:
        """`values` (seconds) as they are told: what clocks made negative as 0, what they made
        absurd not at all."""
        sound = [1000.0 * value for value in values if 0.0 <= value <= LONGEST]
        if len(sound) != len(values):
            sound += [0.0 for value in values if value < 0.0]
            self._count("timers_clamped", sum(not 0.0 <= value <= LONGEST for value in values))
        return sound

    def _count(self, metric: str, amount: int) -> None:
        if amount:
            self._aggregator.count("agent", self._host, metric, amount)

    def _drain(self) -> Batch:
        for metric, total in self._totals().items():
            self._count(metric, total - self._tallies.get(metric, 0))
            self._tallies[metric] = total
        batch = self._aggregator.drain(time.time())
        told = self._told
        rows = tuple(row for row in batch.counters if row[1] or row[0] not in told)
        told.update(series for series, _ in rows)
        return replace(batch, counters=rows)

    def _totals(self) -> dict[str, int]:
        tallies = [sink.tally for sink in self._sinks or ()]
        return {
            "forgotten": self._forgotten,
            "series_folded": self._aggregator.folded,
            "sink_errors": sum(tally.errors for tally in tallies),
            "sink_dropped": sum(tally.dropped for tally in tallies),
        }

    def _send(self, batch: Batch) -> None:
        if self._sinks is None:
            self._sinks = list(self._make())
        for sink in self._sinks:
            trouble = self._trouble_of(sink)
            try:
                sink.send(batch)
            except Exception as error:  # none of them shall cost the others anything
                if not isinstance(error, SinkDown):  # a fault of ours: the sink has kept nothing
                    sink.tally.errors += 1
                    sink.tally.dropped += lines(batch)
                trouble.tell(time.monotonic(), error)
            else:
                trouble.over(time.monotonic())

    def _trouble_of(self, sink: Sink) -> Trouble:
        if sink not in self._down:
            place = sink.address.text
            self._down[sink] = Trouble(self._log, "sink_down", "sink_back", sink=place)
        return self._down[sink]


def _nothing() -> None:
    """Adding up is all."""
