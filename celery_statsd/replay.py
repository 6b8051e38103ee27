"""A recorded stream, once more through the same pipeline, on the stream's own clock.

A recording is NDJSON, one event a line with its fields untouched, and the recorder's own fields
with a leading underscore: `_received` (epoch seconds of its arrival), `_batch` (the ordinal of
its message; events of one list share it), `_routing_key` (`task.multi` means a list). A `_batch`
that falls means that the recorder was away. Files that end in `.gz` are unpacked.
"""

import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from celery_statsd.errors import ConfigError
from celery_statsd.metric import Batch, Series, Timing
from celery_statsd.pipeline import Pipeline

TICK = 1.0
"""Seconds of the stream between two ticks, as in the agent."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a recording. `after_gap`: the recorder had been away just before."""

    received: float
    body: bytes
    after_gap: bool


def messages(paths: Iterable[str]) -> Iterator[Recorded]:
    """The messages of the files, which are parts of one stream. Raises ConfigError."""
    for path in paths:
        previous = 0
        try:
            for batch, rows in groupby(_rows(path), key=lambda row: row["_batch"]):
                yield _message(list(rows), after_gap=batch < previous)
                previous = batch
        except (KeyError, TypeError):
            raise ConfigError(
                path, "has a line without _batch, _received or _routing_key", "record it anew"
            ) from None


def _rows(path: str) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.endswith(".gz") else io.open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(path, number, line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read ({error})", "name a recorded stream") from None


def _row(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        raise ConfigError(
            path, f"line {number} is not JSON", "a recording holds one event a line"
        ) from None
    return row


def _message(rows: list[dict[str, Any]], after_gap: bool) -> Recorded:
    events = [{key: row[key] for key in row if not key.startswith("_")} for row in rows]
    body = events if rows[0]["_routing_key"] == "task.multi" else events[0]
    return Recorded(float(rows[0]["_received"]), json.dumps(body).encode(), after_gap)


def replay(recording: Iterable[Recorded], pipeline: Pipeline, interval: float) -> Iterator[Batch]:
    """Feed `recording` to `pipeline`; yield each flush.

    Flushes fall on multiples of `interval` (seconds) of the stream's clock, which never runs
    backwards; the last one comes one interval after the last message.
    """
    clock: _Clock | None = None
    for message in recording:
        clock = clock or _Clock(pipeline, interval, message.received)
        if message.after_gap:
            pipeline.deaf(message.received)
        yield from clock.advance(message.received)
        pipeline.feed(message.body, clock.now)
    if clock is not None:
        yield from clock.advance(clock.now + interval)
        pipeline.settle(clock.now)
        yield pipeline.flush(clock.now)


class _Clock:
    """The stream's time."""

    def __init__(self, pipeline: Pipeline, interval: float, now: float) -> None:
        self.now = now
        self._pipeline = pipeline
        self._interval = interval
        self._tick_at = math.floor(now) + TICK
        self._flush_at = (now // interval + 1) * interval
        pipeline.begin(now)

    def advance(self, now: float) -> Iterator[Batch]:
        """Let time pass until `now`, with its ticks; yield its flushes."""
        while min(self._tick_at, self._flush_at) <= now:
            if self._tick_at < self._flush_at:
                self._pipeline.tick(self._tick_at)
                self._tick_at += TICK
            else:
                yield self._pipeline.flush(self._flush_at)
                self._flush_at += self._interval
        self.now = max(self.now, now)


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
        self._gauges.update(batch.gauges)
        for series, timing in batch.timers:
            known = self._timers.get(series)
            self._timers[series] = _joined(known, timing) if known else timing

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


def _joined(one: Timing, other: Timing) -> Timing:
    return Timing(
        one.count + other.count,
        one.total + other.total,
        min(one.lower, other.lower),
        max(one.upper, other.upper),
        (),
    )


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
