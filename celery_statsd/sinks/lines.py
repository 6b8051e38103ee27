"""StatsD's lines: how a batch is written, and what is left of it after so many of them.

The protocol: https://github.com/statsd/statsd/blob/master/docs/metric_types.md
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from math import floor, inf, isfinite, log10
from typing import Any

from msgspec import structs

from celery_statsd.metric import Batch, Series, Timing


def number(value: float, decimals: int = 6) -> str:
    """`value` in plain decimal digits: no exponent, no idle zeros, no minus zero."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rate(timing: Timing) -> str:
    """The sample rate's digits: enough for a StatsD to arrive at the true count.

    A StatsD adds 1/rate for each value, so the count is off by `count` times the relative error
    of what is written here; four digits more than the count has keep that under 0.001.
    """
    digits = min(17, len(str(timing.count)) + 4)
    return number(timing.rate, digits - 1 - floor(log10(timing.rate)))


def units(batch: Batch, room: int = 0) -> Iterator[str]:
    """Each line. First what there is of the `cluster`: its counters and its gauges balance, and
    a StatsD that flushes while a batch comes in must not have the ones without the others.

    A negative gauge is one unit of two lines: alone, its sign would make a StatsD subtract. With
    `room`, a timer's values share lines of so many characters, if they fit: `path:1|ms:2|ms`.
    """
    for counters, gauges in _portions(batch):
        for series, count in counters:
            yield f"{series.path}:{count}|c"
        for series, value in gauges:
            yield f"{series.path}:{_gauge(series.path, number(value))}"
    for series, timing in batch.timers:
        tail = "|ms" if len(timing.values) >= timing.count else f"|ms|@{rate(timing)}"
        if room:
            yield from _shared(f"{series.path}:", _times("", timing.values, tail), room)
        else:
            yield from _times(f"{series.path}:", timing.values, tail)


def _shared(head: str, texts: Sequence[str], room: int) -> Iterator[str]:
    """As few lines as can be, each of as many of `texts` as fit into `room` behind `head`."""
    longest = max(map(len, texts), default=0) + 1
    most = max(1, (room - len(head)) // longest)
    for start in range(0, len(texts), most):
        yield head + ":".join(texts[start : start + most])


def _times(head: str, values: Sequence[float], tail: str) -> list[str]:
    """Each with three decimals at most, between `head` and `tail`. All at once: one by one took
    twice as long."""
    text = "%.3f\n" * len(values) % tuple(values)
    for idle in ("0\n", "0\n", "0\n", ".\n"):
        text = text.replace(idle, "\n")
    return (head + text.replace("\n", f"{tail}\n{head}")).split("\n")[:-1]


def packed(units: Sequence[str], most: int) -> Iterator[str]:
    """`units`, joined by newlines into as few texts as can be, none over `most` characters but one
    that holds a single unit."""
    start, length = 0, -1
    for place, unit in enumerate(units):
        length += len(unit) + 1
        if length > most and place > start:
            yield "\n".join(units[start:place])
            start, length = place, len(unit)
    if units:
        yield "\n".join(units[start:])


def lines(batch: Batch) -> int:
    """How many lines `units` writes for `batch` without `room`: one for each value."""
    timed = sum(len(timing.values) for _, timing in batch.timers)
    return len(batch.counters) + sum(map(_width, batch.gauges)) + timed


def sound(batch: Batch) -> tuple[Batch, int]:
    """`batch` without what no sink can take (NaN, infinite, negative times); the lines left out."""
    gauges = tuple(row for row in batch.gauges if isfinite(row[1]))
    timed = ((series, _sound(timing)) for series, timing in batch.timers)
    timers = tuple(row for row in timed if row[1].values)
    kept = replace(batch, gauges=gauges, timers=timers)
    return kept, lines(batch) - lines(kept)


def remainder(batch: Batch, taken: int) -> Batch:
    """What of `batch` is still to be sent when its first `taken` lines have arrived.

    A timer of which a part has arrived keeps that part of its count which its values stand for,
    rounded to the unit.
    """
    counters: list[tuple[Series, int]] = []
    gauges: list[tuple[Series, float]] = []
    for counted, gauged in _portions(batch):
        counters += counted[taken:]
        left, taken = _gauges_left(gauged, max(0, taken - len(counted)))
        gauges += left
    timers: list[tuple[Series, Timing]] = []
    for series, timing in batch.timers:
        if taken < len(timing.values):
            timers.append((series, _cut(timing, taken)))
        taken = max(0, taken - len(timing.values))
    return replace(batch, counters=counters, gauges=tuple(gauges), timers=tuple(timers))


Gauges = Sequence[tuple[Series, float]]


def _portions(batch: Batch) -> Iterator[tuple[Sequence[tuple[Series, int]], Gauges]]:
    """The counters and the gauges at the head of a batch that are of the cluster, and the rest."""
    counters, gauges = batch.counters, batch.gauges
    counted, gauged = _of_cluster(counters), _of_cluster(gauges)
    yield counters[:counted], gauges[:gauged]
    yield counters[counted:], gauges[gauged:]


def _of_cluster(rows: Sequence[tuple[Series, Any]]) -> int:
    """How many rows at the head are of the cluster."""
    return sum(1 for _ in takewhile(lambda row: row[0].family == "cluster", rows))


def _gauge(path: str, text: str) -> str:
    return f"0|g\n{path}:{text}|g" if text.startswith("-") else f"{text}|g"


def _width(row: tuple[Series, float]) -> int:
    """How many lines a gauge takes."""
    return 2 if row[1] < 0 and number(row[1]) != "0" else 1


def _gauges_left(gauges: Gauges, taken: int) -> tuple[Gauges, int]:
    """The gauges after the first `taken` lines of gauges, and what of `taken` goes beyond them."""
    for index, row in enumerate(gauges):
        if taken < _width(row):
            return gauges[index:], 0
        taken -= _width(row)
    return (), taken


def _cut(timing: Timing, taken: int) -> Timing:
    if not taken:
        return timing
    values = timing.values[taken:]
    part = len(values) / len(timing.values)
    return structs.replace(
        timing, count=round(timing.count * part), total=timing.total * part, values=values
    )


def _sound(timing: Timing) -> Timing:
    values = timing.values
    if isfinite(sum(values)) and min(values, default=0) >= 0:
        return timing
    return structs.replace(timing, values=tuple(value for value in values if 0 <= value < inf))
