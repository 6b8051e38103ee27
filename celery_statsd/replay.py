"""A recorded stream, once more through the same pipeline.

A recording with cues (see `recording`) is followed: the pipeline is asked what the recorder's was,
in its order, so that each batch is the one that was flushed then, byte for byte. Any other runs on
the stream's own clock.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import structs

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.metric import Batch, Series, Timing
from celery_statsd.pipeline import Pipeline
from celery_statsd.recording import Cue, Entry
from celery_statsd.sinks.backlog import joined
from celery_statsd.sinks.base import Sink
from celery_statsd.sinks.lines import number

TICK = 1.0
"""Seconds of the stream between two ticks, as in the agent."""

LONGEST_LEAP = 7 * 86_400.0
"""Seconds between two messages; more is no pause but another stream, or a broken clock."""


def follow(recording: Iterable[Entry], pipeline: Pipeline) -> Iterator[Batch]:
    """Ask `pipeline` what the recorder's was asked; yield each flush. Begins with a cue.

    A recording that was cut off ends with a flush at its last moment.
    """
    follower, now, over = _Follower(pipeline), 0.0, True
    for entry in recording:
        now, over = entry.received, False
        if not isinstance(entry, Cue):
            pipeline.feed(entry.body, now)
        elif entry.what in ("flush", "end"):
            over = entry.what == "end"
            yield follower.flush(now, last=over)
        else:
            follower.ask(entry)
    if not over:
        yield follower.flush(now, last=True)


class _Follower:
    """Does what cues say."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._begun = False

    def ask(self, cue: Cue) -> None:
        """What gives nothing back."""
        pipeline, now = self._pipeline, cue.received
        match cue.what:
            case "begin" if not self._begun:
                self._begun = True
                pipeline.begin(now)
            case "tick":
                pipeline.tick(now)
            case "refused":
                pipeline.refuse(str(cue.facts.get("_reason", "refused")))
            case _:  # deaf; and between two recordings nobody listened, either
                pipeline.deaf(now)

    def flush(self, now: float, last: bool) -> Batch:
        """A flush, or the farewell."""
        if last:
            self._pipeline.settle(now)
        return self._pipeline.flush(now, last)


def paced(recording: Iterable[Entry], speed: float) -> Iterator[Entry]:
    """`recording`, so many times as fast as it was recorded."""
    began: float | None = None
    first = 0.0
    for entry in recording:
        if began is None:
            began, first = time.monotonic(), entry.received
        due = began + (entry.received - first) / speed
        time.sleep(max(0.0, due - time.monotonic()))
        yield entry


def replay(recording: Iterable[Entry], pipeline: Pipeline, interval: float) -> Iterator[Batch]:
    """Feed `recording` to `pipeline`; yield each flush. Raises ConfigError.

    Of its cues only those are heeded that say what was (not) heard. Flushes fall on multiples of
    `interval` (seconds) of the stream's clock, which never runs backwards; the last one is the
    first that comes a whole interval after the last message.
    """
    clock: _Clock | None = None
    for entry in recording:
        clock = clock or _Clock(pipeline, interval, entry.received)
        if isinstance(entry, Cue):
            yield from clock.advance(entry.received, entry.what == "deaf")
            if entry.what == "refused":
                pipeline.refuse(str(entry.facts.get("_reason", "refused")))
        else:
            yield from clock.advance(entry.received, entry.after_gap)
            pipeline.feed(entry.body, clock.now)
    if clock is not None:
        yield from clock.finish()


