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
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from celery_statsd.errors import ConfigError, SinkDown
from celery_statsd.metric import Batch, Series, Timing
from celery_statsd.pipeline import Pipeline
from celery_statsd.sinks.backlog import joined
from celery_statsd.sinks.base import Sink
from celery_statsd.sinks.lines import number

TICK = 1.0
"""Seconds of the stream between two ticks, as in the agent."""

LONGEST_LEAP = 7 * 86_400.0
"""Seconds between two messages; more is no pause but another stream, or a broken clock."""

LATEST = 1e11
"""Epoch seconds: a time of arrival is below this (milliseconds are not)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a recording. `after_gap`: the recorder had been away just before."""

    received: float
    body: bytes
    after_gap: bool


def messages(paths: Iterable[str]) -> Iterator[Recorded]:
    """The messages of the files, which are parts of one stream. Raises ConfigError."""
    previous: float = -math.inf
    every = (row for path in paths for row in _rows(path))
    for batch, rows in groupby(every, key=itemgetter("_batch")):
        yield _message(list(rows), after_gap=batch < previous)
        previous = batch


def _rows(path: str) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.endswith(".gz") else io.open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for ordinal, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(path, ordinal, line)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(path, f"cannot be read ({reason})", "name a recorded stream") from None


def _row(path: str, ordinal: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        cure = "a recording holds one event a line"
        raise ConfigError(path, f"line {ordinal} is not JSON", cure) from None
    if not isinstance(row, dict) or not _is_recorded(row):
        problem = f"line {ordinal} has no sound _batch, _received and _routing_key"
        raise ConfigError(path, problem, "record it with `celery-statsd events --json`")
    return row


def _is_recorded(row: dict[str, Any]) -> bool:
    received = row.get("_received")
    return (
        isinstance(row.get("_batch"), int)
        and isinstance(row.get("_routing_key"), str)
        and isinstance(received, int | float)
        and 0 <= received < LATEST
    )


def _message(rows: list[dict[str, Any]], after_gap: bool) -> Recorded:
    events = [{key: row[key] for key in row if not key.startswith("_")} for row in rows]
    listed = len(rows) > 1 or rows[0]["_routing_key"] == "task.multi"
    body = json.dumps(events if listed else events[0]).encode()
    return Recorded(float(rows[0]["_received"]), body, after_gap)


def replay(recording: Iterable[Recorded], pipeline: Pipeline, interval: float) -> Iterator[Batch]:
    """Feed `recording` to `pipeline`; yield each flush. Raises ConfigError.

    Flushes fall on multiples of `interval` (seconds) of the stream's clock, which never runs
    backwards; the last one is the first that comes a whole interval after the last message.
    """
    clock: _Clock | None = None
    for message in recording:
        clock = clock or _Clock(pipeline, interval, message.received)
        yield from clock.advance(message.received, message.after_gap)
        pipeline.feed(message.body, clock.now)
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
        self._gauges.update(batch.gauges)
        for series, timing in batch.timers:
            bare = replace(timing, values=())
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
