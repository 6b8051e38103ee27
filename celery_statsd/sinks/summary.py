"""Timers as a few gauges each, where every single value would be too much to send.

A StatsD repeats a gauge that is not told anew. So what a timer was is told as 0, once, in the first
flush that has nothing of it, and in the last one of all.
"""

from collections.abc import Iterator
from dataclasses import replace

from celery_statsd.metric import Batch, Kind, Series, Timing
from celery_statsd.sinks.measures import PERCENTILES, SIMPLE, Measure, measured, upper_measure
from celery_statsd.sinks.measures import measures as named

USUAL = (*SIMPLE.items(), *map(upper_measure, PERCENTILES))


def values_or_measures(text: str) -> tuple[tuple[str, Measure], ...]:
    """A kind of option: `values` (none of them), `summary` (the usual ones), or measures by name,
    `mean,upper_95`. Raises ValueError."""
    known = {"values": (), "summary": USUAL}
    return known[text] if text in known else named(text)


class Summary:
    """Turns the timers of one batch after the other into gauges: the `measures` of each."""

    def __init__(self, measures: tuple[tuple[str, Measure], ...]) -> None:
        self._measures = measures
        self._shown: dict[str, dict[str, Series]] = {}

    def of(self, batch: Batch) -> Batch:
        """`batch`, with gauges for its timers, and for those that have fallen silent."""
        told = {series.path for series, _ in batch.timers}
        gauges = [row for series, timing in batch.timers for row in self._rows(series, timing)]
        if batch.last:
            gauges = [(series, 0.0) for series, _ in gauges]
        gauges += self._silent(told, {series.family for series, _ in batch.counters})
        return replace(batch, gauges=(*batch.gauges, *gauges), timers=())

    def _rows(self, series: Series, timing: Timing) -> Iterator[tuple[Series, float]]:
        shown = self._shown.setdefault(series.path, {})
        for name, value in measured(timing, self._measures):
            if value is not None:
                if name not in shown:
                    path = f"{series.path}.{name}"
                    shown[name] = replace(series, kind=Kind.GAUGE, path=path)
                yield shown[name], value

    def _silent(self, told: set[str], families: set[str]) -> Iterator[tuple[Series, float]]:
        """Of the `families` a batch speaks of, what it does not tell any more."""
        for path, shown in list(self._shown.items()):
            if path not in told and not families.isdisjoint(one.family for one in shown.values()):
                del self._shown[path]
                yield from ((series, 0.0) for series in shown.values())