class _Clock:
    """The stream's time."""

    def __init__(self, pipeline: Pipeline, interval: float, now: float) -> None:
        self.now = now
        self._pipeline = pipeline
        self._interval = interval
        self._tick_at = math.floor(now) + TICK
        self._beat = now // interval + 1
        pipeline.begin(now)

    def advance(self, now: float, away: bool) -> Iterator[Batch]:
        """Let time pass until `now`, with the ticks and flushes before it; yield these.

        `away`: nobody listened meanwhile.
        """
        if now - self.now > LONGEST_LEAP:
            leap = f"the stream leaps {(now - self.now) / 86_400:.0f} days ahead, to {now:.0f}"
            raise ConfigError("replay", leap, "replay its parts one by one")
        self.now = max(self.now, now)
        if away:
            self._pipeline.deaf(self.now)
        while min(self._tick_at, self._flush_at) < self.now:
            if self._tick_at < self._flush_at:
                self._pipeline.tick(self._tick_at)
                self._tick_at += TICK
            else:
                yield self._pipeline.flush(self._flush_at)
                self._beat += 1

    def finish(self) -> Iterator[Batch]:
        """Let time pass until all is told; yield the flushes.

        Nobody listened any more: whoever is silent from now on is not dead.
        """
        end = math.ceil((self.now + self._interval) / self._interval) * self._interval
        yield from self.advance(end, away=True)
        self._pipeline.settle(end)
        yield self._pipeline.flush(end)

    @property
    def _flush_at(self) -> float:
        return self._beat * self._interval


def sent(batches: Iterable[Batch], sinks: Sequence[Sink]) -> Iterator[Batch]:
    """Send each of `batches` to each of `sinks`, and pass it on; close the sinks at the end.

    Raises ConfigError when a sink does not take it.
    """
    try:
        for batch in batches:
            for sink in sinks:
                sink.send(batch)
            yield batch
    except SinkDown as error:
        raise ConfigError("sinks", str(error), "start what listens there") from error
    finally:
        for sink in sinks:
            sink.close()
    for sink in sinks:
        if sink.tally.dropped:
            problem = f"{sink.address.text} did not take {sink.tally.dropped} values"
            raise ConfigError("sinks", problem, "start what listens there, and replay again")


class Totals:
    """The batches of a whole stream, added up: counters as sums, gauges as they ended."""

    def __init__(self) -> None:
        self._counters: dict[Series, int] = {}
        self._gauges: dict[Series, float] = {}
        self._timers: dict[Series, Timing] = {}

    def take(self, batch: Batch) -> None:
        """Add `batch`."""
        for series, total in batch.counters:
            self._counters[series] = self._counters.get(series, 0) + total
        if not batch.last:  # a farewell sets them to 0, whatever they were
            self._gauges.update(batch.gauges)
        for series, timing in batch.timers:
            bare = structs.replace(timing, values=())
            known = self._timers.get(series)
            self._timers[series] = joined(known, bare) if known else bare

    def rows(self) -> list[dict[str, Any]]:
        """One row a series, with raw entity names; timers in ms."""
        return [
            {
                "family": series.family,
                "entity": series.entity,
                "metric": series.metric,
                "kind": series.kind.value,
                "value": value,
            }
            for series, value in self._values()
        ]

    def _values(self) -> Iterator[tuple[Series, Any]]:
        yield from self._counters.items()
        yield from self._gauges.items()
        for series, timing in self._timers.items():
            value = {"count": timing.count, "sum": timing.total}
            yield series, {**value, "lower": timing.lower, "upper": timing.upper}


def report(pipeline: Pipeline, totals: Totals) -> dict[str, Any]:
    """What `celery-statsd replay --json` prints: the metrics, the balance and the ledger."""
    ledger = pipeline.ledger
    return {
        "metrics": totals.rows(),
        "balance": pipeline.balance,
        "ledger": {
            "events": ledger.events,
            "counted": ledger.counted,
            "doubled": ledger.doubled,
            "bad": dict(ledger.bad),
            "dropped": {reason: n for reason, n in ledger.dropped.items() if n},
        },
    }


def as_text(found: dict[str, Any]) -> Iterator[str]:
    """The lines of a `report` for people; what stayed 0 is left out."""
    rows = [row for row in found["metrics"] if row["value"]]
    names = [repr(row["entity"])[1:-1] for row in rows]
    width = max(map(len, names), default=0)
    for row, name in zip(rows, names, strict=True):
        value = row["value"]
        shown = _words(value) if row["kind"] == "timer" else number(value, 3)
        yield f"{row['family']:10} {name:{width}}  {row['metric']:16} {shown}"
    yield f"balance: {_words(found['balance'])}"
    yield f"ledger: {json.dumps(found['ledger'])}"


def _words(numbers: dict[str, float]) -> str:
    return " ".join(f"{name}={number(value, 3)}" for name, value in numbers.items())
