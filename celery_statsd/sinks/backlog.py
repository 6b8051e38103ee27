"""What an outage of a StatsD leaves behind, kept as sums: it costs by the series, not by the hour.

Counters add up, gauges keep their last value, timers are joined. A StatsD knows no timestamps,
so all of it counts in the interval in which the outage ends.
"""

from collections.abc import Callable, Iterable
from operator import add
from typing import TypeVar

from msgspec import structs

from celery_statsd.metric import Batch, Series, Timing

Value = TypeVar("Value")

VALUES_PER_SERIES = 1000
"""The most timed values one series keeps over an outage: the newest, at a lower sample rate."""


def merged(older: Batch, newer: Batch, room: int) -> tuple[Batch, int]:
    """Both as one batch of at most `room` entries, and how many lines were given up for that.

    An entry is a sum, a gauge or a timed value. Timed values are thinned before any series is
    given up; then those go first which only `older` knows.
    """
    counters = _cluster_first(_union(newer.counters, older.counters, add))
    gauges = _cluster_first(_union(newer.gauges, older.gauges, _last))
    timers = _cluster_first(_union(newer.timers, older.timers, joined))
    for_gauges = max(0, room - len(counters))
    for_timers = max(0, for_gauges - len(gauges))
    share = max(1, min(VALUES_PER_SERIES, for_timers // max(1, len(timers))))
    given_up = [*counters[room:], *gauges[for_gauges:]]
    timed_given_up = sum(len(timing.values) for _, timing in timers[for_timers:])
    batch = Batch(
        time=newer.time,
        interval=older.interval + newer.interval,
        counters=tuple(counters[:room]),
        gauges=tuple(gauges[:for_gauges]),
        timers=tuple((series, _newest(timing, share)) for series, timing in timers[:for_timers]),
    )
    return batch, len(given_up) + timed_given_up


def joined(older: Timing, newer: Timing) -> Timing:
    """Both intervals as one: the true count, total and bounds, and all values kept."""
    return Timing(
        count=older.count + newer.count,
        total=older.total + newer.total,
        lower=min(older.lower, newer.lower),
        upper=max(older.upper, newer.upper),
        values=older.values + newer.values,
    )


def _last(_older: float, newer: float) -> float:
    return newer


def _newest(timing: Timing, most: int) -> Timing:
    return structs.replace(timing, values=timing.values[-most:])


def _union(
    newer: Iterable[tuple[Series, Value]],
    older: Iterable[tuple[Series, Value]],
    join: Callable[[Value, Value], Value],
) -> list[tuple[Series, Value]]:
    """The rows of both, those of `newer` first; a series in both is joined, older first."""
    rows = {series.path: (series, value) for series, value in newer}
    for series, value in older:
        known = rows.get(series.path)
        rows[series.path] = (series, join(value, known[1]) if known else value)
    return list(rows.values())


def _cluster_first(rows: list[tuple[Series, Value]]) -> list[tuple[Series, Value]]:
    """The whole cluster's stages leave together, so they stay at the head of every batch."""
    return sorted(rows, key=lambda row: row[0].family != "cluster")
